"""Every row of the largest task, the others spread over its batches."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from random import Random

from polytask.learn.schedules.contract import (
    Schedule,
    StepPlan,
    cycled,
    num_batches,
    schedule,
)


@schedule
class FullData(Schedule):
    """Every row of the largest set, and the other sets spread over as many batches, all a step.

    Formula: B = ⌈max rows_t / b⌉ with b the largest set's batch size, and
    batch size_t = max(1, round(rows_t / B)) for the others.

    Inputs: rows of each task; the batch size of the largest (those of the others are not used).

    Source: mfrr §4.2.1, "full data", and §6.3 (M-15, M-16).

    Departs: B is rounded up, so that the last rows of the largest set are not lost; a half is
    rounded to the even number.
    """

    sampler = "continues"

    def plan(self, rows: Mapping[str, int], batch_size: Mapping[str, int],
             epoch: int, epochs: int, rng: Random) -> Iterator[StepPlan]:
        batch_size_by_task = self.batch_sizes(rows, batch_size)
        largest = max(rows, key=lambda task: rows[task])
        batches = num_batches(rows[largest], batch_size_by_task[largest])
        sizes = {task: cycled(rows[task], batch_size_by_task[task], batches) for task in rows}
        for turn in range(batches):
            yield {task: [sizes[task][turn]] for task in rows}

    def batch_sizes(self, rows: Mapping[str, int], batch_size: Mapping[str, int]) -> dict[str, int]:
        largest = max(rows, key=lambda task: rows[task])
        batches = num_batches(rows[largest], batch_size[largest])
        return {task: batch_size[task] if task == largest else max(1, round(rows[task] / batches))
                for task in rows}

    def max_tasks_per_step(self, tasks: Collection[str]) -> int:
        return len(tasks)
