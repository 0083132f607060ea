"""Labels as shares of their range, for the losses that compare two vectors."""

from __future__ import annotations

from torch import Tensor

from polytask.data.labels import Labels

_UNIT = (0.0, 1.0)


def _seen(labels: Labels) -> tuple[float, float]:
    """Return the range of the labels as a loss sees them."""
    return (labels.low, labels.high) if labels.is_regression and not labels.unit else _UNIT


def _unit(target: Tensor, seen: tuple[float, float]) -> Tensor:
    return (target.float() - seen[0]) / (seen[1] - seen[0])
