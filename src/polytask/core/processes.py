"""The processes that share one training, seen from one of them. Alone, everything here is the identity.

`polytask.learn.torch_processes` has the form for several. Code that works on rows, gradients or files
gets a `Processes` and never asks how many there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")


class Processes:
    """One process among `world`, number `rank`. Every process makes the same calls in the same order."""

    rank = 0
    world = 1
    restarted = False
    """Whether a launcher has started the training again after a process died."""

    @property
    def writes(self) -> bool:
        """Whether this process writes files and speaks to the user; exactly one does."""
        return self.rank == 0

    def share(self, items: int) -> range:
        """Return the places of this process's items: every `world`-th, from `rank`."""
        return range(self.rank, items, self.world)

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of equal shapes on all processes by their sums, in one collective."""

    def total(self, value: Tensor) -> Tensor:
        """Return the sum of a value over the processes, with the gradient of this process's part alone."""
        return value

    def whole(self, tensors: Sequence[Tensor], rows: Sequence[int]) -> list[Tensor]:
        """Gather tensors that hold this process's `share` of `rows` rows each, in the rows' order.

        The gradient of the result reaches the rows of this process and stops at the others'. A process
        without a row gives any one row, which is left out and has a gradient of zero.
        """
        return list(tensors)

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Return the tensor of every process; they may differ in their first size."""
        return [tensor]

    def broadcast_(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by those of process 0."""

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process."""
        return flag

    def agreed(self, value: T) -> T:
        """Return the value of process 0, which is anything that JSON can hold."""
        return value

    def refuse_differences(self, what: str, table: dict[str, Any]) -> None:
        """Raise `RunError` where this process's table is not that of process 0; `what` names it."""

    def refuse_unshared(self, file: Path) -> None:
        """Raise `RunError` where this process does not see the file that process 0 has written."""

    def barrier(self) -> None:
        """Wait until every process is here."""

    @contextmanager
    def one_first(self) -> Iterator[None]:
        """Let one process of each machine run the block before the others do, which find its files."""
        yield


ALONE = Processes()
