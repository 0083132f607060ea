"""Tasks drawn in proportion to their rows at first, then ever more evenly."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from random import Random
from typing import Annotated

from pydantic import Field

from polytask.learn.schedules.contract import (
    Schedule,
    StepPlan,
    schedule,
)
from polytask.learn.schedules.draws import drawn, num_steps, refuse_counts

Alpha = Annotated[float, Field(ge=-10, le=10)]


@schedule
class Annealed(Schedule):
    """Drawn in proportion to the rows at first, and more evenly with every epoch.

    Formula: p_t ∝ rows_t^α with α = start + (end − start)·(e − 1)/(E − 1) in epoch e of E, which
    with the defaults is 1 − 0.8 (e − 1)/(E − 1); α = end where E = 1.

    Inputs: rows and batch size of each task; the draws take full batches and the passes go on from
    one epoch to the next.

    Source: Stickland & Murray 2019, §4.2; practices §4.9 (P-14).

    Departs: the formula printed in practices is undefined in its first epoch (PX-1); this is the
    one of the original.
    """

    sampler = "continues"
    start: Alpha = 1.0
    """α of the first epoch."""
    end: Alpha = 0.2
    """α of the last epoch."""
    draws: int = 1
    """Tasks drawn for each step; the losses of the draws are summed."""
    steps: int | None = None
    """Steps of an epoch; absent: as many draws as all tasks have batches."""

    def __post_init__(self) -> None:
        refuse_counts(self.draws, self.steps)

    def alpha(self, epoch: int, epochs: int) -> float:
        """Return α of an epoch that counts from 0."""
        if epochs <= 1:
            return self.end
        return self.start + (self.end - self.start) * epoch / (epochs - 1)

    def plan(self, rows: Mapping[str, int], batch_size: Mapping[str, int],
             epoch: int, epochs: int, rng: Random) -> Iterator[StepPlan]:
        alpha = self.alpha(epoch, epochs)
        most = max(rows.values())  # the ratio keeps the powers finite
        chances = {task: (rows[task] / most) ** alpha for task in rows}
        return drawn(chances, batch_size, self.draws,
                     num_steps(rows, batch_size, self.draws, self.steps), rng)

    def max_tasks_per_step(self, tasks: Collection[str]) -> int:
        return min(self.draws, len(tasks))

    def min_tasks_per_step(self, tasks: Collection[str]) -> int:
        return 1
