"""One task after the other."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from random import Random

from polytask.learn.schedules.contract import (
    Schedule,
    StepPlan,
    one_pass,
    schedule,
)


@schedule
class Sequential(Schedule):
    """All epochs of the first task, then all epochs of the second, and so on.

    Formula: with T tasks and E epochs the run has T·E epochs; epoch k (from 0) is one pass over
    task ⌊k / E⌋.

    Inputs: rows and batch size of each task; the order is that of the config.

    Source: triple-threat §4.1, first training order (T-10).
    """

    def plan(self, rows: Mapping[str, int], batch_size: Mapping[str, int],
             epoch: int, epochs: int, rng: Random) -> Iterator[StepPlan]:
        task = list(rows)[epoch // epochs]
        for size in one_pass(rows[task], batch_size[task]):
            yield {task: [size]}

    def num_epochs(self, tasks: Collection[str], epochs: int) -> int:
        return epochs * len(tasks)
