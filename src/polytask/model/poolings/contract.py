"""The contract of poolings: the hidden states of a sequence → one vector.

A flat batch has no padding, so no pooling can see any. What is computed does not depend on the
other sequences of the batch or on the number of threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from polytask.core.registry import Family
from polytask.data.batch import TokenBatch


class Pooling:
    """The interface of a pooling."""

    trains_pooler = False
    if TYPE_CHECKING:  # not defined here: the decorator looks for what a component lacks
        name: ClassVar[str]

        def pool(self, hidden: Tensor, batch: TokenBatch, encoder: Any) -> Tensor:
            """Return the vector of each sequence: (tokens, width) -> (sequences, width)."""
            raise NotImplementedError

    def pool_padded(self, hidden: Tensor, mask: Tensor, encoder: Any) -> Tensor | None:
        """Return the vectors of a padded batch, or None where the pooling has no such form.

        hidden (sequences, longest, width); mask (sequences, longest), True at a sequence's tokens,
        which come first. Exported graphs pool so: plain operations that a tracer sees.
        """
        return None

    def problem(self, encoder: Any) -> str | None:
        """Say why this encoder cannot be pooled so, or None."""
        return None

pooling = Family("pooling", "poolings", methods=("pool",), base=Pooling)
