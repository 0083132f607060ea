"""A run as its folder tells it: nothing is computed again, and what is missing is said."""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.core.atomic_files import standing
from polytask.core.errors import RunError
from polytask.core.events import read_events
from polytask.core.paths import ModelPaths
from polytask.core.run_folder import RunFolder
from polytask.data.labels import Labels
from polytask.data.prediction_columns import NO_LABELS, PredictionColumns, known_labels

SPLITS = ("train", "dev", "test")


@dataclass
class Answers:
    """The predictions of one task on one split, row by row.

    `scores` (rows,) is the score behind each answer: the probability of the second class (binary),
    of the predicted one (classes), the number itself (regression); NaN where there are several.
    `several` (rows, classes) are the probabilities of every label of a multi-label task.
    """

    texts: list[tuple[str, ...]]
    ids: list[str]
    true: list[str]
    predicted: list[str]
    scores: NDArray[np.float64]
    several: list[list[float]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.predicted)

    @property
    def labelled(self) -> bool:
        return bool(self.true)

    def numbers(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return true and predicted labels as numbers."""
        return np.array(self.true, float), np.array(self.predicted, float)


@dataclass
class TaskRecord:
    """What is known of one task of a run."""

    name: str
    settings: Mapping[str, Any]
    """The resolved task where the model was saved; else its table of the config."""
    labels: Labels | None
    answers: dict[str, Answers] = field(default_factory=dict)
    histograms: Mapping[str, Any] = field(default_factory=dict)
    cut: list[int] = field(default_factory=list)
    vectors: Any = None
    vector_rows: Any = None
    damaged: dict[str, str] = field(default_factory=dict)
    """Split → what is wrong with the file of its predictions, which is then left out."""

    @property
    def dev(self) -> Answers | None:
        """The labelled predictions on dev, or None."""
        found = self.answers.get("dev")
        return found if found is not None and found.labelled and len(found) else None


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
        """What was told of the data and the plan: rows left out, guesses, tasks without an update."""
        start = next((event for event in self.events if event.get("event") == "start"), {})
        held = self.results.get("notes", start.get("notes", []))
        return [str(said) for said in held]

    @property
    def ended(self) -> bool:
        """Whether the training has ended; predictions and artifacts are made then."""
        return bool(self.results or self.artifacts or any(task.answers or task.damaged
                                                         for task in self.tasks.values()))

    def no_dev(self, task: TaskRecord) -> str:
        """Say that there are no labelled dev predictions of a task, and why."""
        held = task.answers.get("dev")
        if "dev" in task.damaged:
            why = task.damaged["dev"]
        elif not self.ended:
            why = "the training has not ended"
        elif held is not None:
            why = "its dev rows have no labels"
        elif self.data.get(task.name) and "dev" not in self.data[task.name]:
            why = "it has no dev rows"
        else:
            why = f"predictions/{task.name}-dev.csv is not there"
        return f"{task.name}: no labelled dev predictions ({why})."

    def no_exhibits(self, what: str) -> str:
        """Say why something of the artifacts is not there."""
        return (f"{what} when a training ends, and this one has not." if not self.ended else
                f"{what} in artifacts/, and the run has none.")

    def missing(self) -> list[str]:
        """Say what the page cannot show, and why."""
        said = []
        if not self.ended:
            said.append("The training has not ended: there are no final scores and no predictions yet.")
        elif not self.results:
            said.append("results.json is not there, so there are no final scores.")
        if not self.evaluations:
            said.append("No evaluation was made, so there are no curves of dev scores.")
        said += [self.no_dev(task) for task in self.tasks.values() if self.ended and task.dev is None]
        said += [f"{task.name}: no {split} predictions ({why})." for task in self.tasks.values()
                 for split, why in task.damaged.items() if split != "dev"]
        if self.ended and not self.artifacts:
            said.append("The run kept no artifacts (embeddings, attention, overlaps): it was made before "
                        "they were kept, or they could not be, or the folder was deleted.")
        return said


def read_run(path: str | Path, artifacts: tuple[dict[str, Any], Mapping[str, Any]] = ({}, {}),
             answers: bool = True) -> RunRecord:
    """Read a run folder (its predictions where `answers` are wanted); raise `RunError` if it is none."""
    folder = RunFolder.open(path)
    config = folder.settings()
    told, arrays = artifacts
    results, data = _json(folder.results), _json(folder.data)
    saved = _json(ModelPaths(standing(folder.model)).tasks).get("tasks", {})
    tasks = {}
    for name, table in config.get("tasks", {}).items():
        task = TaskRecord(name, saved.get(name, table), _labels(name, saved, told))
        for split in SPLITS:
            if answers and (file := folder.answers(name, split)).is_file():
                _answer(task, split, file)
        if task.labels is None and (dev := task.dev):
            task.labels = _guessed(dev)
        task.histograms = told.get("histograms", {}).get(name) or _counted(data.get(name, {}))
        task.cut = told.get("cut", {}).get(name, [])
        task.vectors, task.vector_rows = arrays.get(f"vectors/{name}"), arrays.get(f"rows/{name}")
        tasks[name] = task
    return RunRecord(folder.path, config, [*read_events(folder.events)], results, data, tasks, told, arrays)


def _answer(task: TaskRecord, split: str, file: Path) -> None:
    """Read the predictions of a split; a damaged file costs no more than what is in it."""
    text = task.settings.get("text", [])
    try:
        several = task.labels is not None and task.labels.kind == "multi-label"
        found = read_answers(file, [text] if isinstance(text, str) else text, several)
        _fits(found, task.labels, file)
    except RunError as error:
        task.damaged[split] = str(error).replace(str(file.parent), "predictions")
    else:
        task.answers[split] = found


def _fits(answers: Answers, labels: Labels | None, file: Path) -> None:
    """Raise `RunError` for labels that the task cannot have: its figures could not be drawn."""
    if labels is None or labels.kind == "multi-label":
        return
    known = {*labels.classes}
    for column in (answers.true, answers.predicted):
        for row, cell in enumerate(column, 1):
            if not (math.isfinite(_number(cell)) if labels.is_regression else cell in known):
                wanted = "a number" if labels.is_regression else "a class of the task"
                raise RunError(f"{file}: row {row} has the label {cell!r}; expected {wanted}")


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path}: is no JSON ({error}); expected what polytask wrote") from None
    return found if isinstance(found, dict) else {}


def _labels(name: str, saved: Mapping[str, Any], told: Mapping[str, Any]) -> Labels | None:
    table = saved.get(name, {}).get("labels") or told.get("labels", {}).get(name)
    return Labels.from_json(dict(table)) if table else None


def _guessed(answers: Answers) -> Labels:
    """Tell the labels from the predictions of a run without a model."""
    try:
        true, predicted = answers.numbers()
    except ValueError:
        return Labels("classes", tuple(sorted({*answers.true, *answers.predicted})))
    if np.all(true == np.round(true)) and np.all(predicted == np.round(predicted)):
        names = sorted({*answers.true, *answers.predicted}, key=float)
        return Labels("binary" if len(names) == 2 else "ordinal", tuple(names))
    return Labels("regression", (), float(true.min()), float(true.max()))


def _counted(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the label histograms of `data.json`, which is written when a training starts."""
    return {split: held.get("histogram") or {"counts": held["counts"]} for split, held in data.items()
            if isinstance(held, dict) and (held.get("histogram") or held.get("counts"))}


def read_answers(file: Path, columns: Sequence[str], several: bool = False) -> Answers:
    """Read a file of predictions; raise `RunError` with the line at which it is damaged.

    several: whether rows have several labels.
    """
    own = PredictionColumns.beside(columns)
    head, rows = _cells(file, own.prediction)
    at = {name: place for place, name in enumerate(head)}
    if own.label in at:  # of a partly labelled file, the rows that can be compared
        held = known_labels([row[at[own.label]] for row in rows], several)
        rows = [rows[row] for row in held]
    places = [at[name] for name in columns if name in at]

    def column(name: str) -> list[str]:
        return [row[at[name]] for row in rows] if name in at else []

    def labels(name: str) -> list[str]:
        return ["" if several and cell == NO_LABELS else cell for cell in column(name)]

    cells = column(own.score)
    by_class = [[_number(each) for each in cell.split()] for cell in cells if " " in cell]
    return Answers([tuple(row[place] for place in places) for row in rows], column(own.id),
                   labels(own.label), labels(own.prediction), np.array([_number(cell) for cell in cells]),
                   by_class)


# A return in the middle of a text, which csv writes without quotes and reads as the end of a row, and
# what stands for it while a row is read: a character of no alphabet.
_RETURN, _HIDDEN = re.compile("\r(?!\n)"), "\ue00d"


def _cells(file: Path, prediction: str) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a file that polytask wrote: whole rows, each with its end."""
    csv.field_size_limit(sys.maxsize)
    rows = []
    with file.open(newline="\n", encoding="utf-8") as lines:
        reader = csv.reader((_RETURN.sub(_HIDDEN, line) for line in lines), strict=True)
        try:
            head = next(reader, [])
            if prediction not in head:
                raise RunError(f"{file}: has no column {prediction}; expected what polytask wrote")
            for row in reader:
                if len(row) != len(head):
                    raise RunError(f"{file}: line {reader.line_num} has {len(row)} cells; "
                                   f"expected {len(head)}")
                rows.append([cell.replace(_HIDDEN, "\r") for cell in row])
        except UnicodeDecodeError:
            raise RunError(f"{file}: is no UTF-8 after line {reader.line_num}") from None
        except csv.Error as error:
            raise RunError(f"{file}: line {reader.line_num} is no CSV ({error})") from None
    with file.open("rb") as held:
        held.seek(-1, 2)
        if held.read(1) not in b"\r\n":  # what is left of the last cell may look whole
            raise RunError(f"{file}: line {reader.line_num} is cut short")
    return head, rows


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")
