"""Weights that are given and stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

from torch import Tensor

from polytask.core.settings import problem as refusal
from polytask.learn.weightings.contract import (
    Weighting,
    WeightingModule,
    unknown_task,
    weighting,
)


class FixedWeights(WeightingModule):
    """w_t · l_t with weights that stay."""

    def __init__(self, tasks: Sequence[str], weights: Mapping[str, float]) -> None:
        super().__init__(tasks)
        self.weights = {task: float(weights.get(task, 1.0)) for task in tasks}

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {task: loss if self.weights[task] == 1.0 else loss * self.weights[task]
                for task, loss in losses.items()}

    def report(self) -> dict[str, dict[str, float]]:
        return {"weight": dict(self.weights)}


@weighting
class Fixed(Weighting):
    """A weighted sum with weights that are given and stay.

    Formula: Σ w_t l_t.

    Inputs: 0-dim losses.

    Source: triple-threat §4.3 and Table 9 (T-20, T-21).
    """

    weights: dict[str, float]
    """Task = weight; tasks not named have weight 1."""

    def __post_init__(self) -> None:
        for task, weight in self.weights.items():
            if not (isfinite(weight) and weight >= 0):
                raise refusal(f'weights of "{task}": found {weight}, expected 0 or more')

    def build(self, tasks: Sequence[str], kinds: Mapping[str, str]) -> WeightingModule:
        return FixedWeights(tasks, self.weights)

    def problem(self, tasks: Sequence[str], min_tasks_per_step: int | None = None) -> str | None:
        if tasks and not any(self.weights.get(task, 1.0) for task in tasks):
            return 'weighting "fixed" gives every task the weight 0; give at least one a weight above 0'
        return unknown_task('weighting "fixed"', self.weights, tasks)
