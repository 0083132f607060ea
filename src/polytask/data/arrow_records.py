"""Parquet files, and data sets of the hub as `hf://owner/name/split` or `hf://owner/name:split`."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from polytask.core.errors import DataError, MissingExtra
from polytask.data.json_records import cell
from polytask.data.quoted_records import ReadRecord

HUB = "hf://"
_ROWS = 4096


def parquet_columns(path: Path) -> tuple[str, ...]:
    """Return the names of the columns of a Parquet file."""
    return tuple(_parquet(path).schema_arrow.names)


def row_groups(path: Path) -> list[int]:
    """Return how many rows each row group of a Parquet file has."""
    about = _parquet(path).metadata
    return [about.row_group(group).num_rows for group in range(about.num_row_groups)]


def parquet_records(path: Path, first_group: int = 0) -> Iterator[ReadRecord]:
    """Yield (number, cells) of every row from a row group on; a missing value is an empty cell."""
    file, sizes = _parquet(path), row_groups(path)
    number = sum(sizes[:first_group])
    try:
        for batch in file.iter_batches(_ROWS, row_groups=range(first_group, len(sizes))):
            columns = [column.to_pylist() for column in batch.columns]
            for row in zip(*columns, strict=True):
                number += 1
                yield number, [_cell(value) for value in row]
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: a text after row {number} is not UTF-8 ({error.reason})") from None
    except (ValueError, OSError) as error:  # what pyarrow raises for damaged pages
        raise DataError(f"{path}: is not a whole Parquet file: what follows row {number:,} cannot be read "
                        f"({error})") from None


def _parquet(path: Path) -> Any:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise MissingExtra(f"reading {path}", "data") from None
    try:
        return parquet.ParquetFile(path, page_checksum_verification=True)
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: is not a whole Parquet file ({error})") from None


def _cell(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else cell(value)


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
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{name}: could not be loaded ({reason})") from None


def hub_records(dataset: Any) -> Iterator[ReadRecord]:
    """Yield (number, cells) of every row; classes are written by their names, -1 (no label) as nothing."""
    named = [(column, partial(_named, getattr(dataset.features[column], "names", None)))
             for column in dataset.column_names]
    for number, row in enumerate(dataset, 1):
        yield number, [written(row[column]) for column, written in named]


def _named(names: list[str] | None, value: Any) -> str:
    if names is None or not isinstance(value, int):
        return _cell(value)
    return names[value] if 0 <= value < len(names) else ""
