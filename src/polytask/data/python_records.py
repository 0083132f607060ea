"""Rows from Python: lists of dicts, dicts of columns, data frames, `datasets.Dataset`.

They are read when a task is made, by the rules of JSON lines, and named after their content: configs and
run folders call them `python:<digest>`. The same rows in another process have the same name, so a run
resumes; other rows make another config. A process that was not given the rows finds them in the cache,
while that lasts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from polytask.core.errors import DataError
from polytask.data.arrow_records import hub_records
from polytask.data.formats import RecordSource, written
from polytask.data.json_records import json_cells, json_columns, row_cells
from polytask.data.quoted_records import ReadRecord
from polytask.data.tables import TableWriter

PYTHON = "python:"
_NAME = "the rows"
_EXPECTED = ('expected a file, a list of dicts such as {"text": …, "label": …}, a dict of columns, a data '
             "frame of pandas or polars, or a datasets.Dataset")

# The rows given to this process, by name: copies, so later changes to the originals have no effect.
_GIVEN: dict[str, TableWriter] = {}


def file_or_rows(value: Any) -> Any:
    """Return a setting of rows as configs write it: paths and numbers as they are, rows by their name."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, PathLike):
        return str(fspath(value))
    try:
        return given(value)
    except DataError as error:
        # Engines without pydantic read this module too.
        from polytask.core.settings import problem

        raise problem(str(error)) from None


def given(rows: Any) -> str:
    """Keep rows for `given_rows`; return their name, which is the digest of their content.

    Raises `DataError` for what is none of the forms, columns of different lengths, and rows that are mostly
    refused.
    """
    writer = written(_source(rows))
    name = f"{PYTHON}{writer.digest()}"
    _GIVEN.setdefault(name, writer)
    return name


def given_rows(name: str) -> TableWriter:
    """Return rows that this process was given; raise `DataError` where it was not."""
    if name not in _GIVEN:
        raise DataError(f"{name}: these rows were given in Python, and neither this process nor the cache "
                        "has them; build the same pk.Task again, or name a file")
    return _GIVEN[name]


def _source(rows: Any) -> RecordSource:
    """Return rows as records, numbered from 1."""
    if hasattr(rows, "features") and hasattr(rows, "column_names"):  # datasets.Dataset
        return RecordSource(_NAME, tuple(rows.column_names), lambda: hub_records(rows))
    if hasattr(rows, "collect") and hasattr(rows, "lazy"):  # polars.LazyFrame
        rows = rows.collect()
    if hasattr(rows, "notna") and hasattr(rows, "columns"):  # pandas: NaN, NaT and NA are not values
        return _columns([(str(name), column.astype(object).where(column.notna(), None).tolist())
                         for name, column in rows.items()])
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):  # polars
        rows = rows.to_dict(as_series=False)
    if isinstance(rows, Mapping):
        return _columns([(str(name), values) for name, values in rows.items()])
    if not isinstance(rows, Iterable) or isinstance(rows, bytes):
        raise DataError(f"found {type(rows).__name__}, {_EXPECTED}")
    records = list(enumerate(map(_plain, rows), 1))
    if not records:
        raise DataError(f"found no rows, {_EXPECTED}")
    columns = json_columns(_NAME, records)
    return RecordSource(_NAME, columns, lambda: json_cells(columns, records))


def _columns(columns: Sequence[tuple[str, Any]]) -> RecordSource:
    """Return columns as records. Two of one name stay two, which no task can read."""
    wrong = next((f'column "{name}" is {type(values).__name__}' for name, values in columns
                  if not isinstance(values, Iterable) or isinstance(values, str | bytes)), None)
    if wrong or not columns:
        raise DataError(f"found {wrong or 'no columns'}, {_EXPECTED}")
    cells = [[_plain(value) for value in values] for _, values in columns]
    if len(set(map(len, cells))) > 1:
        raise DataError("found columns of different lengths ("
                        + ", ".join(f'"{name}" {len(values):,}'
                                    for (name, _), values in zip(columns, cells, strict=True)) + ")")

    def records() -> Iterator[ReadRecord]:
        return ((number, row_cells(row)) for number, row in enumerate(zip(*cells, strict=True), 1))

    return RecordSource(_NAME, tuple(name for name, _ in columns), records)


def _plain(value: Any) -> Any:
    """Return numpy's numbers and arrays, tuples, sets and bytes as values of JSON, and keys as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, tuple | set | frozenset):
        return sorted(value, key=str) if not isinstance(value, tuple) else list(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise DataError(f"found bytes that are not UTF-8 ({error.reason}), expected text") from None
    return value.tolist() if hasattr(value, "tolist") else value
