"""The kinds of file that rows come from, recognized by content and not by name, each as records.

Delimited text, JSON lines or a JSON array (any of them gzipped), Parquet, data sets of the hub. Training,
evaluation and prediction read through here alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from polytask.core.errors import DataError
from polytask.data.arrow_records import hub_records, parquet_columns, parquet_records
from polytask.data.delimited import survey
from polytask.data.false_records import other_kind
from polytask.data.file_format import FileFormat
from polytask.data.json_records import (
    JsonRecord,
    array_notes,
    json_array,
    json_cells,
    json_columns,
    json_lines,
)
from polytask.data.quoted_records import ReadRecord
from polytask.data.tables import TableWriter
from polytask.data.text_lines import head_of, is_utf8, read_lines, seems_utf8

_PARQUET = b"PAR1"
_OBJECT = re.compile(r'\s*\{\s*(["}]|\Z)')
_ARRAY = re.compile(r'\s*\[\s*([{\]]|\[\s*["\d-]|\Z)')
_UNTOLD = FileFormat()


@dataclass(frozen=True)
class RecordSource:
    """The records of a file. `records()` reads them from the start, as often as it is called.

    A record is (line, cells), as many as there are columns, or (line, the reason why it is refused).
    `header`: whether a line of the file names the columns.
    """

    file: str
    columns: tuple[str, ...]
    records: Callable[[], Iterator[ReadRecord]]
    notes: tuple[str, ...] = ()
    header: bool = False


def record_source(path: Path, settings: FileFormat = _UNTOLD) -> RecordSource:
    """Return the records of a file of any kind; raise `DataError` for what is not a table at all."""
    kind = kind_of(path, settings.encoding)
    source = _source(path, kind, settings)
    if kind == "Parquet" or is_utf8(settings.encoding) or not seems_utf8(head_of(path)):
        return source
    note = f'the file seems to be UTF-8; read as encoding = "{settings.encoding}" its characters are others'
    return replace(source, notes=(*source.notes, note))


def _source(path: Path, kind: str, settings: FileFormat) -> RecordSource:
    file = str(path)
    if kind == "Parquet":
        return RecordSource(file, parquet_columns(path), partial(parquet_records, path))
    if kind == "delimited":
        lines = partial(read_lines, path, settings.encoding)
        dialect = survey(file, lines, settings)
        return RecordSource(file, dialect.columns, lambda: dialect.records(lines()), dialect.notes,
                            dialect.header)
    read: Callable[[], Iterator[JsonRecord]] = partial(json_array, path, settings.encoding)
    if kind == "JSON lines":
        read = lambda: json_lines(read_lines(path, settings.encoding))  # noqa: E731
    columns = json_columns(file, read())
    notes = array_notes(path, settings.encoding) if kind == "JSON array" else ()
    return RecordSource(file, columns, lambda: json_cells(columns, read()), notes)


def kind_of(path: Path, encoding: str = _UNTOLD.encoding) -> str:
    """Return "Parquet", "JSON lines", "JSON array" or "delimited".

    Raises `DataError` for an archive, a spreadsheet or a web page.
    """
    head = head_of(path)
    if head.startswith(_PARQUET):
        return "Parquet"
    if other := other_kind(head):
        raise DataError(f"{path}: {other}")
    start = head.decode(encoding, "ignore").lstrip("\ufeff")
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix in (".jsonl", ".ndjson") or _OBJECT.match(start):
        return "JSON lines"
    array = _ARRAY.match(start) or (suffix == ".json" and start.lstrip().startswith("["))
    return "JSON array" if array else "delimited"


def parse(path: Path, settings: FileFormat = _UNTOLD) -> TableWriter:
    """Read a file of any kind whole."""
    return written(record_source(path, settings))


def parse_dataset(name: str, dataset: Any) -> TableWriter:
    """Read a data set of the hub whole."""
    return written(RecordSource(name, tuple(dataset.column_names), partial(hub_records, dataset)))


def written(source: RecordSource) -> TableWriter:
    """Return all records; raise `DataError` where there are none."""
    writer = TableWriter(source.columns)
    for line, cells in source.records():
        if isinstance(cells, str):
            writer.refuse(line, cells)
        else:
            writer.add(line, cells)
    if not writer.refused and not writer.lines:
        raise DataError(f"{source.file}: has {'a header line but ' * source.header}no rows")
    writer.notes += source.notes
    return writer
