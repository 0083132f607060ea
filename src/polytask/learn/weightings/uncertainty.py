"""Learned noise of each task, as mfrr prints it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polytask.learn.weightings.contract import (
    Weighting,
    WeightingModule,
    weighting,
)
from polytask.learn.weightings.learned import LogVariances


@weighting
class Uncertainty(Weighting):
    """Losses weighed by a learned noise of each task, as mfrr prints it; not Kendall et al.'s (`kendall`).

    Formula: Σ exp(−w_t) l_t + w_t with w_t = log σ_t² = 0 at the start; for a constant loss
    w_t goes to log l_t, where the weight is 1 / l_t.

    Inputs: 0-dim losses.

    Source: mfrr §4.2.2, the weighted loss (M-18).

    Departs: it is twice `kendall`'s term for regression, for every task; beside `homoscedastic`
    its extra term is doubled.
    """

    def build(self, tasks: Sequence[str], kinds: Mapping[str, str]) -> WeightingModule:
        return LogVariances(tasks, dict.fromkeys(tasks, 1.0), extra=1.0)
