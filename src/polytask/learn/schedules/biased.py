"""Tasks drawn by given weights."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import field
from random import Random

from polytask.core.settings import problem as refusal
from polytask.learn.schedules.contract import (
    Schedule,
    StepPlan,
    schedule,
    sizes_problem,
    weights_problem,
)
from polytask.learn.schedules.draws import drawn, num_steps, refuse_counts

MOST_WEIGHT = 1e12


@schedule
class Biased(Schedule):
    """Tasks drawn for each update by weights that are given; one task can be drawn twice.

    Formula: p_t = w_t / Σ w; the losses of the draws of a step are summed.

    Inputs: batch size of each task; rows only for the number of steps.

    Source: swissbert §4.2, "sample task", with sst = 1, para = 1.7, sts = 1 (S-13).
    """

    sampler = "continues"
    weights: dict[str, float] = field(default_factory=dict)
    """Task = weight; tasks not named have weight 1."""
    draws: int = 1
    """Tasks drawn for each step."""
    steps: int | None = None
    """Steps of an epoch; absent: as many draws as all tasks have batches."""

    def __post_init__(self) -> None:
        refuse_counts(self.draws, self.steps)
        for task, weight in self.weights.items():
            if not 0 <= weight <= MOST_WEIGHT:
                raise refusal(f'weights of "{task}": found {weight}, expected 0 to {MOST_WEIGHT:g}')

    def chances(self, tasks: Collection[str]) -> dict[str, float]:
        """Return the weight of each task."""
        return {task: self.weights.get(task, 1.0) for task in tasks}

    def plan(self, rows: Mapping[str, int], batch_size: Mapping[str, int],
             epoch: int, epochs: int, rng: Random) -> Iterator[StepPlan]:
        return drawn(self.chances(rows), batch_size, self.draws,
                     num_steps(rows, batch_size, self.draws, self.steps), rng)

    def max_tasks_per_step(self, tasks: Collection[str]) -> int:
        return min(self.draws, sum(chance > 0 for chance in self.chances(tasks).values()))

    def min_tasks_per_step(self, tasks: Collection[str]) -> int:
        return 1

    def problem(self, tasks: Collection[str], rows: Mapping[str, int],
                batch_size: Mapping[str, int]) -> str | None:
        if wrong := weights_problem('schedule "biased"', self.weights, tasks):
            return wrong
        if not any(self.chances(tasks).values()):
            return 'schedule "biased": found weights that are all 0, expected one above 0'
        return sizes_problem(tasks, rows, batch_size)
