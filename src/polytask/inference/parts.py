"""Predictions in parts: a CSV, JSON lines or Parquet file per task and shard, written row by row."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from polytask.core.atomic_files import write_asides
from polytask.core.errors import ConfigError, MissingExtra, nearest
from polytask.data.prediction_columns import PredictionColumns
from polytask.inference.contract import AnswerableTask
from polytask.inference.records import Record, RecordWriter, columns

PART_FORMATS = ("csv", "jsonl", "parquet")
# Records of a row group of Parquet.
_GROUP = 4096


def check_part_format(name: str) -> None:
    """Raise `ConfigError` for a format that parts cannot have, `MissingExtra` without what writes it."""
    if name not in PART_FORMATS:
        raise ConfigError(f'--format: found "{name}", expected csv, jsonl or parquet for predictions in '
                          f"parts{nearest(name, PART_FORMATS)}")
    if name == "parquet":
        _arrow()


class Part(ABC):
    """A file of a task's predictions that is being written."""

    @abstractmethod
    def write(self, predicted: Iterable[Record]) -> None:
        """Write some records."""

    @abstractmethod
    def close(self) -> None:
        """Write what is left, the header of an empty file too."""


@contextmanager
def write_parts(tasks: Iterable[AnswerableTask], paths: Mapping[str, Path], format: str, safe: bool
                ) -> Iterator[dict[str, Part]]:
    """Give a part to write for each task; all are renamed into place at the end, or removed."""
    with write_asides(paths) as asides, ExitStack() as open_parts:
        parts: dict[str, Part] = {}
        for task in tasks:
            aside = asides[task.name]
            part = ParquetPart(aside, task) if format == "parquet" else TextPart(aside, task, format, safe)
            parts[task.name] = part
            open_parts.callback(part.close)
        yield parts


class TextPart(Part):
    """CSV or JSON lines, as `predict` writes them; each part has a header of its own."""

    def __init__(self, path: Path, task: AnswerableTask, format: str, safe: bool) -> None:
        self._writer = RecordWriter(format, task, safe=safe)
        self._file = path.open("w", encoding="utf-8", newline="")

    def write(self, predicted: Iterable[Record]) -> None:
        self._file.write(self._writer.text(predicted))

    def close(self) -> None:
        with self._file:
            self._file.write(self._writer.text([]))


class ParquetPart(Part):
    """Parquet: numbers of a regression are numbers; one number per class is a struct of numbers."""

    def __init__(self, path: Path, task: AnswerableTask) -> None:
        self._pyarrow, parquet = _arrow()
        self._columns = columns(task)
        self._writer = parquet.ParquetWriter(path, self._schema(task))

    def _schema(self, task: AnswerableTask) -> Any:
        text, number = self._pyarrow.string(), self._pyarrow.float64()
        by_class = self._pyarrow.struct([(name, number) for name in task.labels.classes])
        own = PredictionColumns.beside(task.text)
        kinds = dict.fromkeys(self._columns, text) | {
            own.score: by_class if task.labels.kind == "multi-label" else number}
        if task.labels.is_regression:
            kinds[own.prediction] = number
        if own.probabilities in kinds:
            kinds[own.probabilities] = by_class
        return self._pyarrow.schema(list(kinds.items()))

    def write(self, predicted: Iterable[Record]) -> None:
        rows = iter(predicted)
        while chunk := list(islice(rows, _GROUP)):
            self._writer.write_table(self._pyarrow.Table.from_pylist(chunk, schema=self._writer.schema))

    def close(self) -> None:
        self._writer.close()


def _arrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise MissingExtra("--format parquet", "data") from None
