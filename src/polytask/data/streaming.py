"""A file's rows one after the other, whatever its length: what predicting needs, and no more."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from polytask.core.errors import DataError
from polytask.data.delimited import survey
from polytask.data.formats import parse, plain_kind, read_json_lines, readable, text_lines
from polytask.data.reading import check_file

Cells = list[str]
StreamedRow = tuple[int, Cells]


def stream(path: Path) -> tuple[tuple[str, ...], Iterator[StreamedRow]]:
    """Return the columns of a file and an iterator over its rows: the line, and the cells.

    Delimited text and JSON lines are read as the iterator goes; other kinds are read whole first.
    Rows that cannot be read are left out and told on stderr with their lines.
    """
    path = path.expanduser()
    check_file(path)
    kind = plain_kind(path)
    if kind == "delimited":
        return _delimited(path)
    if kind == "json lines":
        return _json_lines(path)
    table = parse(path)
    rows = zip(*(_cells(bytes(cells), ends) for cells, ends in zip(table.cells, table.ends, strict=True)),
               strict=True)
    return table.columns, _told(path, ((line, list(row)) for line, row in
                                       zip(table.lines, rows, strict=True)), len(table.columns))


def _delimited(path: Path) -> tuple[tuple[str, ...], Iterator[StreamedRow]]:
    lines: Callable[[], Iterable[str]] = lambda: text_lines(path)  # noqa: E731 (read twice)
    with readable(path):
        dialect = survey(lines)
        if dialect is None:
            raise DataError(f"{path}: is empty, expected a header line and rows")
        columns = dialect.columns
        return columns, _told(path, dialect.records(text_lines(path)), len(columns))


def _json_lines(path: Path) -> tuple[tuple[str, ...], Iterator[StreamedRow]]:
    with readable(path):
        first = next((record for _, record in read_json_lines(text_lines(path))
                      if isinstance(record, dict)), None)
    if first is None:
        raise DataError(f"{path}: has no JSON object in any line")
    columns = tuple(first)
    found = ((line, [str(record.get(name) or "") for name in columns] if isinstance(record, dict)
              else []) for line, record in read_json_lines(text_lines(path)))
    return columns, _told(path, found, len(columns))


def _told(path: Path, records: Iterable[StreamedRow], width: int) -> Iterator[StreamedRow]:
    """Yield the rows that are whole; say at the end which lines were not."""
    skipped: list[int] = []
    with readable(path):
        for line, cells in records:
            if len(cells) == width:
                yield line, cells
            else:
                skipped.append(line)
    if skipped:
        shown = ", ".join(map(str, skipped[:10])) + (", …" if len(skipped) > 10 else "")
        sys.stderr.write(f"{path}: {len(skipped)} rows could not be read and have no prediction "
                         f"(lines {shown})\n")


def _cells(text: bytes, ends: Iterable[int]) -> Iterator[str]:
    start = 0
    for end in ends:
        yield text[start:end].decode()
        start = end
