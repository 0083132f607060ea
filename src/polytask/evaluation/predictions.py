"""A file of predictions read back: `predictions/<task>-<split>.csv` of a run, as polytask wrote it."""

from __future__ import annotations

import csv
import hashlib
import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.core.errors import RunError
from polytask.data.decisions import split_names
from polytask.data.labels import Labels
from polytask.data.prediction_columns import NO_LABELS, PredictionColumns, known_labels
from polytask.metrics.registry import class_scores

Floats = NDArray[np.float64]


@dataclass
class Predictions:
    """The predictions of one task on one split, row by row.

    `scores` (rows,) holds the score behind each prediction: the probability of the second class
    (binary), of the predicted one (classes), the number itself (regression); NaN for several labels.
    `label_scores` (rows, classes) are the probabilities of every label of a multi-label task, and
    `probabilities` those of every class of a task with more than two.
    `fingerprint` tells one set of rows from another; runs that were scored on the same rows share it.
    """

    texts: list[tuple[str, ...]]
    ids: list[str]
    true: list[str]
    predicted: list[str]
    scores: Floats
    label_scores: list[list[float]] = field(default_factory=list)
    probabilities: list[list[float]] = field(default_factory=list)
    fingerprint: int = 0

    def __len__(self) -> int:
        return len(self.predicted)

    @property
    def labelled(self) -> bool:
        return bool(self.true)

    def numbers(self) -> tuple[Floats, Floats]:
        """Return true and predicted labels as numbers."""
        return np.array(self.true, float), np.array(self.predicted, float)


def read_predictions(file: Path, text_columns: Sequence[str] = (),
                     multi_label: bool = False) -> Predictions:
    """Read a file of predictions; raise `RunError` with the line where it is damaged.

    `text_columns` are the columns of the task's texts; those that the file lacks are left out, and so are
    rows without a label in a file that has labels. `multi_label`: whether rows have several labels.
    """
    own = PredictionColumns.beside(text_columns)
    header, rows = _cells(file, own.prediction)
    places = {name: place for place, name in enumerate(header)}
    if own.label in places:
        labels = [row[places[own.label]] for row in rows]
        rows = [rows[row] for row in known_labels(labels, multi_label)]
    texts = [places[name] for name in text_columns if name in places]

    def column(name: str) -> list[str]:
        return [row[places[name]] for row in rows] if name in places else []

    def label_column(name: str) -> list[str]:
        return ["" if multi_label and cell == NO_LABELS else cell for cell in column(name)]

    of_the_row = [place for name, place in places.items()
                  if name not in (own.prediction, own.score, own.probabilities)]
    cells = column(own.score)
    label_scores = [[_number(score) for score in cell.split()] for cell in cells if " " in cell]
    probabilities = [[_number(score) for score in cell.split()] for cell in column(own.probabilities)]
    return Predictions([tuple(row[place] for place in texts) for row in rows], column(own.id),
                       label_column(own.label), label_column(own.prediction),
                       np.array([_number(cell) for cell in cells]), label_scores, probabilities,
                       _fingerprint(rows, of_the_row))


def check_labels(predictions: Predictions, labels: Labels, file: Path) -> None:
    """Raise `RunError` for labels that the task cannot have: nothing could be computed from them."""
    known = {*labels.classes}
    expected = "a number" if labels.is_regression else "a class of the task"
    for column in (predictions.true, predictions.predicted):
        for row, cell in enumerate(column, 1):
            if not _valid(cell, labels, known):
                raise RunError(f"{file}: row {row} has the label {cell!r}; expected {expected}")


def _valid(cell: str, labels: Labels, known: set[str]) -> bool:
    if labels.is_regression:
        return math.isfinite(_number(cell))
    if labels.kind == "multi-label":
        return {*split_names(cell)} <= known
    return cell in known


def scores_by_class(predictions: Predictions, labels: Labels) -> NDArray[Any] | None:
    """Return (rows, classes), larger where a class is likelier; None if the file does not have them."""
    if labels.is_regression or not len(predictions):
        return None
    by_class = predictions.probabilities or predictions.label_scores
    shape = (len(predictions), labels.num_classes)
    if by_class and all(len(row) == shape[1] for row in by_class) and len(by_class) == shape[0]:
        scores = np.array(by_class)
    elif labels.kind == "binary" and len(predictions.scores) == shape[0]:
        scores = np.asarray(class_scores(labels, predictions.scores, None))
    else:
        return None
    return scores if scores.shape == shape and np.isfinite(scores).all() else None


def encoded(values: Sequence[str], labels: Labels) -> NDArray[Any]:
    """Return labels by name as a metric takes them: numbers, indices, or 0/1 rows (rows, classes)."""
    if labels.is_regression:
        return np.array(values, float)
    index = {name: code for code, name in enumerate(labels.classes)}
    if labels.kind == "multi-label":
        flags = np.zeros((len(values), labels.num_classes), dtype=np.int64)
        for row, names in enumerate(values):
            flags[row, [index[name] for name in split_names(names)]] = 1
        return flags
    return np.array([index[name] for name in values], dtype=np.int64)


# A carriage return inside a text, which csv writes unquoted and reads as the end of a row, and what
# stands for it while a row is read: a private-use character.
_RETURN, _PLACEHOLDER = re.compile("\r(?!\n)"), "\ue00d"


def _cells(file: Path, prediction: str) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a file that polytask wrote; each row ends with its line."""
    csv.field_size_limit(sys.maxsize)
    with file.open(newline="\n", encoding="utf-8") as lines:
        reader = csv.reader((_RETURN.sub(_PLACEHOLDER, line) for line in lines), strict=True)
        try:
            header = next(reader, [])
            if prediction not in header:
                raise RunError(f"{file}: has no column {prediction}; expected what polytask wrote")
            rows = list(_whole_rows(reader, len(header), file))
        except UnicodeDecodeError:
            raise RunError(f"{file}: is not UTF-8 after line {reader.line_num}") from None
        except csv.Error as error:
            raise RunError(f"{file}: line {reader.line_num} is not CSV ({error})") from None
    with file.open("rb") as raw:
        raw.seek(-1, 2)
        if raw.read(1) not in b"\r\n":  # what is left of the last cell may look whole
            raise RunError(f"{file}: line {reader.line_num} is cut short")
    return header, rows


def _whole_rows(reader: Any, width: int, file: Path) -> Iterator[list[str]]:
    for row in reader:
        if len(row) != width:
            raise RunError(f"{file}: line {reader.line_num} has {len(row)} cells; expected {width}")
        yield [cell.replace(_PLACEHOLDER, "\r") for cell in row]


def _fingerprint(rows: Sequence[Sequence[str]], places: Sequence[int]) -> int:
    digest = hashlib.blake2b(digest_size=6)
    for row in rows:
        digest.update("\0".join(row[place] for place in places).encode())
    return int.from_bytes(digest.digest(), "big")


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")
