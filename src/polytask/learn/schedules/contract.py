"""The contract of schedules: which tasks each step holds, and how many rows of each.

A plan is numbers only: no tensors, no files, no row indices (`learn/sampler.py` turns the numbers
into rows). So it can be printed before training, and a run that stopped after n steps resumes by
making the same plan again and skipping n.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from random import Random
from typing import TYPE_CHECKING

from polytask.core.errors import nearest
from polytask.core.registry import Family

StepPlan = dict[str, list[int]]
"""One optimizer update: task → the number of rows of each of its draws."""


class Schedule:
    """The interface of a schedule. `rows` and `batch_size` give the tasks, in their order.

    A batch size is never above the rows: of a smaller set it is cut to all of them.
    """

    name = ""
    sampler = "fresh"  # a new shuffle each epoch; or "continues": the pass goes on where it stopped

    if TYPE_CHECKING:  # not given: a schedule without a plan is refused

        def plan(self, rows: Mapping[str, int], batch_size: Mapping[str, int],
                 epoch: int, epochs: int, rng: Random) -> Iterator[StepPlan]:
            """Yield the steps of one epoch, `epoch` counting from 0 to `num_epochs` - 1.

            `epochs` is the number that the config gives.
            """
            ...

    def num_epochs(self, tasks: Collection[str], epochs: int) -> int:
        """Return how many epochs a run has that asks for `epochs` (of each task)."""
        return epochs

    def max_tasks_per_step(self, tasks: Collection[str]) -> int:
        """Return the largest number of tasks that one step can hold."""
        return 1

    def min_tasks_per_step(self, tasks: Collection[str]) -> int:
        """Return the smallest number of tasks that one step can hold."""
        return self.max_tasks_per_step(tasks)

    def batch_sizes(self, rows: Mapping[str, int], batch_size: Mapping[str, int]) -> dict[str, int]:
        """Return the batch size that each task really gets."""
        return {task: batch_size[task] for task in rows}

    def problem(self, tasks: Collection[str], rows: Mapping[str, int],
                batch_size: Mapping[str, int]) -> str | None:
        """Return why the schedule cannot serve these tasks, in one sentence, or None.

        `rows` may be empty while the data are not read yet.
        """
        return sizes_problem(tasks, rows, batch_size)


schedule = Family("schedule", "schedules", methods=("plan",), base=Schedule)


def sizes_problem(tasks: Collection[str], rows: Mapping[str, int],
                  batch_size: Mapping[str, int]) -> str | None:
    """Return what is wrong with the batch sizes, or None; one above the rows of a set is legal."""
    for task, size in batch_size.items():
        if task not in tasks:
            return f'batch_size names "{task}", which is not a task here{nearest(task, tasks)}'
        if size < 1:
            return f'batch_size of "{task}": found {size}, expected 1 or more'
    missing = [task for task in tasks if task not in batch_size]
    return f'batch_size of "{missing[0]}" is missing' if missing else None


def weights_problem(what: str, weights: Mapping[str, float], tasks: Collection[str]) -> str | None:
    """Return which of the weights belongs to no task, or None."""
    for task in weights:
        if task not in tasks:
            return f'{what} weighs "{task}", which is not a task here{nearest(task, tasks)}'
    return None


def num_batches(rows: int, size: int) -> int:
    """Return how many batches one pass has; the last may be short."""
    return -(-rows // size)


def one_pass(rows: int, size: int) -> list[int]:
    """Return the batch sizes of one pass over all rows."""
    full, rest = divmod(rows, size)
    return [size] * full + ([rest] if rest else [])


def cycled(rows: int, size: int, batches: int) -> list[int]:
    """Return `batches` sizes: exactly one pass where that fits, else full batches throughout."""
    sizes = one_pass(rows, size)
    return sizes if len(sizes) == batches else [size] * batches


def epoch_random(seed: int, epoch: int) -> Random:
    """Return the source of randomness of one epoch's plan."""
    return Random(f"plan {seed} {epoch}")
