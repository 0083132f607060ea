"""A run read from its folder: nothing is computed again, and what is missing is named with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from polytask.core.atomic_files import standing
from polytask.core.errors import RunError
from polytask.core.events import read_events
from polytask.core.json_files import read_json
from polytask.core.paths import ModelPaths
from polytask.core.run_folder import RunFolder
from polytask.data.labels import Labels
from polytask.evaluation.predictions import Predictions, check_labels, read_predictions

SPLITS = ("train", "dev", "test")


@dataclass
class TaskRecord:
    """One task of a run: its settings, scores and predictions."""

    name: str
    settings: Mapping[str, Any]
    """The resolved task if the model was saved; else its table in the config."""
    labels: Labels | None
    predictions: dict[str, Predictions] = field(default_factory=dict)
    histograms: Mapping[str, Any] = field(default_factory=dict)
    cut: list[int] = field(default_factory=list)
    vectors: Any = None
    vector_rows: Any = None
    damaged: dict[str, str] = field(default_factory=dict)
    """Split → what is wrong with its predictions file, which is then left out."""

    @property
    def dev(self) -> Predictions | None:
        """The labelled predictions on dev, or None."""
        predictions = self.predictions.get("dev")
        return predictions if predictions and predictions.labelled else None


@dataclass
class RunRecord:
    """A run, read from its folder."""

    path: Path
    config: dict[str, Any]
    events: list[dict[str, Any]]
    results: dict[str, Any]
    data: dict[str, Any]
    tasks: dict[str, TaskRecord]
    artifacts: dict[str, Any]
    arrays: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @cached_property
    def steps(self) -> list[dict[str, Any]]:
        return [event for event in self.events if event.get("event") == "step"]

    @cached_property
    def evaluations(self) -> list[dict[str, Any]]:
        return [event for event in self.events if event.get("event") == "evaluation"]

    @property
    def notes(self) -> list[str]:
        """Notes on the data and the plan: rows left out, guesses, tasks without an update."""
        start = next((event for event in self.events if event.get("event") == "start"), {})
        notes = self.results.get("notes", start.get("notes", []))
        return [str(note) for note in notes]

    @property
    def ended(self) -> bool:
        """Whether the training has ended, which is when predictions and artifacts are written."""
        return bool(self.results or self.artifacts or any(task.predictions or task.damaged
                                                         for task in self.tasks.values()))

    def no_dev(self, task: TaskRecord) -> str:
        """Return why a task has no labelled dev predictions."""
        if "dev" in task.damaged:
            reason = task.damaged["dev"]
        elif not self.ended:
            reason = "the training has not finished"
        elif "dev" in task.predictions:
            reason = "its dev rows have no labels"
        elif self.data.get(task.name) and "dev" not in self.data[task.name]:
            reason = "it has no dev rows"
        else:
            reason = f"predictions/{task.name}-dev.csv is missing"
        return f"{task.name}: no labelled dev predictions ({reason})."

    def no_artifacts(self, what: str) -> str:
        """Return why something of the artifacts is missing; `what` is, say, "attention is kept"."""
        return (f"{what} when a training ends, and this one has not." if not self.ended else
                f"{what} in artifacts/, and the run has none.")

    def missing(self) -> list[str]:
        """Return what the page cannot show, each with its reason."""
        reasons = []
        if not self.ended:
            reasons.append("The training has not finished: there are no final scores or predictions yet.")
        elif not self.results:
            reasons.append("results.json is missing, so there are no final scores.")
        if not self.evaluations:
            reasons.append("The run was never evaluated, so there are no curves of dev scores.")
        reasons += [self.no_dev(task) for task in self.tasks.values() if self.ended and task.dev is None]
        reasons += [f"{task.name}: no {split} predictions ({reason})." for task in self.tasks.values()
                    for split, reason in task.damaged.items() if split != "dev"]
        if self.ended and not self.artifacts:
            reasons.append("The run has no artifacts (embeddings, attention, overlaps): they could not be "
                           "kept when it ended, or their folder was deleted.")
        return reasons


def read_run(path: str | Path, artifacts: tuple[dict[str, Any], Mapping[str, Any]] = ({}, {}),
             predictions: bool = True) -> RunRecord:
    """Read a run folder, with its `predictions` if wanted; raise `RunError` if it is not one.

    `artifacts` are the JSON and the arrays that `load_artifacts` returns.
    """
    folder = RunFolder.open(path)
    config = folder.settings()
    summary, arrays = artifacts
    results, data = _json(folder.results), _json(folder.data)
    saved = _json(ModelPaths(standing(folder.model)).tasks).get("tasks", {})
    tasks = {}
    for name, table in config.get("tasks", {}).items():
        task = TaskRecord(name, saved.get(name, table), _labels(name, saved, summary))
        for split in SPLITS:
            if predictions and (file := folder.prediction_file(name, split)).is_file():
                _read_split(task, split, file)
        if task.labels is None and (dev := task.dev):
            task.labels = _guessed_labels(dev)
        task.histograms = summary.get("histograms", {}).get(name) or _histograms(data.get(name, {}))
        task.cut = summary.get("cut", {}).get(name, [])
        task.vectors, task.vector_rows = arrays.get(f"vectors/{name}"), arrays.get(f"rows/{name}")
        tasks[name] = task
    return RunRecord(folder.path, config, [*read_events(folder.events)], results, data, tasks, summary,
                     arrays)


def _read_split(task: TaskRecord, split: str, file: Path) -> None:
    """Read the predictions of a split; a damaged file costs no more than what is in it."""
    text = task.settings.get("text", [])
    try:
        multi_label = task.labels is not None and task.labels.kind == "multi-label"
        predictions = read_predictions(file, [text] if isinstance(text, str) else text, multi_label)
        if task.labels is not None:
            check_labels(predictions, task.labels, file)
    except RunError as error:
        task.damaged[split] = str(error).replace(str(file.parent), "predictions")
    else:
        task.predictions[split] = predictions


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    value = read_json(path)
    return value if isinstance(value, dict) else {}


def _labels(name: str, saved: Mapping[str, Any], summary: Mapping[str, Any]) -> Labels | None:
    table = saved.get(name, {}).get("labels") or summary.get("labels", {}).get(name)
    return Labels.from_json(dict(table)) if table else None


def _guessed_labels(predictions: Predictions) -> Labels:
    """Return the labels of a run without a model, as far as its predictions show them."""
    names = {*predictions.true, *predictions.predicted}
    try:
        true, predicted = predictions.numbers()
    except ValueError:
        return Labels("classes", tuple(sorted(names)))
    if np.all(true == np.round(true)) and np.all(predicted == np.round(predicted)):
        return Labels("binary" if len(names) == 2 else "ordinal", tuple(sorted(names, key=float)))
    return Labels("regression", (), float(true.min()), float(true.max()))


def _histograms(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the label histograms of `data.json`, which is written when a training starts."""
    return {split: summary.get("histogram") or {"counts": summary["counts"]}
            for split, summary in data.items()
            if isinstance(summary, dict) and (summary.get("histogram") or summary.get("counts"))}
