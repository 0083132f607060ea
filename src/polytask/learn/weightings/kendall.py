"""Learned noise, by each task's likelihood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polytask.learn.weightings.contract import (
    Weighting,
    WeightingModule,
    weighting,
)
from polytask.learn.weightings.learned import LogVariances


@weighting
class Kendall(Weighting):
    """Losses weighed by a learned noise, regression and classification each by its likelihood.

    Formula: Σ c_t l_t / σ_t² + log σ_t with c = ½ for regression and 1 for every other kind,
    learned as s_t = log σ_t² = 0 at the start.

    Inputs: 0-dim losses.

    Source: Kendall, Gal & Cipolla 2018, eq. 7 and 10; mfrr and swissbert cite it (M-18, S-9).
    """

    def build(self, tasks: Sequence[str], kinds: Mapping[str, str]) -> WeightingModule:
        factor = {task: 0.5 if kinds[task] == "regression" else 1.0 for task in tasks}
        return LogVariances(tasks, factor, extra=0.5)
