"""Tasks drawn in proportion to their rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from random import Random

from polytask.learn.schedules.contract import (
    Schedule,
    StepPlan,
    schedule,
)
from polytask.learn.schedules.draws import drawn, num_steps, refuse_counts


@schedule
class Proportional(Schedule):
    """One task a step, drawn in proportion to its rows.

    Formula: p_t = rows_t / Σ rows.

    Inputs: rows and batch size of each task; the draws take full batches and the passes go on from
    one epoch to the next.

    Source: Stickland & Murray 2019, §3 "proportional sampling" (α = 1 of `annealed`).
    """

    sampler = "continues"
    draws: int = 1
    """Tasks drawn for each step; the losses of the draws are summed."""
    steps: int | None = None
    """Steps of an epoch; absent: as many draws as all tasks have batches."""

    def __post_init__(self) -> None:
        refuse_counts(self.draws, self.steps)

    def plan(self, rows: Mapping[str, int], batch_size: Mapping[str, int],
             epoch: int, epochs: int, rng: Random) -> Iterator[StepPlan]:
        return drawn(rows, batch_size, self.draws,
                     num_steps(rows, batch_size, self.draws, self.steps), rng)

    def max_tasks_per_step(self, tasks: Collection[str]) -> int:
        return min(self.draws, len(tasks))

    def min_tasks_per_step(self, tasks: Collection[str]) -> int:
        return 1
