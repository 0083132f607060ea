"""Predictions as files: CSV and JSON lines with the texts, and the course's own format.

    id, <text columns>[, label], prediction, score[, probabilities]       csv, jsonl
    id, Predicted_Sentiment / Predicted_Is_Paraphrase / Predicted_Similarity      cs224n

A regression's `prediction` is clipped to the task's range; its `score` is the number before that.
Values with one number per class (probabilities; the score of a multi-label task) are a table by class in
JSON lines, and in CSV one cell with the numbers in the order of the classes. A column of the user's that
has one of these names keeps it, and ours gets another (`PredictionColumns`). JSON lines with the answers of
several tasks hold, beside id and texts, what the server answers: {task: {label, score, probabilities}}.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from polytask.core.errors import ConfigError, nearest
from polytask.data.decisions import Decision, answer_table, by_class, named, probabilities
from polytask.data.labels import Labels
from polytask.data.prediction_columns import NO_LABELS, PredictionColumns
from polytask.inference.contract import AnswerableTask

FORMATS = ("csv", "jsonl", "cs224n")
# A spreadsheet takes a cell that starts so for a formula, or for the end of the cell before it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Record = dict[str, Any]


def check_format(name: str) -> None:
    """Raise `ConfigError` for a format that there is not."""
    if name not in FORMATS:
        raise ConfigError(f'--format: found "{name}", expected csv, jsonl or cs224n'
                          f"{nearest(name, FORMATS)}")


def columns(task: AnswerableTask, true: bool = False) -> list[str]:
    """Return the names of a record's entries; `true`: whether the right labels are known."""
    several = task.labels.num_classes > 2 and task.labels.kind != "multi-label"
    own = PredictionColumns.beside(task.text)
    return [own.id, *task.text, *[own.label] * true, own.prediction, own.score,
            *[own.probabilities] * several]


def records(task: AnswerableTask, decision: Decision, texts: Iterable[Sequence[str]],
            ids: Sequence[str] | None = None, true: Sequence[str] | None = None) -> Iterator[Record]:
    """Yield a record per row; values with one number per class are a table {class = number}.

    true: the right labels as cells, "" where one is not known.
    """
    own = PredictionColumns.beside(task.text)
    for row, text in enumerate(texts):
        record: Record = {own.id: ids[row] if ids else row}
        record |= dict(zip(task.text, text, strict=True))
        if true is not None:
            record[own.label] = true[row]
        yield record | answer(task, decision, row, own)


def answer(task: AnswerableTask, decision: Decision, row: int, own: PredictionColumns) -> Record:
    """Return what a task says of a row, without the row."""
    label, score = named(task.labels, decision.labels[row]), decision.scores[row]
    record = {own.prediction: NO_LABELS if label == "" and task.labels.kind == "multi-label" else label,
              own.score: by_class(task.labels, score) if score.ndim else round(float(score), 6)}
    if task.labels.num_classes > 2 and task.labels.kind != "multi-label":
        record[own.probabilities] = probabilities(task.labels, decision, row)
    return record


def records_of_tasks(tasks: Sequence[AnswerableTask], decisions: Mapping[str, Decision],
                     text: Sequence[str], texts: Sequence[Sequence[str]],
                     ids: Sequence[str]) -> Iterator[Record]:
    """Yield a record per row with the answers of several tasks: `tasks` is {task: answer}, as the server
    answers `/predict`."""
    own = PredictionColumns.beside(text)
    for row, cells in enumerate(texts):
        record: Record = {own.id: ids[row], **dict(zip(text, cells, strict=True))}
        record[own.tasks] = {task.name: answer_table(task.labels, decisions[task.name], row)
                             for task in tasks}
        yield record


def true_cells(labels: Labels, values: Sequence[Any]) -> list[str]:
    """Return right labels as the cells of a file. A number is the shortest one that float32 tells apart."""
    if labels.is_regression:
        return [f"{float(value):.7g}" for value in values]
    return [named(labels, value) or NO_LABELS for value in values]


class RecordWriter:
    """Turns records into the lines of a file, the header with the first call.

    safe: put an apostrophe before cells that a spreadsheet would take for a formula.
    """

    def __init__(self, format: str, task: AnswerableTask, true: bool = False, safe: bool = False) -> None:
        check_format(format)
        self.format, self.task, self.safe = format, task, safe
        self.header = format != "jsonl"
        self.own = PredictionColumns.beside(task.text)
        self.columns = columns(task, true)

    def text(self, records: Iterable[Mapping[str, Any]]) -> str:
        """Return the lines of some records, or of none."""
        lines = []
        if self.header:
            lines.append(self._course_header() if self.format == "cs224n" else self._line(self.columns))
            self.header = False
        for record in records:
            if self.format == "jsonl":
                lines.append(json_line(record))
            elif self.format == "cs224n":
                lines.append(f"{record[self.own.id]} , {record[self.own.prediction]} \n")
            else:
                lines.append(self._line(record.values()))
        return "".join(lines)

    def _course_header(self) -> str:
        """Return the header of the course's files: "id", then what is predicted."""
        column = {"regression": "Predicted_Similarity", "binary": "Predicted_Is_Paraphrase"}
        name = ("Predicted_Sentiment" if len(self.task.text) == 1
                else column.get(self.task.labels.kind, "Predicted_Label"))
        return f"id \t {name} \n"

    def _line(self, values: Iterable[Any]) -> str:
        cells = [" ".join(map(str, value.values())) if isinstance(value, dict) else value
                 for value in values]
        return csv_line([_safe(cell) for cell in cells] if self.safe else cells)


def json_line(record: Mapping[str, Any]) -> str:
    """Return a record as a line of JSON; NaN and infinities, which JSON has not, are null."""
    try:
        return json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError:
        return json.dumps(finite(record), ensure_ascii=False) + "\n"


def finite(value: Any) -> Any:
    """Return a value with NaN and infinities replaced by None, as JSON has none."""
    if isinstance(value, Mapping):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def csv_line(cells: Iterable[Any]) -> str:
    """Return a line of CSV. A lone carriage return is quoted, which csv does only if lines end with one."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerow(cells)
    return written.getvalue().removesuffix("\r\n") + "\n"


def _safe(cell: Any) -> Any:
    if not isinstance(cell, str) or not cell.startswith(_FORMULA):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
