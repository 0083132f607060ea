"""Learned noise with a term that cannot become negative."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from polytask.learn.weightings.contract import (
    Weighting,
    WeightingModule,
    weighting,
)
from polytask.learn.weightings.learned import LearnedWeights


class AutomaticWeights(LearnedWeights):
    def weight(self, task: str, value: Tensor) -> Tensor:
        return 0.5 / value.square()

    def extra(self, value: Tensor) -> Tensor:
        return torch.log1p(value.square())

    def sigma(self, value: Tensor) -> Tensor:
        return value.abs()


@weighting
class Automatic(Weighting):
    """Losses weighed by a learned noise whose extra term cannot become negative.

    Formula: Σ l_t / (2 σ_t²) + log(1 + σ_t²), with σ_t = 1 at the start; for a constant loss
    σ_t² goes to (l + √(l² + 8 l)) / 4.

    Inputs: 0-dim losses.

    Source: Liebel & Körner 2018, eq. 4; swissbert §4.2, "automatic weighted loss" (S-10).
    """

    def build(self, tasks: Sequence[str], kinds: Mapping[str, str]) -> WeightingModule:
        return AutomaticWeights(tasks, start=1.0)
