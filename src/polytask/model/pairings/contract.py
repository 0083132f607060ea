"""The contract of pairings: how one or two sentences meet the encoder, and what vector the head sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from polytask.core.registry import Family
from polytask.model.output import Output


class Pairing:
    """The interface of a pairing. `sequences`: encoder sequences per row; `texts`: text columns per row.

    One with `symmetric` true has the sequence of both texts a second time, exchanged, as its last.
    """

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

    @property
    def two_vectors(self) -> bool:
        """Whether it gives two vectors of a row, u and v, which losses and heads may compare."""
        return self.sequences > 1

    @property
    def only_two_vectors(self) -> bool:
        """Whether these two are all that it gives, so that a head that compares them misses nothing."""
        return self.two_vectors and self.sequences == 2


pairing = Family("pairing", "pairings", methods=("build",), base=Pairing)


class Alone(nn.Module):
    """The module of a pairing with one sequence a row: its vector is what the head sees."""

    def forward(self, pooled: Tensor) -> Output:
        return Output(u=pooled, vector=pooled)


class BothOrders(nn.Module):
    """The module of a pairing that reads two texts in both orders: the mean of its two sequences."""

    def forward(self, pooled: Tensor) -> Output:
        mean = pooled.view(-1, 2, pooled.shape[-1]).mean(1)
        return Output(u=mean, vector=mean)
