"""Metrics: what was decided against what is right, two arrays → one number.

A metric that is not defined for its rows (the correlation of a constant, say) is 0.0, and `measure`
says so; without rows it is None. `overall` makes one number of those of all tasks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from polytask.core.errors import ConfigError, listed, nearest
from polytask.core.labels import Labels

Array = NDArray[Any]
Value = float | None | dict[str, float | None]

_CHOICES = frozenset({"classes", "binary", "ordinal"})
_ORDERED = frozenset({"binary", "ordinal"})
_NUMBERS = frozenset({"regression"})


@dataclass(frozen=True)
class Metric:
    """One metric.

    `function(predicted, true)` takes arrays of labels: indices of classes, numbers, or 0/1 rows.
    `kinds` are the kinds of labels it serves. `unit` maps its value to [0, 1], larger being better.
    """

    name: str
    doc: str
    function: Callable[[Array, Array], float]
    kinds: frozenset[str]
    direction: Literal["higher", "lower"] = "higher"
    unit: Callable[[float], float] = float
    undefined: Callable[[Array, Array], str | None] = lambda predicted, true: None


METRICS: dict[str, Metric] = {}
"""Every metric by its name."""

DEFAULT_METRICS: dict[str, tuple[str, ...]] = {
    "classes": ("accuracy", "balanced_accuracy", "macro_f1", "per_label_accuracy"),
    "binary": ("accuracy", "balanced_accuracy", "macro_f1", "f1", "mcc", "per_label_accuracy"),
    "ordinal": ("accuracy", "balanced_accuracy", "macro_f1", "mae", "quadratic_kappa",
                "per_label_accuracy"),
    "regression": ("pearson", "spearman", "mae", "mse", "rounded_accuracy", "per_label_accuracy"),
    "multi-label": ("macro_f1", "accuracy", "per_label_accuracy"),
}
"""The metrics of a kind of labels; the first is the task's own score (DESIGN §7)."""


def metric(
    *kinds: str,
    direction: Literal["higher", "lower"] = "higher",
    unit: Callable[[float], float] = float,
    undefined: Callable[[Array, Array], str | None] = lambda predicted, true: None,
) -> Callable[[Callable[[Array, Array], Any]], Callable[[Array, Array], Any]]:
    """Register a function of two arrays, predicted and true, under its name."""

    def register(function: Callable[[Array, Array], Any]) -> Callable[[Array, Array], Any]:
        doc = (function.__doc__ or "").strip().partition("\n")[0]
        METRICS[function.__name__] = Metric(function.__name__, doc, function, frozenset(kinds),
                                            direction, unit, undefined)
        return function

    return register


def _halved(value: float) -> float:
    return (1 + value) / 2  # [-1, 1] -> [0, 1]


def _inverse(value: float) -> float:
    return 1 / (1 + value)  # an error in [0, ∞) -> (0, 1], none being 1


def _constant(predicted: Array, true: Array) -> str | None:
    for said, values in (("prediction", predicted), ("label", true)):
        if np.all(values == values[0]):
            return f"every {said} is {values[0]:g}"
    return None


def _one_class(predicted: Array, true: Array) -> str | None:
    if np.all(predicted == true[0]) and np.all(true == true[0]):
        return "all predictions and labels are one class"
    return None


@metric(*_CHOICES, "multi-label")
def accuracy(predicted: Array, true: Array) -> float:
    """Share of the rows that are right; of a multi-label row, all of its labels."""
    same = predicted == true
    return float((same.all(-1) if same.ndim > 1 else same).mean())


@metric(*_CHOICES)
def balanced_accuracy(predicted: Array, true: Array) -> float:
    """Mean over the classes that occur of the share of their rows that are right."""
    return float(np.mean([(predicted[true == each] == each).mean() for each in np.unique(true)]))


@metric(*_CHOICES, "multi-label")
def macro_f1(predicted: Array, true: Array) -> float:
    """Mean over the classes of the F1 of each."""
    from sklearn.metrics import f1_score

    return float(f1_score(true, predicted, average="macro", zero_division=0))


@metric("binary")
def f1(predicted: Array, true: Array) -> float:
    """F1 of the positive class."""
    from sklearn.metrics import f1_score

    return float(f1_score(true, predicted, zero_division=0))


