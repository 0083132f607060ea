"""What a task's labels are, told from the labels themselves, and the labels as numbers."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.core.errors import ConfigError, DataError, listed, nearest
from polytask.data.labels import KINDS, Kind, Labels

MAX_CLASSES = 50
# Above this share of numbers, the labels are numbers and the rest cannot be read.
_MOSTLY = 0.95
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Wanted:
    """What the config says of a task's labels; None is told from the data.

    `where` is the dotted key of the task, for messages.
    """

    kind: Kind | None = None
    classes: tuple[str, ...] | None = None
    range: tuple[float, float] | None = None
    label_scale: str = "unit"
    where: str = ""

    def problem(self, key: str, text: str) -> ConfigError:
        return ConfigError(f"{self.where}.{key}: {text}" if self.where else f"{key}: {text}")


class Seen:
    """The different labels of some rows, and how often each occurs."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.counts = Counter(labels)
        self.rows = len(labels)

    @cached_property
    def numbers(self) -> dict[str, float]:
        """The labels that are numbers."""
        return {label: value for label in self.counts if (value := number(label)) is not None}

    @property
    def mostly_numbers(self) -> bool:
        return sum(self.counts[label] for label in self.numbers) >= _MOSTLY * self.rows

    @property
    def mostly_integers(self) -> bool:
        return self.mostly_numbers and all(value.is_integer() for value in self.numbers.values())

    @property
    def lists(self) -> bool:
        """Whether any label is a list: "a|b" or '["a", "b"]'."""
        return any(as_list(label) is not None for label in self.counts)


def number(label: str) -> float | None:
    """Return a label as a finite number, or None."""
    if not _NUMBER.fullmatch(label):
        return None
    value = float(label)
    return value if math.isfinite(value) else None


def as_list(label: str) -> list[str] | None:
    """Return the classes of a label that is a list, or None if it is one word."""
    if label.startswith("[") and label.endswith("]"):
        try:
            return [_class_name(each) for each in json.loads(label)]
        except ValueError:
            return None
    if "|" in label:
        return [canonical(part.strip()) for part in label.split("|") if part.strip()]
    return None


def named(label: str) -> list[str]:
    """Return the classes that a multi-label label names; a word is a list of one."""
    given = as_list(label)
    return [canonical(label)] if given is None else given


def _class_name(value: Any) -> str:
    return canonical(value if isinstance(value, str) else json.dumps(value))


def canonical(label: str) -> str:
    """Return the name of a class: "1" for "1.0", a word as it stands."""
    value = number(label)
    return str(int(value)) if value is not None and value.is_integer() else label


def infer_labels(labels: Sequence[str], wanted: Wanted = Wanted(),
                 file: str = "the labels") -> Labels:
    """Return the kind, classes and range of labels (those of train and dev; no empty ones)."""
    seen = Seen(labels)
    kind = wanted.kind or _kind(seen, wanted, file)
    if kind not in KINDS:
        raise wanted.problem("kind", f"found {kind!r}{nearest(kind, KINDS)}")
    if kind == "regression":
        if wanted.classes is not None:
            raise wanted.problem("classes", "a regression has a range, no classes")
        low, high = wanted.range or _range(seen, wanted, file)
        return Labels("regression", (), float(low), float(high), wanted.label_scale == "unit")
    if wanted.range is not None:
        raise wanted.problem("range", f'labels of kind "{kind}" have classes, no range')
    classes = _classes(seen, kind, wanted, file)
    if kind == "binary" and len(classes) != 2:
        raise DataError(f"{file}: found {len(classes)} classes ({_some(classes)}), expected 2 for"
                        ' kind "binary"')
    return Labels("binary" if kind == "classes" and len(classes) == 2 else kind, classes)


def _kind(seen: Seen, wanted: Wanted, file: str) -> Kind:
    if wanted.range is not None:
        return "regression"
    if seen.lists:
        return "multi-label"
    if wanted.classes is not None:
        return "classes"
    if seen.mostly_integers or not seen.mostly_numbers:
        names = {canonical(label) for label in seen.counts} if not seen.mostly_numbers else {
            canonical(label) for label in seen.numbers}
        if len(names) <= MAX_CLASSES:
            return "classes"
        if not seen.mostly_numbers:
            raise DataError(f"{file}: found {len(names):,} different labels"
                            f" ({_some(sorted(names))}), expected numbers or 2 to {MAX_CLASSES}"
                            ' classes; say kind = "classes" if they are classes')
    return "regression"


