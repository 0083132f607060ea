"""The registry of metrics, and measuring with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from polytask.core.errors import ConfigError, listed, nearest
from polytask.data.labels import Labels

Array = NDArray[Any]
Value = float | None | dict[str, float | None]


@dataclass(frozen=True)
class Metric:
    """One metric.

    `function(predicted, true)` takes arrays of labels: indices of classes, numbers, or 0/1 rows.
    `kinds` are the kinds of labels it serves. `unit` maps its value to [0, 1], larger being better.
    `undefined(predicted, true)` says why it has no value for these rows, or None. A metric that is
    not `scalar` gives a number a label.
    """

    name: str
    doc: str
    function: Callable[[Array, Array], float]
    kinds: frozenset[str]
    direction: Literal["higher", "lower"] = "higher"
    unit: Callable[[float], float] = float
    undefined: Callable[[Array, Array], str | None] = lambda predicted, true: None
    scalar: bool = True


METRICS: dict[str, Metric] = {}
"""Every metric by its name."""

def metric(
    *kinds: str,
    direction: Literal["higher", "lower"] = "higher",
    unit: Callable[[float], float] = float,
    undefined: Callable[[Array, Array], str | None] = lambda predicted, true: None,
    scalar: bool = True,
) -> Callable[[Callable[[Array, Array], Any]], Callable[[Array, Array], Any]]:
    """Register a function of two arrays, predicted and true, under its name."""

    def register(function: Callable[[Array, Array], Any]) -> Callable[[Array, Array], Any]:
        doc = (function.__doc__ or "").strip().partition("\n")[0]
        METRICS[function.__name__] = Metric(function.__name__, doc, function, frozenset(kinds),
                                            direction, unit, undefined, scalar)
        return function

    return register


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
