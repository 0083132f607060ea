"""Schedules that draw the tasks of each step at random."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import field
from math import ceil, isfinite
from random import Random

from polytask.core.settings import problem as refusal
from polytask.learn.schedules.contract import (
    Schedule,
    Step,
    num_batches,
    schedule,
    sizes_problem,
    weights_problem,
)


def drawn(chances: Mapping[str, float], batch_size: Mapping[str, int], draws: int, steps: int,
          rng: Random) -> Iterator[Step]:
    """Yield `steps` steps of `draws` tasks, each drawn with replacement by its chance."""
    tasks = list(chances)
    for _ in range(steps):
        picked = rng.choices(tasks, weights=list(chances.values()), k=draws)
        yield {task: [batch_size[task]] * picked.count(task) for task in tasks if task in picked}


def num_steps(rows: Mapping[str, int], batch_size: Mapping[str, int], draws: int,
              steps: int | None) -> int:
    """Return the steps of an epoch: as given, or enough for as many draws as there are batches."""
    return steps or ceil(sum(num_batches(rows[task], batch_size[task]) for task in rows) / draws)


def refuse_counts(draws: int, steps: int | None) -> None:
    if draws < 1:
        raise refusal(f"draws: found {draws}, expected 1 or more")
    if steps is not None and steps < 1:
        raise refusal(f"steps: found {steps}, expected 1 or more")


@schedule
class Proportional(Schedule):
    """One task a step, drawn in proportion to its rows.

    Formula: p_t = rows_t / Σ rows.

    Inputs: rows and batch size of each task; the draws take full batches and the passes go on from
    one epoch to the next.

    Source: Stickland & Murray 2019, §3 "proportional sampling" (α = 1 of `annealed`).
    """

    feed = "continues"
    draws: int = 1
    """Tasks drawn for each step; the losses of the draws are summed."""
    steps: int | None = None
    """Steps of an epoch; absent: as many draws as all tasks have batches."""

    def __post_init__(self) -> None:
        refuse_counts(self.draws, self.steps)

    def plan(self, rows: Mapping[str, int], batch_size: Mapping[str, int],
             epoch: int, epochs: int, rng: Random) -> Iterator[Step]:
        return drawn(rows, batch_size, self.draws,
                     num_steps(rows, batch_size, self.draws, self.steps), rng)

    def widest(self, tasks: Collection[str]) -> int:
        return min(self.draws, len(tasks))

    def narrowest(self, tasks: Collection[str]) -> int:
        return 1


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

    feed = "continues"
    start: float = 1.0
    """α of the first epoch."""
    end: float = 0.2
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
             epoch: int, epochs: int, rng: Random) -> Iterator[Step]:
        alpha = self.alpha(epoch, epochs)
        most = max(rows.values())  # the ratio keeps the powers finite
        chances = {task: (rows[task] / most) ** alpha for task in rows}
        return drawn(chances, batch_size, self.draws,
                     num_steps(rows, batch_size, self.draws, self.steps), rng)

    def widest(self, tasks: Collection[str]) -> int:
        return min(self.draws, len(tasks))

    def narrowest(self, tasks: Collection[str]) -> int:
        return 1


@schedule
class Biased(Schedule):
    """Tasks drawn for each update by weights that are given; one task can be drawn twice.

    Formula: p_t = w_t / Σ w; the losses of the draws of a step are summed.

    Inputs: batch size of each task; rows only for the number of steps.

    Source: swissbert §4.2, "sample task", with sst = 1, para = 1.7, sts = 1 (S-13).
    """

    feed = "continues"
    weights: dict[str, float] = field(default_factory=dict)
    """Task = weight; a task that is not named weighs 1."""
    draws: int = 1
    """Tasks drawn for each step."""
    steps: int | None = None
    """Steps of an epoch; absent: as many draws as all tasks have batches."""

    def __post_init__(self) -> None:
        refuse_counts(self.draws, self.steps)
        for task, weight in self.weights.items():
            if not (isfinite(weight) and weight >= 0):
                raise refusal(f'weights of "{task}": found {weight}, expected 0 or more')

    def chances(self, tasks: Collection[str]) -> dict[str, float]:
        """Return the weight of each task."""
        return {task: self.weights.get(task, 1.0) for task in tasks}

    def plan(self, rows: Mapping[str, int], batch_size: Mapping[str, int],
             epoch: int, epochs: int, rng: Random) -> Iterator[Step]:
        return drawn(self.chances(rows), batch_size, self.draws,
                     num_steps(rows, batch_size, self.draws, self.steps), rng)

    def widest(self, tasks: Collection[str]) -> int:
        return min(self.draws, sum(chance > 0 for chance in self.chances(tasks).values()))

    def narrowest(self, tasks: Collection[str]) -> int:
        return 1

    def problem(self, tasks: Collection[str], rows: Mapping[str, int],
                batch_size: Mapping[str, int]) -> str | None:
        if wrong := weights_problem('schedule "biased"', self.weights, tasks):
            return wrong
        if not any(self.chances(tasks).values()):
            return 'schedule "biased": found weights that are all 0, expected one above 0'
        return sizes_problem(tasks, rows, batch_size)
