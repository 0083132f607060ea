"""One epoch of each task in turn."""

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
class EpochRoundRobin(Schedule):
    """One epoch of each task in turn, as many rounds as there are epochs.

    Formula: with T tasks and E epochs the run has T·E epochs; epoch k (from 0) is one pass over
    task k mod T.

    Inputs: rows and batch size of each task; the order is that of the config.

    Source: triple-threat §4.1, second training order (T-11).
    """

    def plan(self, rows: Mapping[str, int], batch_size: Mapping[str, int],
             epoch: int, epochs: int, rng: Random) -> Iterator[StepPlan]:
        task = list(rows)[epoch % len(rows)]
        for size in one_pass(rows[task], batch_size[task]):
            yield {task: [size]}

    def num_epochs(self, tasks: Collection[str], epochs: int) -> int:
        return epochs * len(tasks)
