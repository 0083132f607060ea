"""Predictions as files: CSV and JSONL with the texts, and the course's own format.

    id, <text columns>, label, prediction, score[, probabilities]       csv, jsonl
    id, Predicted_Sentiment / Predicted_Is_Paraphrase / Predicted_Similarity      cs224n
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from polytask.core.errors import ConfigError, nearest
from polytask.core.labels import Labels
from polytask.model.heads import Decision
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


def records(task: ResolvedTask, decision: Decision, texts: Iterable[Sequence[str]],
            ids: Sequence[str] | None = None, true: Sequence[Any] | None = None) -> Iterator[Record]:
    """Yield a record a row."""
    for row, text in enumerate(texts):
        record: Record = {"id": ids[row] if ids else row}
        record |= dict(zip(task.text, text, strict=True))
        if true is not None:
            record["label"] = named(task.labels, true[row])
        record["prediction"] = named(task.labels, decision.labels[row])
        score = decision.scores[row]
        record["score"] = [round(float(x), 6) for x in score] if score.ndim else round(float(score), 6)
        if decision.probabilities is not None and task.labels.num_classes > 2 and not score.ndim:
            record["probabilities"] = [round(float(x), 6) for x in decision.probabilities[row]]
        yield record


class RecordWriter:
    """Turns records into the lines of a file, the header with the first."""

    def __init__(self, format: str, task: ResolvedTask) -> None:
        check_format(format)
        self.format, self.task, self.header = format, task, True

    def text(self, found: Iterable[Mapping[str, Any]]) -> str:
        """Return the lines of some records."""
        made = io.StringIO()
        if self.format == "jsonl":
            for record in found:
                made.write(json.dumps(record, ensure_ascii=False) + "\n")
        elif self.format == "cs224n":
            self._course(made, found)
        else:
            writer = csv.writer(made, lineterminator="\n")
            for record in found:
                if self.header:
                    writer.writerow(record)
                    self.header = False
                writer.writerow([" ".join(map(str, value)) if isinstance(value, list) else value
                                 for value in record.values()])
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