def _classes(seen: Seen, kind: str, wanted: Wanted, file: str) -> tuple[str, ...]:
    if wanted.classes is not None:
        given = tuple(canonical(name.strip()) for name in wanted.classes)
        if len(set(given)) != len(given) or len(given) < 2:
            raise wanted.problem("classes", f"found {listed(given)}, expected two or more"
                                 " different names")
        return given
    if kind == "multi-label":
        names = {name for label in seen.counts for name in named(label)}
    else:
        source = seen.numbers if seen.mostly_numbers else seen.counts
        names = {canonical(label) for label in source}
    numeric = all(number(name) is not None for name in names)
    if kind == "ordinal" and not numeric:
        raise wanted.problem("classes", "is missing: words have no order of their own, expected"
                             f" the classes from lowest to highest ({_some(sorted(names))})")
    if len(names) < 2:
        raise DataError(f"{file}: every row has the label {listed(names)}, expected two or more"
                        " different")
    return tuple(sorted(names, key=float) if numeric else sorted(names))


def _range(seen: Seen, wanted: Wanted, file: str) -> tuple[float, float]:
    values = seen.numbers.values()
    if not values:
        raise DataError(f"{file}: found the labels {_some(sorted(seen.counts))}, expected numbers")
    low, high = min(values), max(values)
    if low == high:
        raise DataError(f"{file}: every row has the label {low:g}, expected different numbers")
    return outward(low, high)


def outward(low: float, high: float) -> tuple[float, float]:
    """Round a range outward to steps of a tenth to a quarter of it: 0.2 … 4.9 is 0 … 5."""
    span = high - low
    scale = 10.0 ** math.floor(math.log10(span) - 1)
    step = next(times * scale for times in (1, 2, 5, 10) if times * scale >= span / 10 * 0.999)
    digits = max(0, 1 - math.floor(math.log10(step)))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    # The tolerance is for 0.3 / 0.1; a label a hair outside still has to be inside.
    first -= round(first * step, digits) > low
    last += round(last * step, digits) < high
    return round(first * step, digits), round(last * step, digits)


def unreadable(labels: Sequence[str], known: Labels) -> list[int]:
    """Return the rows whose label is not even of the sort: a word where there are numbers."""
    numeric = known.is_regression or (
        known.kind != "multi-label" and all(number(name) is not None for name in known.classes))
    if not numeric:
        return []
    bad = {label for label in set(labels) if number(label) is None}
    return [row for row, label in enumerate(labels) if label in bad] if bad else []


def to_numbers(labels: Sequence[str], known: Labels, file: str,
               lines: Sequence[int] | NDArray[np.int64]) -> NDArray[Any]:
    """Return labels as the loss takes them: int64, or scaled float32, or 0/1 rows float32.

    Raises `DataError` with the file and line of the first label that is out of range or unknown.
    """
    if known.kind == "multi-label":
        return _to_rows(labels, known, file, lines)
    table: dict[str, float | None] = {
        label: _value(label, known) for label in dict.fromkeys(labels)}
    bad = {label for label, value in table.items() if value is None}
    if bad:
        row = next(row for row, label in enumerate(labels) if label in bad)
        raise _refusal(labels[row], known, f"{file}:{lines[row]}")
    kind = np.float32 if known.is_regression else np.int64
    return np.array([table[label] for label in labels], dtype=kind)


def _value(label: str, known: Labels) -> float | None:
    if known.is_regression:
        value = number(label)
        inside = value is not None and known.low <= value <= known.high
        return float(known.scaled(value)) if inside else None
    return _index(known).get(canonical(label))


def _index(known: Labels) -> Mapping[str, int]:
    return {name: index for index, name in enumerate(known.classes)}


def _to_rows(labels: Sequence[str], known: Labels, file: str,
             lines: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
    index = _index(known)
    rows = np.zeros((len(labels), len(known.classes)), dtype=np.float32)
    for row, label in enumerate(labels):
        for name in named(label):
            if name not in index:
                raise _refusal(name, known, f"{file}:{lines[row]}")
            rows[row, index[name]] = 1.0
    return rows


def _refusal(label: str, known: Labels, where: str) -> DataError:
    if known.is_regression:
        return DataError(f"{where}: label {label} is out of range, expected {known.low:g} to"
                         f" {known.high:g}")
    return DataError(f'{where}: label "{label}" is no class, expected one of'
                     f" {_some(known.classes)}{nearest(label, known.classes)}")


def _some(names: Sequence[str]) -> str:
    return listed(names[:6]) + (", …" if len(names) > 6 else "")
