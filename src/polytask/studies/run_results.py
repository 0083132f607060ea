"""A finished run read back: its results, its events, its predictions as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from polytask.core.atomic_files import standing
from polytask.core.events import read_events
from polytask.core.json_files import as_written, read_json
from polytask.core.paths import ModelPaths
from polytask.core.results_file import read_results
from polytask.core.run_folder import RunFolder
from polytask.data.labels import Labels
from polytask.evaluation.predictions import check_labels, encoded, read_predictions, scores_by_class
from polytask.metrics import METRICS, measure
from polytask.metrics.registry import Array


@dataclass(frozen=True)
class LabelledPredictions:
    """The labelled rows of a split: `true` and `predicted` by name or as numbers, (rows,)."""

    labels: Labels
    true: list[str]
    predicted: list[str]
    scores: Array | None
    """(rows, classes), larger where a class is likelier; None if the file does not have them."""
    fingerprint: int
    """Tells one set of rows from another; the same for every run that was scored on the same."""

    unclipped: Array | None = None
    """The numbers of a regression before they were clipped to its range; correlations use them."""

    @cached_property
    def encoded(self) -> tuple[Array, Array]:
        """Return predicted and true as a metric takes them: indices, numbers, or 0/1 rows."""
        return encoded(self.predicted, self.labels), encoded(self.true, self.labels)

    def serves(self, name: str) -> bool:
        """Return whether a metric can be measured again on these rows."""
        return name in METRICS and (self.scores is not None or not METRICS[name].takes_scores)

    def metric(self, name: str) -> float | None:
        """Return a metric over the rows, None if it does not apply to such labels."""
        if not self.serves(name) or self.labels.kind not in METRICS[name].kinds:
            return None
        value = measure([name], *self.encoded, self.labels, self.unclipped, self.scores).values[name]
        return value if isinstance(value, float) else None


class RunResults:
    """One finished run."""

    def __init__(self, path: Path) -> None:
        self.folder = RunFolder(path)
        self.results: dict[str, Any] = read_results(self.folder.results)
        self.tasks: dict[str, Any] = self.folder.settings()["tasks"]
        self.predictions = cache(self._predictions)

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        """What happened, in order."""
        return list(read_events(self.folder.events))

    def metrics(self, task: str) -> list[str]:
        """Return the metrics of a task on dev; the first is its main one."""
        return list(self.results["dev"]["scores"][task])

    def _predictions(self, task: str, split: str) -> LabelledPredictions | None:
        path = self.folder.prediction_file(task, split)
        if not path.is_file():
            return None
        text, known = self.tasks[task]["text"], self._labels(task)
        rows = read_predictions(path, [text] if isinstance(text, str) else text,
                                known is not None and known.kind == "multi-label")
        if not rows.labelled:
            return None
        labels = known or Labels("classes", tuple(sorted({*rows.true, *rows.predicted})))
        check_labels(rows, labels, path)
        unclipped = rows.scores if labels.is_regression and len(rows.scores) else np.array([np.nan])
        return LabelledPredictions(labels, rows.true, rows.predicted, scores_by_class(rows, labels),
                                   rows.fingerprint, unclipped if np.isfinite(unclipped).all() else None)

    def _labels(self, task: str) -> Labels | None:
        """Return a task's labels as the model has them; None without a model, if they are classes."""
        path = ModelPaths(standing(self.folder.model)).tasks
        if path.is_file():
            with as_written(path):
                return Labels.from_json(read_json(path)["tasks"][task]["labels"])
        return Labels("regression") if "pearson" in self.metrics(task) else None


def cost(results: Mapping[str, Any]) -> dict[str, float]:
    """Return what a run cost: seconds of training, tokens, peak memory in MB."""
    return {key: float(results.get(key, 0.0)) for key in ("seconds", "tokens", "peak_memory_mb")}
