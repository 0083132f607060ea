"""As many rows of every task as the smallest has."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from random import Random

from polytask.learn.schedules.contract import (
    Schedule,
    StepPlan,
    num_batches,
    one_pass,
    schedule,
)


@schedule
class Balanced(Schedule):
    """As many rows of every task as the smallest set has, drawn anew each epoch, all tasks a step.

    Formula: every task gives n = min rows_t rows in B = max ⌈n / batch size_t⌉ batches. A task
    whose batch size would need fewer spreads its n rows evenly over the B batches.

    Inputs: rows and batch size of each task.

    Source: mfrr §4.2.1, "data balancing" (M-14).

    Departs: whether the report draws its rows once or for every epoch is not said; here every epoch
    has a sample of its own.
    """

    sampler = "fresh"

    def plan(self, rows: Mapping[str, int], batch_size: Mapping[str, int],
             epoch: int, epochs: int, rng: Random) -> Iterator[StepPlan]:
        least, batches = self._batches(rows, batch_size)
        sizes = {task: self._sizes(least, batch_size[task], batches) for task in rows}
        for turn in range(batches):
            yield {task: [sizes[task][turn]] for task in rows}

    def batch_sizes(self, rows: Mapping[str, int], batch_size: Mapping[str, int]) -> dict[str, int]:
        least, batches = self._batches(rows, batch_size)
        return {task: batch_size[task] if num_batches(least, batch_size[task]) == batches
                else num_batches(least, batches) for task in rows}

    @staticmethod
    def _batches(rows: Mapping[str, int], batch_size: Mapping[str, int]) -> tuple[int, int]:
        """Return the rows of each task, and the batches that they make."""
        least = min(rows.values())
        return least, max(num_batches(least, batch_size[task]) for task in rows)

    @staticmethod
    def _sizes(rows: int, size: int, batches: int) -> list[int]:
        if num_batches(rows, size) == batches:
            return one_pass(rows, size)
        return [rows * (turn + 1) // batches - rows * turn // batches for turn in range(batches)]

    def max_tasks_per_step(self, tasks: Collection[str]) -> int:
        return len(tasks)
