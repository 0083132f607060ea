"""One number of the metrics of all tasks: the score that picks the best model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from polytask.core.errors import ConfigError, listed, nearest
from polytask.metrics.formula import Formula
from polytask.metrics.registry import METRICS, Value, among, find_metric, metric

NAMED_SCORES = {
    "default": "the mean over tasks of the first metric, mapped to [0, 1]",
    "cs224n": "the mean over tasks of accuracy or (1 + r) / 2",
    "mean": "the mean over tasks of the first metric as it is",
}
"""Overall scores that have a name: "cs224n" is that of T-5 and P-21, "mean" that of S-23 and G-32."""


def check_formula(formula: str, tasks: Mapping[str, Sequence[str] | None]) -> str | None:
    """Say why `formula` is not an overall score of these tasks, or None.

    `tasks` gives the metrics of each task, or None where they are not known yet.
    """
    if formula in NAMED_SCORES:
        mistakes = (_first_problem(formula, task, names) for task, names in tasks.items())
        return next((mistake for mistake in mistakes if mistake), None)
    if formula.strip().isidentifier():
        return (f'"{formula}" is not a score{nearest(formula, NAMED_SCORES)} (expected one of '
                f"{listed(NAMED_SCORES)}, or a formula over task.metric)")
    try:
        terms = Formula(formula, tasks).terms
    except ConfigError as error:
        return str(error)
    if not terms:
        return f'"{formula}" does not name a task.metric, so every model would score the same'
    task, written = terms[0]
    name = among(written, tasks[task] or ())
    if formula.strip() == f"{task}.{written}" and name in METRICS and METRICS[name].direction == "lower":
        return f'"{formula}" is an error, where less is better; set score = "-{formula}"'
    mistakes = (_term_problem(formula, *term, tasks[term[0]]) for term in terms)
    return next((mistake for mistake in mistakes if mistake), None)


def shown_scores(formula: str, tasks: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the overall scores to show: the run's own, and the plain mean where it is another number.

    `tasks` gives the metrics of each task. A score that these tasks do not have is left out.
    """
    first = [find_metric(names[0]) for names in tasks.values() if names]
    all_accuracy = all(definition.name == "accuracy" for definition in first)
    as_it_is = all(definition.unit is float for definition in first)
    is_mean = (formula == "default" and as_it_is) or (formula == "cs224n" and all_accuracy)
    wanted = [formula] if is_mean else [formula, "mean"]
    return [name for name in dict.fromkeys(wanted) if check_formula(name, tasks) is None]


def _first_problem(formula: str, task: str, names: Sequence[str] | None) -> str | None:
    if not names:
        return None
    first = find_metric(names[0])
    if formula == "cs224n":
        if {"accuracy", "pearson"} & set(names):
            return None
        return f'"cs224n" needs accuracy or pearson of task "{task}"; add it to its metrics'
    if not first.scalar:
        return (f'"{formula}" needs one number as the first metric of task "{task}", but '
                f'"{first.name}" gives one per label')
    if formula == "mean" and first.direction == "lower":
        return (f'"mean" needs metrics where more is better, but "{first.name}" of task '
                f'"{task}" is an error; use "default" or a formula')
    return None


def _term_problem(formula: str, task: str, name: str, names: Sequence[str] | None) -> str | None:
    name = among(name, names or ())
    if name not in METRICS:
        return f'"{formula}": "{name}" is not a metric{metric.hint(name)}'
    if not METRICS[name].scalar:
        return f'"{formula}": "{name}" is not one number'
    if names is not None and name not in names:
        return (f'"{formula}": task "{task}" has no metric "{name}" (it has {listed(names)}); '
                "add it to its metrics")
    return None


def overall(formula: str, results: Mapping[str, Mapping[str, Value]]) -> float:
    """Return one number for the metrics of all tasks; the first metric of a task is its own score.

    `formula` is "default", "cs224n", "mean", or arithmetic over `task.metric`. A value that is None
    counts as 0, and so does a formula that divides by zero.
    """
    if mistake := check_formula(formula, {task: list(values) for task, values in results.items()}):
        raise ConfigError(mistake)
    if formula not in NAMED_SCORES:
        return _computed(formula, results) or 0.0
    return float(np.mean([_score(formula, values) for values in results.values()]))


def has_value(formula: str, results: Mapping[str, Mapping[str, Value]]) -> bool:
    """Return whether an overall score is a number for these metrics: a formula may divide by zero."""
    return formula in NAMED_SCORES or _computed(formula, results) is not None


def _computed(formula: str, results: Mapping[str, Mapping[str, Value]]) -> float | None:
    return Formula(formula, results).value(
        lambda task, name: _number(results[task][among(name, results[task])]))


def _score(formula: str, values: Mapping[str, Value]) -> float:
    if formula == "cs224n":
        name = "accuracy" if "accuracy" in values else "pearson"
        return METRICS[name].unit(_number(values[name]))
    name = next(iter(values))
    value = _number(values[name])
    return value if formula == "mean" else METRICS[name].unit(value)


def _number(value: Value) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
