"""Learned noise of each task, as swissbert prints it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polytask.learn.weightings.contract import (
    Weighting,
    WeightingModule,
    weighting,
)
from polytask.learn.weightings.learned import LogVariances


@weighting
class Homoscedastic(Weighting):
    """Losses weighed by a learned noise of each task, as swissbert prints it.

    Formula: Σ l_t / σ_t² + log σ_t, learned as s_t = log σ_t² = 0 at the start; for a constant
    loss σ_t² goes to 2 l_t.

    Inputs: 0-dim losses.

    Source: swissbert §4.2, homoscedastic uncertainty (S-9).

    Departs: it is `kendall`'s term for classification, for every task.
    """

    def build(self, tasks: Sequence[str], kinds: Mapping[str, str]) -> WeightingModule:
        return LogVariances(tasks, dict.fromkeys(tasks, 1.0), extra=0.5)
