"""Metrics: what was decided (and its scores) against what is right: arrays → one number.

A metric that is not defined for its rows (the correlation of a constant, say) is 0.0, and `measure`
says so; without rows it is None. `overall` makes one number of those of all tasks.
"""

from typing import Any

from polytask.metrics.formula import Formula
from polytask.metrics.functions import DEFAULT_METRICS
from polytask.metrics.overall import NAMED_SCORES, check_formula, has_value, overall, shown_scores
from polytask.metrics.registry import (
    METRICS,
    Measured,
    Metric,
    Value,
    among,
    find_metric,
    measure,
    metric,
    metrics_problem,
)

__all__ = ["DEFAULT_METRICS", "METRICS", "NAMED_SCORES", "Formula", "Measured", "Metric", "Value",
           "among", "check_formula", "find_metric", "has_value", "measure", "metric", "metrics_problem",
           "overall", "shown_scores"]

metric.discover(__name__)


def __getattr__(name: str) -> Any:
    return metric.exported(__name__, name)


def __dir__() -> list[str]:
    return sorted([*__all__, *metric.exports(__name__)])
