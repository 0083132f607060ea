"""Labels as numbers for the loss, and the rows whose label is not one of the task's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.core.errors import DataError, listed, nearest
from polytask.data.label_forms import MARKED_MISSING, all_list_items, canonical, is_blank
from polytask.data.labels import Labels
from polytask.data.row_filter import leaving_out

RowLines = Sequence[int] | NDArray[np.int64]
# What data sets write where a label is kept secret or was not agreed on.
_SECRET = "-1"


def missing(labels: Sequence[str], known: Labels) -> dict[str, list[int]]:
    """Return the rows without a label by what stands there instead: "NaN", "?", "" for blanks."""
    missing = {label: "" if is_blank(label) else label for label in set(labels) if known.is_missing(label)}
    rows: dict[str, list[int]] = {}
    if missing:
        for row, label in enumerate(labels):
            if label in missing:
                rows.setdefault(missing[label], []).append(row)
    return rows


def unreadable(labels: Sequence[str], known: Labels) -> list[int]:
    """Return the rows of a regression whose label is a word."""
    if not known.is_regression:
        return []
    bad = {label for label in set(labels) if known.number(label) is None}
    return [row for row, label in enumerate(labels) if label in bad] if bad else []


def only_unknown(labels: Sequence[str], known: Labels) -> str | None:
    """Return the one value that stands in every row and is not a label of the task, or None.

    Unlabelled test files are published with -1 in every row, or with a word. Another number among numbers
    is a label out of range, and a name among lists a class that is not known.
    """
    different = set(labels)
    if len(different) != 1:
        return None
    label = different.pop()
    if known.is_missing(label):
        return label
    if known.kind == "multi-label":
        return label if label not in known.index and (
            is_secret(label) or label.casefold() in MARKED_MISSING) else None
    if is_secret(label) or known.number(label) is None or not known.has_numbers:
        return label if _value(label, known) is None else None
    return None


def is_secret(label: str) -> bool:
    """Return whether a label is -1, or a list of nothing else: what data sets write where there is none."""
    items = all_list_items(label)
    return all(canonical(item) == _SECRET for item in ([label] if items is None else items or [""]))


def to_numbers(labels: Sequence[str], known: Labels, file: str, lines: RowLines,
               column: str = "label") -> NDArray[Any]:
    """Return labels as the loss takes them: int64, or scaled float32, or 0/1 rows float32.

    column: that of the labels, for messages. Raises `DataError` with the file and line of the first label
    that is out of range or unknown.
    """
    if known.kind == "multi-label":
        return _to_rows(labels, known, file, lines, column)
    table: dict[str, float | None] = {label: _value(label, known) for label in dict.fromkeys(labels)}
    bad = {label for label, value in table.items() if value is None}
    if bad:
        row = next(row for row, label in enumerate(labels) if label in bad)
        raise _refusal(labels[row], known, f"{file}:{lines[row]}", column)
    kind = np.float32 if known.is_regression else np.int64
    return np.array([table[label] for label in labels], dtype=kind)


def _value(label: str, known: Labels) -> float | None:
    if known.is_regression:
        value = known.number(label)
        inside = value is not None and known.low <= value <= known.high
        return float(known.scaled(value)) if inside else None
    return known.index.get(known.class_name(label))


def _to_rows(labels: Sequence[str], known: Labels, file: str, lines: RowLines, column: str
             ) -> NDArray[np.float32]:
    places: dict[str, list[int]] = {}
    rows = np.zeros((len(labels), len(known.classes)), dtype=np.float32)
    for row, label in enumerate(labels):
        if label not in places:
            places[label] = _places(label, known, f"{file}:{lines[row]}", column)
        rows[row, places[label]] = 1.0
    return rows


def _places(label: str, known: Labels, where: str, column: str) -> list[int]:
    """Return the columns of the classes that a multi-label cell names."""
    if label not in known.index and is_secret(label):
        raise _refusal(label, known, where, column)
    try:
        names = known.names(label)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None
    for name in names:
        if name not in known.index:
            raise _refusal(name, known, where, column if name == label else "")
    return [known.index[name] for name in names]


def _refusal(label: str, known: Labels, where: str, column: str = "") -> DataError:
    """column: that whose whole cell the label is, if it is one's."""
    secret = (f"; {label} looks like a row without a label: {leaving_out(column, label)} leaves such rows "
              "out") if column and is_secret(label) else ""
    if known.is_regression:
        if known.number(label) is None:
            return DataError(f'{where}: label "{label}" is not a number')
        return DataError(f"{where}: label {label} is out of range, expected {known.low:g} to "
                         f"{known.high:g}{secret}")
    some = listed(known.classes[:6]) + (", …" if known.num_classes > 6 else "")
    return DataError(f'{where}: label "{label}" is not a class, expected one of {some}'
                     f"{secret or nearest(label, known.classes)}")
