"""Labels as shares of their range, for the losses that compare two vectors."""

from __future__ import annotations

from torch import Tensor

from polytask.data.labels import Labels

_UNIT = (0.0, 1.0)


def _seen(labels: Labels) -> tuple[float, float]:
    """Return the range of the labels as a loss sees them."""
    return (labels.low, labels.high) if labels.is_regression and not labels.unit else _UNIT


def _at_least(target: Tensor, seen: tuple[float, float], share: float) -> Tensor:
    """Return which labels lie at least that share of their range above its low end: bool.

    (4.2 - 1) / 4 is below 0.8 in float32: its rounding does not decide.
    """
    return (target.float() - seen[0]) / (seen[1] - seen[0]) >= share - 1e-6
