"""The contract of pairings: how one or two sentences meet the encoder, and what vector the head sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from polytask.core.registry import Family
from polytask.model.output import Output


class Pairing:
    """The interface of a pairing. `sequences`: encoder sequences per row; `texts`: text columns per row."""

    sequences = 1
    texts = 1
    if TYPE_CHECKING:  # not defined here: the decorator looks for what a component lacks
        name: ClassVar[str]

        def build(self, encoder_width: int) -> nn.Module:
            """Return a module: pooled (rows·sequences, width) -> Output of u (and v) and vector."""
            raise NotImplementedError

    def width(self, encoder_width: int) -> int:
        """Return the width of `Output.vector`."""
        return encoder_width

pairing = Family("pairing", "pairings", methods=("build",), base=Pairing)


class Alone(nn.Module):
    """The module of a pairing with one sequence a row: its vector is what the head sees."""

    def forward(self, pooled: Tensor) -> Output:
        return Output(u=pooled, vector=pooled)