@metric("binary", "classes", "ordinal", unit=_halved, undefined=_constant)
def mcc(predicted: Array, true: Array) -> float:
    """Matthews correlation coefficient."""
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(true, predicted))


@metric(*_ORDERED, unit=_halved, undefined=_one_class)
def quadratic_kappa(predicted: Array, true: Array) -> float:
    """Cohen's kappa with the squared distance of the classes as weight."""
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(true, predicted, weights="quadratic"))


@metric(*_NUMBERS, unit=_halved, undefined=_constant)
def pearson(predicted: Array, true: Array) -> float:
    """Pearson's correlation."""
    from scipy.stats import pearsonr

    return float(pearsonr(predicted, true).statistic)


@metric(*_NUMBERS, unit=_halved, undefined=_constant)
def spearman(predicted: Array, true: Array) -> float:
    """Spearman's rank correlation."""
    from scipy.stats import spearmanr

    return float(spearmanr(predicted, true).statistic)


@metric(*_NUMBERS, *_ORDERED, direction="lower", unit=_inverse)
def mae(predicted: Array, true: Array) -> float:
    """Mean distance from the label; of ordinal classes, in classes."""
    return float(np.abs(predicted - true).mean())


@metric(*_NUMBERS, direction="lower", unit=_inverse)
def mse(predicted: Array, true: Array) -> float:
    """Mean squared distance from the label, in the labels' own range."""
    return float(((predicted - true) ** 2).mean())


@metric(*_NUMBERS)
def rounded_accuracy(predicted: Array, true: Array) -> float:
    """Share of the rows right once both are rounded, half to even."""
    return float((np.round(predicted) == np.round(true)).mean())


@metric(*_CHOICES, *_NUMBERS, "multi-label")
def per_label_accuracy(predicted: Array, true: Array) -> dict[Any, float]:
    """Share right among the rows of each label; numbers are rounded half to even."""
    if true.ndim > 1:
        return {label: float((predicted[:, label] == true[:, label]).mean())
                for label in range(true.shape[1])}
    if np.issubdtype(true.dtype, np.floating):
        predicted, true = np.round(predicted), np.round(true)
    return {int(each): float((predicted[true == each] == each).mean()) for each in np.unique(true)}


@dataclass(frozen=True)
class Measured:
    """The values of some metrics, and a sentence for each that is not defined for its rows."""

    values: dict[str, Value]
    notes: tuple[str, ...] = ()


def measure(names: Iterable[str], predicted: Array, true: Array, labels: Labels) -> Measured:
    """Return the metrics of some rows; `predicted` is `Decision.labels`."""
    values: dict[str, Value] = {}
    notes = []
    predicted, true = np.asarray(predicted), np.asarray(true)
    for name in names:
        found = find_metric(name)
        if not len(true):
            values[name] = None
            notes.append(f"{name}: there are no rows")
        elif why := found.undefined(predicted, true):
            values[name] = 0.0
            notes.append(f"{name}: {why}, so it is not defined and counts as 0")
        else:
            values[name] = _named(found.function(predicted, true), labels)
    return Measured(values, tuple(notes))


def _named(value: Any, labels: Labels) -> Value:
    """Name the entries of a metric by the labels' classes; what is not finite is None."""
    if isinstance(value, Mapping):
        names = {key: labels.classes[key] if labels.classes else str(key) for key in value}
        return {names[key]: _finite(each) for key, each in value.items()}
    return _finite(value)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def find_metric(name: str) -> Metric:
    """Return the metric of a name."""
    if name not in METRICS:
        raise ConfigError(f'"{name}" is no metric{nearest(name, METRICS)} '
                          f"(there are {listed(METRICS)})")
    return METRICS[name]


def metrics_problem(names: Iterable[str], labels: Labels) -> str | None:
    """Say which of the metrics cannot serve these labels, or None."""
    for name in names:
        if labels.kind not in find_metric(name).kinds:
            able = [each.name for each in METRICS.values() if labels.kind in each.kinds]
            return f'metric "{name}" does not serve {labels.kind} labels; there are {listed(able)}'
    return None
