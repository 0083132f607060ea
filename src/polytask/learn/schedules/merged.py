"""The batches of all tasks in one shuffled pile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random

from polytask.learn.schedules.contract import (
    Schedule,
    StepPlan,
    one_pass,
    schedule,
)


@schedule
class Merged(Schedule):
    """The batches of all tasks in one shuffled pile, one a step, until a task has none left.

    Formula: the pile holds ⌈rows_t / batch size_t⌉ batches of task t; they are drawn without
    replacement, and the epoch ends with the step that takes the last batch of any task.

    Inputs: rows and batch size of each task.

    Source: swissbert §4.1, the training pipeline (S-3).
    """

    sampler = "fresh"

    def plan(self, rows: Mapping[str, int], batch_size: Mapping[str, int],
             epoch: int, epochs: int, rng: Random) -> Iterator[StepPlan]:
        waiting = {task: one_pass(rows[task], batch_size[task])[::-1] for task in rows}
        pile = [task for task in rows for _ in waiting[task]]
        rng.shuffle(pile)
        for task in pile:
            yield {task: [waiting[task].pop()]}
            if not waiting[task]:
                return
