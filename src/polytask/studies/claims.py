"""Claimed numbers: what their keys mean (`recipes/README.md`), and what a run measured for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from polytask.core.errors import ConfigError, nearest
from polytask.data.labels import Labels
from polytask.metrics import METRICS, NAMED_SCORES, check_formula, overall
from polytask.studies.run_results import LabelledPredictions, RunResults

SPLITS = ("train", "dev", "test")
PERCENT = "_percent"
# What a task has beside its metrics, with the number of entries that follow the name.
ENTRIES = {"per_label_accuracy": 1, "label_share": 1, "confusion": 2, "loss": 0, "max_prediction": 0}
RUN_FACTS = ("best_epoch", "epochs")


def claim_problem(key: str, value: Any, tasks: Iterable[str]) -> str | None:
    """Return what is wrong with a claimed number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"found {value!r}, expected a number"
    split, _, rest = key.partition(".")
    task, _, name = rest.partition(".")
    metric, *entries = name.split(".")
    if split == "run":
        return None if rest in RUN_FACTS else f'"{rest}" is not a fact of a run{nearest(rest, RUN_FACTS)}'
    if split not in SPLITS:
        return f'"{split}" is not a split{nearest(split, SPLITS)}'
    if task == "overall":
        known = name in NAMED_SCORES
        return None if known else f'"{name}" is not an overall score{nearest(name, NAMED_SCORES)}'
    if task not in tasks:
        return f'"{task}" is not a task{nearest(task, tasks)}'
    plain = metric.removesuffix(PERCENT)
    if plain not in METRICS and plain not in ENTRIES:
        return f'"{plain}" is not a metric{nearest(plain, [*METRICS, *ENTRIES])}'
    if len(entries) != ENTRIES.get(plain, 0):
        return f'"{plain}": found {len(entries)} labels after it, expected {ENTRIES.get(plain, 0)}'
    return None


def measured(key: str, run: RunResults, formula: str,
             claimed: Mapping[str, float] | None = None) -> float | None:
    """Return what a run measured for a claimed key; None if it cannot be measured.

    Counts of a confusion are scaled to as many rows as the `claimed` ones count: dev sets of different
    sizes are compared by their shares (T-37).
    """
    split, _, rest = key.partition(".")
    task, _, name = rest.partition(".")
    if split == "run":
        return _fact(rest, run, formula)
    if task == "overall":
        scores = _scores(split, run, formula)
        # A score over some of the tasks is not the claimed one.
        complete = set(scores) == set(run.tasks) and check_formula(
            name, {task: list(values) for task, values in scores.items()}) is None
        return overall(name, scores) if complete else None
    metric, *entries = name.split(".")
    value = _value(split, task, metric.removesuffix(PERCENT), entries, run, formula)
    if metric == "confusion" and value is not None and claimed:
        table = key.removesuffix(".".join(entries))
        printed = sum(count for other, count in claimed.items() if other.startswith(table))
        predictions = run.predictions(task, split)
        return value * printed / len(predictions.true) if predictions and predictions.true else None
    return 100 * value if value is not None and metric.endswith(PERCENT) else value


def _value(split: str, task: str, metric: str, entries: Sequence[str], run: RunResults,
           formula: str) -> float | None:
    if metric == "loss":
        return _last_loss(task, run) if split == "train" else None
    if metric in _FROM_PREDICTIONS:
        predictions = run.predictions(task, split)
        return None if predictions is None else _FROM_PREDICTIONS[metric](predictions, entries)
    value = _scores(split, run, formula).get(task, {}).get(metric)
    known = METRICS.get(metric)
    if value is None and known and known.scalar and (predictions := run.predictions(task, split)):
        value = predictions.metric(metric)  # one that the task does not list
    if isinstance(value, Mapping):
        value = value.get(entries[0]) if entries else None
    return None if value is None else float(value)


def _scores(split: str, run: RunResults, formula: str) -> Mapping[str, Mapping[str, Any]]:
    """Return task → metric → value; those of the training rows come from the best evaluation."""
    if split == "train":
        best = best_evaluation(run, formula)
        return {} if best is None else best.get("train", {})
    scores: Mapping[str, Mapping[str, Any]] = run.results.get(split, {}).get("scores", {})
    return scores


def best_evaluation(run: RunResults, formula: str) -> Mapping[str, Any] | None:
    """Return the event of the evaluation whose model was kept: the first with the highest score."""
    evaluations = [event for event in run.events if event["event"] == "evaluation"]
    return max(evaluations, key=lambda event: _overall(formula, event["dev"]), default=None)


def _overall(formula: str, scores: Mapping[str, Mapping[str, Any]]) -> float:
    try:
        return overall(formula, scores)
    except ConfigError:
        return 0.0


def _fact(name: str, run: RunResults, formula: str) -> float | None:
    """Return an epoch, counted from 1 through all phases (T-43: the best one)."""
    epochs = sorted({_epoch(event) for event in run.events if event["event"] == "step"})
    if name == "epochs":
        return float(len(epochs)) or None
    best = best_evaluation(run, formula)
    if best is None or _epoch(best) not in epochs:
        return None
    return float(epochs.index(_epoch(best)) + 1)


def _epoch(event: Mapping[str, Any]) -> tuple[int, int]:
    return int(event["phase"]), int(event["epoch"])


def _last_loss(task: str, run: RunResults) -> float | None:
    """Return the mean loss of a task over the last epoch, unweighted (T-22)."""
    steps = [event for event in run.events if event["event"] == "step" and task in event["losses"]]
    if not steps:
        return None
    last_epoch = [event["losses"][task] for event in steps if _epoch(event) == _epoch(steps[-1])]
    return float(np.mean(last_epoch))


def _names(values: Sequence[str], labels: Labels) -> list[str]:
    """Return labels by name; a number is rounded half to even, as everywhere."""
    if not labels.is_regression:
        return list(values)
    return [str(int(number)) for number in np.round(np.round(np.array(values, float), 4))]


def _share(rows: LabelledPredictions, entries: Sequence[str]) -> float:
    names = _names(rows.true, rows.labels)
    return names.count(entries[0]) / max(1, len(names))


def _confusion(rows: LabelledPredictions, entries: Sequence[str]) -> float:
    pairs = list(zip(_names(rows.true, rows.labels), _names(rows.predicted, rows.labels), strict=True))
    return float(pairs.count((entries[0], entries[1])))


def _largest(rows: LabelledPredictions, entries: Sequence[str]) -> float | None:
    if not rows.labels.is_regression or not rows.predicted:
        return None
    return float(np.max(np.array(rows.predicted, float)))


_FROM_PREDICTIONS: dict[str, Callable[[LabelledPredictions, Sequence[str]], float | None]] = {
    "label_share": _share, "confusion": _confusion, "max_prediction": _largest}
