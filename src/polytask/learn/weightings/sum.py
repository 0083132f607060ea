"""The plain sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polytask.learn.weightings.contract import (
    Weighting,
    WeightingModule,
    weighting,
)
from polytask.learn.weightings.fixed import FixedWeights


@weighting
class Sum(Weighting):
    """The plain sum of the losses.

    Formula: Σ l_t.

    Inputs: 0-dim losses.

    Source: mfrr §4.2.2 (M-17), surgery §4 (G-2), triple-threat §4.3 (T-19).
    """

    def build(self, tasks: Sequence[str], kinds: Mapping[str, str]) -> WeightingModule:
        return FixedWeights(tasks, {})
