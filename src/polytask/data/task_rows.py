"""The rows of a task's splits, before their labels are known: files, a column of splits, a test file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from polytask.core.counting import agreeing
from polytask.core.errors import DataError
from polytask.data.file_format import FileFormat
from polytask.data.label_cells import LabelColumns, has_labels
from polytask.data.labels import Kind
from polytask.data.reading import Columns, Rows, select
from polytask.data.row_filter import RowFilter
from polytask.data.splits import SPLIT_WORDS
from polytask.data.tables import Integers, Table

OpenTable = Callable[[str], Table]
"""Returns the table of a split that has a file: "train", "dev", "test"."""

class Spec(Protocol):
    """The part of a task's settings that is used here (`tasks/task.py` has them all)."""

    @property
    def train(self) -> str: ...
    @property
    def dev(self) -> str | float | None: ...
    @property
    def test(self) -> str | None: ...
    @property
    def split(self) -> str | None: ...
    @property
    def text(self) -> tuple[str, ...]: ...
    @property
    def label(self) -> LabelColumns: ...
    @property
    def id(self) -> str | None: ...
    @property
    def file_format(self) -> FileFormat: ...
    @property
    def row_filter(self) -> RowFilter: ...
    @property
    def kind(self) -> Kind | None: ...
    @property
    def classes(self) -> tuple[str, ...] | None: ...
    @property
    def range(self) -> tuple[float, float] | None: ...
    @property
    def label_scale(self) -> str: ...
    @property
    def positive(self) -> str | None: ...
    @property
    def separator(self) -> str | None: ...
    @property
    def limit(self) -> int | None: ...
    @property
    def dev_limit(self) -> int | None: ...


def split_rows(spec: Spec, columns: Columns, table: OpenTable, where: str) -> dict[str, Rows]:
    """Return the rows of each split that a file or a column names.

    Raises `DataError` for columns that are not there and for files without any rows to use.
    """
    rows_by_split = {"train": select(table("train"), columns, where)}
    if spec.split is not None:
        rows_by_split = _by_column(rows_by_split["train"], spec.split, f"{where}.split")
    if isinstance(spec.dev, str):
        rows_by_split["dev"] = select(table("dev"), columns, where)
    if spec.test is not None:
        rows_by_split["test"] = _test_rows(table("test"), columns, where)
    return rows_by_split


def whole_test(spec: Spec, columns: Columns, table: OpenTable, where: str) -> Rows | None:
    """Return all rows of the test split, those without a label or a text too; None if there is none."""
    if spec.test is None and spec.split is None:
        return None
    test_table = table("train" if spec.test is None else "test")
    rows = select(test_table, _unlabelled(test_table, columns), where, blank_texts=True)
    if spec.test is not None or spec.split is None:
        return rows
    places = np.array([SPLIT_WORDS.get(cell.strip().casefold(), "")
                       for cell in test_table.column(spec.split).texts(rows.index)])
    return taken(rows, np.flatnonzero(places == "test")) if "test" in places else None


def reading_notes(every: Sequence[Rows]) -> list[str]:
    """Return how files were read where that may be a surprise, each note with its file."""
    tables = {rows.table.file: rows.table for rows in every}
    notes = [f"{file}: {note}" for file, table in tables.items() for note in table.notes]
    passed_over = {rows.table.file: rows.passed_over for rows in every if rows.passed_over}
    return notes + [f"{file}: {count:,} of {tables[file].found:,} rows {agreeing(count, 'is', 'are')} "
                    f"skipped by where"
                    for file, count in passed_over.items()]


def unmatched_notes(every: Sequence[Rows]) -> list[str]:
    """Return a sentence for each value of `where` that no file of a task holds: it may be misspelled."""
    absent = [(rows.columns.where.unmatched(rows.table), rows.table.columns) for rows in every]
    first, _ = absent[0]
    return [f"where.{column}: {sentence}" for (column, value), sentence in first.items()
            if all((column, value) in own for own, columns in absent if column in columns)]


def taken(rows: Rows, part: Integers) -> Rows:
    """Return some of the rows."""
    some = replace(rows, index=rows.index[part])
    if "labels" in vars(rows):  # what is known of all rows need not be read again for some
        vars(some)["labels"] = [rows.labels[row] for row in part.tolist()]
    return some


def _by_column(rows: Rows, column: str, setting: str) -> dict[str, Rows]:
    """Return the rows of each split that a column names."""
    cells = rows.table.column(column, setting).texts(rows.index)
    names = [SPLIT_WORDS.get(cell.strip().casefold(), "") for cell in cells]
    if "" in names:
        row = names.index("")
        raise DataError(f'{rows.table.file}:{rows.lines[row]}: {setting}: found "{cells[row]}" in column '
                        f'"{column}", expected one of {", ".join(SPLIT_WORDS)}')
    if "train" not in names:
        raise DataError(f'{rows.table.file}: {setting}: column "{column}" does not mark any training row')
    places = np.array(names)
    return {split: taken(rows, np.flatnonzero(places == split)) for split in ("train", "dev", "test")
            if split in names}


def _unlabelled(table: Table, columns: Columns) -> Columns:
    """Return the columns to predict from; an id, and a condition, only where the file has the column."""
    return replace(columns, label=None, id=columns.id if columns.id in table.columns else None,
                   where=columns.where.on(table.columns))


def _test_rows(table: Table, columns: Columns, where: str) -> Rows:
    """Return the rows of a test file, which may have no label column."""
    unlabelled = _unlabelled(table, columns)
    if columns.label is None or not has_labels(table, columns.label):
        return select(table, unlabelled, where)
    return select(table, replace(unlabelled, label=columns.label), where)
