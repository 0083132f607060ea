"""A finished run read back: its results, its events, its predictions as arrays."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from polytask.core.atomic_files import standing
from polytask.core.events import read_events
from polytask.core.paths import ModelPaths
from polytask.core.run_folder import RunFolder
from polytask.data.labels import Labels
from polytask.data.prediction_columns import NO_LABELS, PredictionColumns, known_labels
from polytask.metrics import METRICS, measure
from polytask.metrics.registry import Array, class_scores


@dataclass(frozen=True)
class Predicted:
    """The labelled rows of a split: `true` and `predicted` by name or as numbers, (rows,)."""

    labels: Labels
    true: Array
    predicted: Array
    scores: Array | None
    """(rows, classes), larger where a class is likelier; None where the file has no such thing."""
    rows: int
    """Tells one set of rows from another; the same for every run that was scored on the same."""
    unclipped: Array | None = None
    """Of a regression the numbers before they were clipped to the range, on which it is correlated."""

    @cached_property
    def coded(self) -> tuple[Array, Array]:
        """Return predicted and true as a metric takes them: indices, numbers, or 0/1 rows."""
        return _coded(self.predicted, self.labels), _coded(self.true, self.labels)

    def serves(self, name: str) -> bool:
        """Whether a metric can be measured again on these rows."""
        return name in METRICS and (self.scores is not None or not METRICS[name].takes_scores)

    def metric(self, name: str) -> float | None:
        """Return a metric over the rows, None where it does not serve such labels."""
        if not self.serves(name) or self.labels.kind not in METRICS[name].kinds:
            return None
        value = measure([name], *self.coded, self.labels, self.unclipped, self.scores).values[name]
        return value if isinstance(value, float) else None


def _coded(values: Array, labels: Labels) -> Array:
    if labels.is_regression:
        return values
    index = {name: code for code, name in enumerate(labels.classes)}
    if labels.kind == "multi-label":
        made = np.zeros((len(values), labels.num_classes), dtype=np.int64)
        for row, names in enumerate(values):
            made[row, [index[name] for name in names.split("|") if name]] = 1
        return made
    return np.array([index[name] for name in values], dtype=np.int64)


class RunResults:
    """One finished run."""

    def __init__(self, path: Path) -> None:
        self.folder = RunFolder(path)
        self.results: dict[str, Any] = json.loads(self.folder.results.read_text(encoding="utf-8"))
        self.tasks: dict[str, Any] = self.folder.settings()["tasks"]
        self.predictions = cache(self._predictions)
        self._events: list[dict[str, Any]] | None = None

    def events(self) -> list[dict[str, Any]]:
        """Return what happened, in order."""
        if self._events is None:
            self._events = [*read_events(self.folder.events)]
        return self._events

    def metrics(self, task: str) -> list[str]:
        """Return the metrics of a task on dev; the first is its own score."""
        return list(self.results["dev"]["scores"][task])

    def _predictions(self, task: str, split: str) -> Predicted | None:
        path = self.folder.answers(task, split)
        if not path.is_file():
            return None
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        text = self.tasks[task]["text"]
        own = PredictionColumns.beside([text] if isinstance(text, str) else text)
        if not rows or own.label not in rows[0]:
            return None
        labels = self._labels(task, {row[key] for row in rows for key in (own.label, own.prediction)})
        several = labels.kind == "multi-label"
        rows = [rows[row] for row in known_labels([row[own.label] for row in rows], several)]
        true, predicted = (["" if several and row[key] == NO_LABELS else row[key] for row in rows]
                           for key in (own.label, own.prediction))
        kind = float if labels.is_regression else object
        return Predicted(labels, np.array(true, dtype=kind), np.array(predicted, dtype=kind),
                         _scores(rows, own, labels), _identity(rows, own),
                         _unclipped(rows, own) if labels.is_regression else None)

    def _labels(self, task: str, seen: set[str]) -> Labels:
        """Return a task's labels as the model has them; told from the names where it is gone."""
        path = ModelPaths(standing(self.folder.model)).tasks
        if path.is_file():
            return Labels.from_json(json.loads(path.read_text(encoding="utf-8"))["tasks"][task]["labels"])
        if "pearson" in self.metrics(task):
            return Labels("regression")
        return Labels("classes", tuple(sorted(seen)))


def _scores(rows: list[dict[str, str]], own: PredictionColumns, labels: Labels) -> Array | None:
    """Return the score of each class of each row, as far as the file of predictions has them."""
    if labels.is_regression or not rows:
        return None
    column = own.probabilities if own.probabilities in rows[0] else own.score
    try:
        scores = np.array([[float(number) for number in row[column].split()] for row in rows])
    except (KeyError, ValueError):
        return None
    if labels.kind == "binary" and scores.ndim == 2 and scores.shape[1] == 1:
        return class_scores(labels, scores[:, 0], None)
    return scores if scores.shape == (len(rows), labels.num_classes) else None


def _unclipped(rows: list[dict[str, str]], own: PredictionColumns) -> Array | None:
    try:
        return np.array([row[own.score] for row in rows], dtype=float)
    except (KeyError, ValueError):
        return None


def _identity(rows: list[dict[str, str]], own: PredictionColumns) -> int:
    answers = (own.prediction, own.score, own.probabilities)
    made = hashlib.blake2b(digest_size=6)
    for row in rows:
        told = [value for key, value in row.items() if key not in answers]
        made.update("\0".join(map(str, told)).encode())
    return int.from_bytes(made.digest(), "big")


def cost(results: Mapping[str, Any]) -> dict[str, float]:
    """Return what a run took: seconds of training, tokens, MB at the most."""
    return {key: float(results.get(key, 0.0)) for key in ("seconds", "tokens", "peak_memory_mb")}
