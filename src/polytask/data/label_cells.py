"""The label of each row as one text: a cell as it stands, or several 0/1 columns as one list."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from polytask.core.errors import DataError
from polytask.data.label_forms import MARKED_MISSING, is_blank, is_on
from polytask.data.tables import Integers, Table

LabelColumns = str | tuple[str, ...]
# Published test files write it for every label that is kept secret.
_SECRET = "-1"


def label_columns(label: LabelColumns) -> tuple[str, ...]:
    """Return the columns that a label comes from."""
    return (label,) if isinstance(label, str) else label


def has_labels(table: Table, label: LabelColumns) -> bool:
    """Return whether a table has the columns of a label, and anything in them."""
    names = label_columns(label)
    return {*names} <= {*table.columns} and not all(table.column(name).blank.all() for name in names)


def unlabelled(table: Table, label: LabelColumns, setting: str = "") -> NDArray[np.bool_]:
    """Return which rows have an empty cell for a label: (rows,)."""
    blanks = [table.column(name, setting).blank for name in label_columns(label)]
    return np.logical_or.reduce(blanks)  # type: ignore[no-any-return]


def nested_labels(table: Table, label: str) -> Integers:
    """Return the rows whose label is an object, or a list of lists or objects: names of no class."""
    column = table.column(label)
    starts = column.offsets[column.nested]
    opens = np.frombuffer(b"[{", dtype=np.uint8)
    odd = (column.cells[starts] == ord("{")) | np.isin(column.cells[starts + 1], opens)
    rows: Integers = column.nested[odd]
    return rows


def label_texts(table: Table, label: LabelColumns, rows: Integers) -> list[str]:
    """Return the label of some rows. Of 0/1 columns it is the JSON list of those that hold 1.

    A row of which every column holds -1, or one no label, has the label "". Raises `DataError` with
    the line of a cell that is neither 0 nor 1.
    """
    if isinstance(label, str):
        every = table.column(label).texts()
        return [every[row].strip() for row in rows.tolist()]
    columns = [table.column(name).texts(rows) for name in label]
    kept: dict[tuple[str, ...], str] = {}
    cells_as_lists = []
    for place, cells in enumerate(zip(*columns, strict=True)):
        if cells not in kept:
            kept[cells] = _as_list(label, cells, f"{table.file}:{table.lines[rows[place]]}")
        cells_as_lists.append(kept[cells])
    return cells_as_lists


def _as_list(names: Sequence[str], cells: Sequence[str], where: str) -> str:
    if all(cell.strip() == _SECRET for cell in cells) or any(
            is_blank(cell) or cell.strip().casefold() in MARKED_MISSING for cell in cells):
        return ""
    on = [is_on(cell) for cell in cells]
    if None in on:
        at = on.index(None)
        raise DataError(f'{where}: found "{cells[at][:40]}" in column "{names[at]}", expected 0 or 1, '
                        "as in all columns of one label")
    return json.dumps(list(compress(names, on)), ensure_ascii=False)
