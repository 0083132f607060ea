"""Every task once a round, in random order, until one task has no batch left."""

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
    """One task a step, drawn without replacement until every task had its turn, then anew.

    Formula: a round is a random permutation of the tasks, one batch of each; the epoch ends with the
    step that takes the last batch of a task, so no task is ever more than one batch ahead of another.

    Inputs: rows and batch size of each task.

    Source: swissbert §4.1, the training pipeline after Peng et al. 2020 (S-3): each task is sampled
    "without replacement", and an epoch stops when "all examples from any one task have been
    traversed", so that each task is "considered roughly the same number of times".

    Departs: a single shuffled pile of all batches, the other reading, draws tasks by their size: at
    the report's sizes sixteen Quora batches for one of SST.
    """

    sampler = "fresh"

    def plan(self, rows: Mapping[str, int], batch_size: Mapping[str, int],
             epoch: int, epochs: int, rng: Random) -> Iterator[StepPlan]:
        waiting = {task: one_pass(rows[task], batch_size[task])[::-1] for task in rows}
        order = list(rows)
        while True:
            rng.shuffle(order)
            for task in order:
                yield {task: [waiting[task].pop()]}
                if not waiting[task]:
                    return
