"""The kinds of file rows come from, each parsed into a `TableWriter`: told by content, not by name.

Delimited text, JSON lines or a JSON array (any of them gzipped), Parquet, and data sets of the hub
as `hf://owner/name/split` or `hf://owner/name:split`.
"""

from __future__ import annotations

import gzip
import importlib
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

from polytask.core.errors import DataError, MissingExtra
from polytask.data.delimited import survey
from polytask.data.tables import TableWriter

HUB = "hf://"
_MAGIC_GZIP, _MAGIC_PARQUET = b"\x1f\x8b", b"PAR1"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")

Lines = Callable[[], Iterable[str]]


def parse(path: Path) -> TableWriter:
    """Read a file of any kind; raise `DataError` for what is no table at all."""
    with readable(path):
        with _opened(path) as file:
            head = file.read(4096)
        if head.startswith(_MAGIC_PARQUET):
            return _parquet(path)
        if head.startswith(_UTF16):
            raise DataError(f"{path}:1: is UTF-16 text, expected UTF-8")
        start = head.decode("utf-8-sig", "ignore").lstrip()
        if start.startswith("{"):
            writer = _objects(path, lambda: read_json_lines(text_lines(path)))
        elif start.startswith("[") and path.name.removesuffix(".gz").endswith(".json"):
            writer = _objects(path, lambda: _json_array(path))
        else:
            writer = _delimited(path)
    return _checked(path, writer)


def plain_kind(path: Path) -> str:
    """Return "delimited" or "json lines" for a file that can be read line by line, else ""."""
    with readable(path), _opened(path) as file:
        head = file.read(4096)
    if head.startswith(_MAGIC_PARQUET):
        return ""
    start = head.decode("utf-8-sig", "ignore").lstrip()
    if start.startswith("[") and path.name.removesuffix(".gz").endswith(".json"):
        return ""
    return "json lines" if start.startswith("{") else "delimited"


def _checked(path: Path | str, writer: TableWriter) -> TableWriter:
    refused, rows = len(writer.refused), len(writer.lines)
    if not refused and not rows:
        raise DataError(f"{path}: has a header line but no rows")
    if refused > rows:
        line, reason = writer.refused[0]
        raise DataError(f"{path}:{line}: {reason}; {refused:,} of"
                        f" {refused + rows:,} rows are like it")
    return writer


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what cannot be read into a `DataError`."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(f"{path}:{_undecodable(path)}: is not UTF-8 text ({error.reason});"
                        " save it as UTF-8") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: is not a whole gzip file ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        zipped = file.read(2) == _MAGIC_GZIP
    return gzip.open(path, "rb") if zipped else path.open("rb")  # type: ignore[return-value]


def text_lines(path: Path) -> Iterator[str]:
    """Yield the lines with their ends as they are, which quoted fields keep."""
    with _opened(path) as file:
        head = file.read(1 << 16)
    ending = "\n" if b"\n" in head or b"\r" not in head else "\r"
    with _opened(path) as file, io.TextIOWrapper(
            file, encoding="utf-8-sig", newline=ending) as text:
        yield from text


def _undecodable(path: Path) -> int:
    """Return the number of the first line that is not UTF-8."""
    with _opened(path) as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1


def _delimited(path: Path) -> TableWriter:
    dialect = survey(partial(text_lines, path))
    if dialect is None:
        raise DataError(f"{path}: is empty, expected a header line and rows")
    writer = TableWriter(dialect.columns)
    for line, fields in dialect.records(text_lines(path)):
        writer.add(line, fields)
    return writer


def _objects(path: Path, records: Callable[[], Iterable[tuple[int, Any]]]) -> TableWriter:
    """Take records that are objects; their columns are the keys that any of them has."""
    columns: dict[str, None] = {}
    for _, record in records():
        if isinstance(record, dict):
            columns.update(dict.fromkeys(record))
    writer = TableWriter(columns)
    for line, record in records():
        if isinstance(record, dict):
            writer.add(line, [_cell(record.get(name)) for name in columns])
        elif isinstance(record, ValueError):
            writer.refuse(line, f"is not JSON ({record.args[0]})")
        else:
            writer.refuse(line, f"found {_cell(record)[:40]!r}, expected an object")
    return writer


def _cell(value: Any) -> str:
    """Return a JSON value as a cell: text as it is, nothing for null, else its JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def read_json_lines(lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
                yield number, ValueError(getattr(error, "msg", str(error)))


def _json_array(path: Path) -> Iterator[tuple[int, Any]]:
    text, decoder = "".join(text_lines(path)), json.JSONDecoder()
    at, line = text.index("[") + 1, 1 + text.count("\n", 0, text.index("["))
    while True:
        start = at
        while at < len(text) and (text[at].isspace() or text[at] == ","):
            at += 1
        line += text.count("\n", start, at)
        if at >= len(text) or text[at] == "]":
            return
        try:
            value, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{error.lineno}: is not JSON ({error.msg})") from None
        yield line, value
        line, at = line + text.count("\n", at, end), end


def _parquet(path: Path) -> TableWriter:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise MissingExtra(f"reading {path}", "data") from None
    try:
        file = parquet.ParquetFile(path)
        writer = TableWriter(file.schema_arrow.names)
        line = 0
        for batch in file.iter_batches():
            for row in batch.to_pylist():
                line += 1
                writer.add(line, [_cell(row[name]) for name in writer.columns])
    except ValueError as error:  # pyarrow's own errors are ValueErrors
        raise DataError(f"{path}: is not a whole Parquet file ({error})") from None
    return writer


def hub_dataset(name: str) -> Any:
    """Return the hub data set that "hf://owner/name/split" says, loaded."""
    try:
        datasets = importlib.import_module("datasets")
    except ImportError:
        raise MissingExtra(f"reading {name}", "data") from None
    parts = name.removeprefix(HUB).replace(":", "/").strip("/").split("/")
    if len(parts) < 2:
        raise DataError(f"{name}: expected hf://owner/name/split")
    *where, split = parts
    repository, config = "/".join(where[:2]), "/".join(where[2:]) or None
    try:
        return datasets.load_dataset(repository, config, split=split)
    except Exception as error:  # the library raises a dozen kinds; all mean that it is not there
        said = " ".join(str(error).split())[:200]
        raise DataError(f"{name}: could not be loaded ({said})") from None


def parse_dataset(name: str, dataset: Any) -> TableWriter:
    """Read a hub data set; classes are written by their names, -1 (no label) as nothing."""
    writer = TableWriter(dataset.column_names)
    names = {column: getattr(dataset.features[column], "names", None) for column in writer.columns}
    for line, row in enumerate(dataset, 1):
        writer.add(line, [_named(row[column], names[column]) for column in writer.columns])
    return _checked(name, writer)


def _named(value: Any, names: list[str] | None) -> str:
    if names is None or not isinstance(value, int):
        return _cell(value)
    return names[value] if 0 <= value < len(names) else ""
