"""Weights learned with the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from polytask.learn.weightings.contract import (
    Weighting,
    WeightingModule,
    weighting,
)
from polytask.learn.weightings.learned import LearnedWeights


class LinearWeights(LearnedWeights):
    def weight(self, task: str, value: Tensor) -> Tensor:
        return value


@weighting
class Learnable(Weighting):
    """A weighted sum whose weights are learned with the model.

    Formula: Σ w_t l_t with w_t = 1 at the start. Nothing holds the weights up: they fall while
    the losses are positive, as the report notes.

    Inputs: 0-dim losses.

    Source: swissbert §4.2, "learnable weights" (S-8).
    """

    def build(self, tasks: Sequence[str], kinds: Mapping[str, str]) -> WeightingModule:
        return LinearWeights(tasks, start=1.0)
