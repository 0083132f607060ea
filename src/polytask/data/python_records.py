"""Rows from Python: lists of dicts, dicts of columns, data frames, `datasets.Dataset`.

They are read where a task is made, by the rules of JSON lines, and known from then on by their content:
`python:<digest>` is what a config and a run folder say of them. The same rows in another process are the
same data, so a run resumes; others are another config. A process that was not given them finds them in the
cache, as long as it is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from polytask.core.errors import DataError
from polytask.data.arrow_records import hub_records
from polytask.data.formats import RecordSource, written
from polytask.data.json_records import json_cells, json_columns
from polytask.data.quoted_records import ReadRecord
from polytask.data.tables import TableWriter

PYTHON = "python:"
_NAME = "the rows"
_EXPECTED = ('expected a file, a list of dicts such as {"text": …, "label": …}, a dict of columns, a data '
             "frame of pandas or polars, or a datasets.Dataset")

# The rows that this process was given, by their names. They were copied, so changing them does nothing.
_GIVEN: dict[str, TableWriter] = {}


def file_or_rows(value: Any) -> Any:
    """Return what a setting of rows says: a path or a number as it is, rows from Python by their name."""
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
                        "has them; make the same pk.Task again, or name a file")
    return _GIVEN[name]


def _source(rows: Any) -> RecordSource:
    """Return rows as records, numbered from 1."""
    if hasattr(rows, "features") and hasattr(rows, "column_names"):  # datasets.Dataset
        return RecordSource(_NAME, tuple(rows.column_names), lambda: hub_records(rows))
    if hasattr(rows, "collect") and hasattr(rows, "lazy"):  # polars.LazyFrame
        rows = rows.collect()
    if hasattr(rows, "notna") and hasattr(rows, "columns"):  # pandas: NaN, NaT and NA are no value
        rows = {str(name): column.astype(object).where(column.notna(), None).tolist()
                for name, column in rows.items()}
    elif hasattr(rows, "to_dict") and hasattr(rows, "columns"):  # polars
        rows = rows.to_dict(as_series=False)
    if isinstance(rows, Mapping):
        return _columns(rows)
    if not isinstance(rows, Iterable) or isinstance(rows, bytes):
        raise DataError(f"found {type(rows).__name__}, {_EXPECTED}")
    records = list(enumerate(map(_plain, rows), 1))
    if not records:
        raise DataError(f"found no rows, {_EXPECTED}")
    columns = json_columns(_NAME, records)
    return RecordSource(_NAME, columns, lambda: json_cells(columns, records))


def _columns(table: Mapping[Any, Any]) -> RecordSource:
    columns = {str(name): [_plain(value) for value in values] for name, values in table.items()
               if isinstance(values, Iterable) and not isinstance(values, str | bytes)}
    if len(columns) < len(table) or not columns:
        wrong = next((f'column "{name}" is {type(values).__name__}' for name, values in table.items()
                      if str(name) not in columns), "an empty dict")
        raise DataError(f"found {wrong}, {_EXPECTED}")
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError("found columns of different lengths ("
                        + ", ".join(f'"{name}" {length:,}' for name, length in lengths.items()) + ")")
    names = tuple(columns)

    def records() -> Iterator[ReadRecord]:
        rows = zip(*columns.values(), strict=True)
        return json_cells(names, ((number, dict(zip(names, row, strict=True)))
                                  for number, row in enumerate(rows, 1)))

    return RecordSource(_NAME, names, records)


def _plain(value: Any) -> Any:
    """Return numpy's numbers and arrays as Python's, and the keys of a row as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Path):
        return str(value)
    return value.tolist() if hasattr(value, "tolist") else value

