"""Predictions as files: CSV and JSONL with the texts, and the course's own format.

    id, <text columns>[, label], prediction, score[, probabilities]       csv, jsonl
    id, Predicted_Sentiment / Predicted_Is_Paraphrase / Predicted_Similarity      cs224n

What is one number a class (probabilities; the score of a multi-label task) is a table by class in JSONL;
in CSV its numbers stand in one cell, in the order of the classes.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from polytask.core.errors import ConfigError, nearest
from polytask.data.labels import Labels
from polytask.model.heads.decisions import Decision
from polytask.tasks.task import ResolvedTask

FORMATS = ("csv", "jsonl", "cs224n")

Record = dict[str, Any]


def check_format(name: str) -> None:
    """Raise `ConfigError` for a format that there is not."""
    if name not in FORMATS:
        raise ConfigError(f'--format: found "{name}", expected csv, jsonl or cs224n'
                          f"{nearest(name, FORMATS)}")


def named(labels: Labels, value: Any) -> Any:
    """Return a label as people write it: the class's name, the number, or a list of names."""
    if labels.is_regression:
        return round(float(value), 4)
    if labels.kind == "multi-label":
        return "|".join(name for name, on in zip(labels.classes, value, strict=True) if on)
    return labels.classes[int(value)]


def columns(task: ResolvedTask, true: bool = False) -> list[str]:
    """Return the names of a record's entries; `true`: whether the right labels are known."""
    several = task.labels.num_classes > 2 and task.labels.kind != "multi-label"
    return ["id", *task.text, *["label"] * true, "prediction", "score", *["probabilities"] * several]


def records(task: ResolvedTask, decision: Decision, texts: Iterable[Sequence[str]],
            ids: Sequence[str] | None = None, true: Sequence[Any] | None = None) -> Iterator[Record]:
    """Yield a record a row; what is one number a class is a table {class = number}."""
    for row, text in enumerate(texts):
        record: Record = {"id": ids[row] if ids else row}
        record |= dict(zip(task.text, text, strict=True))
        if true is not None:
            record["label"] = named(task.labels, true[row])
        record["prediction"] = named(task.labels, decision.labels[row])
        score = decision.scores[row]
        record["score"] = by_class(task.labels, score) if score.ndim else round(float(score), 6)
        if "probabilities" in columns(task):
            record["probabilities"] = probabilities(task.labels, decision, row)
        yield record


def probabilities(labels: Labels, decision: Decision, row: int) -> dict[str, float] | None:
    """Return the probability of each class, in their order, or None where a head gives none."""
    given = decision.probabilities
    return None if given is None else by_class(labels, given[row])


def by_class(labels: Labels, values: Iterable[float]) -> dict[str, float]:
    """Return class → value, six digits after the point."""
    return {name: round(float(value), 6) for name, value in zip(labels.classes, values, strict=True)}


class RecordWriter:
    """Turns records into the lines of a file, the header with the first call."""

    def __init__(self, format: str, task: ResolvedTask, true: bool = False) -> None:
        check_format(format)
        self.format, self.task, self.header = format, task, True
        self.columns = columns(task, true)

    def text(self, found: Iterable[Mapping[str, Any]]) -> str:
        """Return the lines of some records, or of none."""
        made = io.StringIO()
        if self.format == "jsonl":
            for record in found:
                made.write(json.dumps(record, ensure_ascii=False) + "\n")
        elif self.format == "cs224n":
            self._course(made, found)
        else:
            if self.header:
                made.write(_line(self.columns))
                self.header = False
            for record in found:
                made.write(_line([" ".join(map(str, value.values())) if isinstance(value, dict) else value
                                  for value in record.values()]))
        return made.getvalue()

    def _course(self, made: io.StringIO, found: Iterable[Mapping[str, Any]]) -> None:
        """The course's files: a header, then "id , prediction" a line."""
        if self.header:
            column = {"regression": "Predicted_Similarity", "binary": "Predicted_Is_Paraphrase"}
            sentiment = len(self.task.text) == 1
            name = "Predicted_Sentiment" if sentiment else column.get(
                self.task.labels.kind, "Predicted_Label")
            made.write(f"id \t {name} \n")
            self.header = False
        made.writelines(f"{record['id']} , {record['prediction']} \n" for record in found)


def _line(cells: Iterable[Any]) -> str:
    """Return a line of CSV. A lone carriage return is quoted, which csv does only if lines end with one."""
    made = io.StringIO()
    csv.writer(made, lineterminator="\r\n").writerow(cells)
    return made.getvalue().removesuffix("\r\n") + "\n"
