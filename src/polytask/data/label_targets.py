"""Labels as numbers for the loss, and the rows whose label is not one of the task's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.core.errors import DataError, listed, nearest
from polytask.data.label_forms import is_blank
from polytask.data.labels import Labels

RowLines = Sequence[int] | NDArray[np.int64]


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

    Unlabelled test files are published with -1 in every row, or with a word.
    """
    different = set(labels)
    if len(different) != 1:
        return None
    label = different.pop()
    if known.is_missing(label):
        return label
    return label if known.kind != "multi-label" and _value(label, known) is None else None


def to_numbers(labels: Sequence[str], known: Labels, file: str, lines: RowLines) -> NDArray[Any]:
    """Return labels as the loss takes them: int64, or scaled float32, or 0/1 rows float32.

    Raises `DataError` with the file and line of the first label that is out of range or unknown.
    """
    if known.kind == "multi-label":
        return _to_rows(labels, known, file, lines)
    table: dict[str, float | None] = {label: _value(label, known) for label in dict.fromkeys(labels)}
    bad = {label for label, value in table.items() if value is None}
    if bad:
        row = next(row for row, label in enumerate(labels) if label in bad)
        raise _refusal(labels[row], known, f"{file}:{lines[row]}")
    kind = np.float32 if known.is_regression else np.int64
    return np.array([table[label] for label in labels], dtype=kind)


def _value(label: str, known: Labels) -> float | None:
    if known.is_regression:
        value = known.number(label)
        inside = value is not None and known.low <= value <= known.high
        return float(known.scaled(value)) if inside else None
    return known.index.get(known.class_name(label))


def _to_rows(labels: Sequence[str], known: Labels, file: str, lines: RowLines) -> NDArray[np.float32]:
    places: dict[str, list[int]] = {}
    rows = np.zeros((len(labels), len(known.classes)), dtype=np.float32)
    for row, label in enumerate(labels):
        if label not in places:
            places[label] = _places(label, known, f"{file}:{lines[row]}")
        rows[row, places[label]] = 1.0
    return rows


def _places(label: str, known: Labels, where: str) -> list[int]:
    """Return the columns of the classes that a multi-label cell names."""
    try:
        names = known.names(label)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None
    for name in names:
        if name not in known.index:
            raise _refusal(name, known, where)
    return [known.index[name] for name in names]


def _refusal(label: str, known: Labels, where: str) -> DataError:
    if known.is_regression:
        if known.number(label) is None:
            return DataError(f'{where}: label "{label}" is not a number')
        return DataError(f"{where}: label {label} is out of range, expected {known.low:g} to "
                         f"{known.high:g}")
    some = listed(known.classes[:6]) + (", …" if known.num_classes > 6 else "")
    return DataError(f'{where}: label "{label}" is not a class, expected one of {some}'
                     f"{nearest(label, known.classes)}")
