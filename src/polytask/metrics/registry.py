"""The registry of metrics, and measuring with them.

    @metric("classes", "binary", aliases=("hits",))
    def accuracy(predicted, true):
        \"\"\"Share of the rows that are right.\"\"\"
        return float((predicted == true).mean())

A metric is a function of the labels that were predicted and those that are right; one with a third
parameter called `scores` is given those of each class as well.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from polytask.core.errors import ConfigError, UnknownName, listed, nearest
from polytask.core.registry import Registry, reference_of
from polytask.data.labels import Kind, Labels

Array = NDArray[Any]
Value = float | None | dict[str, float | None]
MetricFunction = Callable[..., Any]


@dataclass(frozen=True)
class Metric:
    """One metric.

    `function(predicted, true)` takes arrays of labels: indices of classes, numbers, or 0/1 rows; one that
    `takes_scores` is also given (rows, classes), larger where a class is likelier. `kinds` are the kinds
    of labels it serves. `unit` maps its value to [0, 1], larger being better. `undefined(predicted, true)`
    says why it has no value for these rows, or None; a third parameter called `labels` gets the `Labels`. A
    metric that is not `scalar` gives one number per label.
    One that takes `raw` numbers is given a regression's scores as the head gave them; all others see them
    clipped to the labels' range. One that is of the `positive` class of two says so beside its value.
    """

    name: str
    """Its name in a config: the function's name for ours, the place for a user's (`my_parts:f`)."""
    doc: str
    function: MetricFunction
    kinds: frozenset[str]
    direction: Literal["higher", "lower"] = "higher"
    unit: Callable[[float], float] = float
    undefined: Callable[..., str | None] = lambda predicted, true: None
    scalar: bool = True
    raw: bool = False
    aliases: tuple[str, ...] = ()
    positive: bool = False
    takes_scores: bool = False

    def undefined_for(self, labels: Labels) -> Callable[[Array, Array], str | None]:
        """Return `undefined` for rows with these labels."""
        named = "labels" in inspect.signature(self.undefined).parameters
        return partial(self.undefined, labels=labels) if named else self.undefined

    def value(self, predicted: Array, true: Array, scores: Array | None = None) -> Any:
        """Return the value; `scores` are wanted by a metric that takes them."""
        arguments = (predicted, true, scores) if self.takes_scores else (predicted, true)
        return self.function(*arguments)


class Metrics(Registry[Metric]):
    """The metrics: functions that the decorator registers."""

    def __call__(
        self,
        *kinds: str,
        direction: Literal["higher", "lower"] = "higher",
        unit: Callable[[float], float] = float,
        undefined: Callable[..., str | None] = lambda predicted, true: None,
        scalar: bool = True,
        raw: bool = False,
        aliases: Sequence[str] = (),
        positive: bool = False,
    ) -> Callable[[MetricFunction], MetricFunction]:
        """Register a function of predicted and true labels (and scores); see `Metric` for the options.

        kinds: of labels that it serves, one at least. aliases: other words by which people look for it.
        Raises `ConfigError` for a kind that there is not.
        """
        known = get_args(Kind)
        if not kinds or any(kind not in known for kind in kinds):
            wrong = next((kind for kind in kinds if kind not in known), "nothing")
            hint = nearest(wrong, known) if isinstance(wrong, str) else ""
            raise ConfigError(f"@pk.metric: found {wrong!r}, expected the kinds of labels it serves, such "
                              f'as @pk.metric("binary", "classes"){hint}')

        def register(function: MetricFunction) -> MetricFunction:
            name = reference_of(function.__module__, function.__qualname__, function.__name__)
            doc = " ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split())
            scored = "scores" in inspect.signature(function).parameters
            self.add(name, Metric(name, doc, function, frozenset(kinds), direction, unit, undefined, scalar,
                                  raw, tuple(aliases), positive, scored))
            return function

        return register

    def source(self, member: Metric) -> Any:
        return member.function

    def aliases(self, member: Metric) -> tuple[str, ...]:
        return (member.name, member.function.__name__, *member.aliases)

    def read(self, value: Any) -> str:
        """Return what a config calls a metric, given its name, its place, or its function."""
        if isinstance(value, str):
            return self.find(value).name
        for member in self.members.values():
            if member.function is value:
                return member.name
        raise UnknownName(f"found {value!r}, expected the name of a metric, or a function with @pk.metric")

    def describe(self) -> list[dict[str, Any]]:
        """Return a row for each metric: name, kinds of labels, direction, other names, what it does."""
        order = get_args(Kind)
        return [{"name": member.function.__name__, "reference": name, "doc": member.doc, "source": "",
                 "kinds": sorted(member.kinds, key=order.index), "direction": member.direction,
                 "scores": member.takes_scores, "aliases": list(member.aliases), "fields": []}
                for name, member in sorted(self.members.items())]


metric = Metrics("metric", "metrics")
METRICS: dict[str, Metric] = metric.members
"""Every metric by its name."""


@dataclass(frozen=True)
class Measured:
    """The values of some metrics, and a sentence for each that is not defined for its rows."""

    values: dict[str, Value]
    notes: tuple[str, ...] = ()


def measure(names: Iterable[str], predicted: Array, true: Array, labels: Labels,
            scores: Array | None = None, probabilities: Array | None = None) -> Measured:
    """Return the metrics of some rows.

    `predicted`, `scores` and `probabilities` are those of a `Decision`: of a regression, scores are the
    numbers before they were clipped to the range, for the metrics that are `raw` (absent: `predicted`).
    """
    values: dict[str, Value] = {}
    notes = []
    true, decided = np.asarray(true), np.asarray(predicted)
    unclipped = np.asarray(scores) if scores is not None and labels.is_regression else decided
    by_class = class_scores(labels, scores, probabilities)
    for name in names:
        definition = find_metric(name)
        predicted = unclipped if definition.raw else decided
        if not len(true):
            values[name] = None
            notes.append(f"{name}: there are no rows")
        elif definition.takes_scores and by_class is None:
            values[name] = None
            notes.append(f"{name}: there is no score of each class to measure it on")
        elif why := definition.undefined_for(labels)(predicted, true):
            values[name] = 0.0
            notes.append(f"{name}: {why}, so it is not defined and counts as 0")
        else:
            values[name] = _named(definition.value(predicted, true, by_class), labels)
    if labels.kind == "binary" and (asked := [name for name in values if find_metric(name).positive]):
        notes.append(f'{", ".join(asked)}: the positive class is "{labels.classes[1]}"')
    return Measured(values, tuple(notes))


def class_scores(labels: Labels, scores: Array | None, probabilities: Array | None) -> Array | None:
    """Return (rows, classes), larger where a class is likelier; None where a head gives no such thing."""
    if probabilities is not None:
        return np.asarray(probabilities)
    if labels.kind == "binary" and scores is not None and np.ndim(scores) == 1:
        positive = np.asarray(scores)
        return np.stack([-positive, positive], axis=1)
    return None


def _named(value: Any, labels: Labels) -> Value:
    """Name the entries of a metric by the labels' classes; what is not finite is None."""
    if isinstance(value, Mapping):
        names = {key: labels.classes[key] if labels.classes else str(key) for key in value}
        return {names[key]: _finite(entry) for key, entry in value.items()}
    return _finite(value)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def find_metric(name: str) -> Metric:
    """Return the metric of a name; nothing is imported for it."""
    if name not in METRICS:
        raise UnknownName(f'"{name}" is not a metric{metric.hint(name)} (expected one of '
                          f'{listed(METRICS)})')
    return METRICS[name]


def among(name: str, names: Iterable[str]) -> str:
    """Return the metric that a formula means by a name: a user's (`my_parts:f`) also by `f` alone."""
    names = list(names)
    return name if name in names else next((own for own in names if own.partition(":")[2] == name), name)


def metrics_problem(names: Iterable[str], labels: Labels) -> str | None:
    """Say which of the metrics cannot serve these labels, or None."""
    for name in names:
        if labels.kind not in find_metric(name).kinds:
            able = [definition.name for definition in METRICS.values() if labels.kind in definition.kinds]
            return f'metric "{name}" does not serve {labels.kind} labels; expected one of {listed(able)}'
    return None
