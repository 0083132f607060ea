"""Classes that may be something else: two spellings of one, no label at all, lists, objects."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping

from polytask.core.counting import counted
from polytask.core.errors import listed
from polytask.data.label_column import LabelColumn
from polytask.data.label_forms import are_booleans, are_numbers, canonical, is_on, look, split_at
from polytask.data.label_kind import Wanted
from polytask.data.row_filter import leaving_out

SEPARATORS = (",", ";", "/", "&", "+")
# From as many different numbers on, one that lies beyond their whole span is doubted.
_MANY_VALUES = 10
# Signs that stand in names as well: lists are read only as the user says, and are suspected only of parts
# that are names by themselves.
RARE_SEPARATORS = ("\t", "\uff0c", "\u3001", "\uff1b", "#", ":", " ")
# What data sets of the hub write beside ids for no label, and the share of rows up to which it is rare.
_NO_ID, _RARE = "-1", 0.05


def doubts(column: LabelColumn, names: set[str], wanted: Wanted) -> Iterator[str]:
    """Say which classes may be two spellings of one, no label at all, or lists."""
    yield from _alike_notes(names)
    if all(len(name) > 2 and name[0] == name[-1] == "'" for name in names):
        yield (f'labels such as "{min(names)}" stand in single quotes, which are taken for part of their '
               "names: only double quotes quote")
    if objects := [name for name in sorted(names) if name[0] == "{" and name[-1] == "}"]:
        yield f'labels such as "{objects[0][:60]}" look like objects and are taken for one class each'
    for mark in [*column.suspects, *_secret(column, names)]:
        rows = counted(column.counts[mark], "row")
        yield (f'the class "{mark}" ({rows}) looks like a row without a label; '
               f"exclude such rows with {leaving_out(wanted.column, mark)}, or name it in classes")
    if similar := separator_of(names):
        separator, some = similar
        yield (f'labels such as "{some}" look like lists and are read as one class each; if they are '
               f'lists, set separator = "{separator}"')


def far_off(column: LabelColumn, values: Mapping[str, float], wanted: Wanted) -> Iterator[str]:
    """Say which repeated value of a regression stands for no label: -1 below 0, or one far from all others.

    values: the number that each label of the column is.
    """
    for edge in (min, max):
        value = edge(values.values())
        labels = [label for label in values if values[label] == value]
        others = [other for other in values.values() if other != value]
        rows = column.count(labels)
        if rows < 2 or len(others) < 2:
            continue
        low, high = min(others), max(others)
        secret = value == float(_NO_ID) and low >= 0
        spans = 1 if len(others) >= _MANY_VALUES else 10  # few values may lie far apart
        if not secret and max(low - value, value - high) <= spans * (high - low):
            continue
        mark = max(labels, key=lambda label: column.counts[label])
        yield (f"the label {mark} ({counted(rows, 'row')}) lies outside the others ({low:g} to {high:g}) "
               f"and looks like a row without a label; exclude such rows with "
               f"{leaving_out(wanted.column, mark)}, "
               f"or set range = [{min(low, value):g}, {max(high, value):g}] if it is one")


def _alike_notes(names: set[str]) -> Iterator[str]:
    """Say which classes a reader can hardly tell apart."""
    by_look: dict[str, list[str]] = {}
    for name in sorted(names):
        by_look.setdefault(look(name), []).append(name)
    for same in by_look.values():
        if len(same) > 1:
            capitals = len({name.casefold() for name in same}) == 1
            shown = listed(same) if capitals else ", ".join(map(json.dumps, same))
            by = "capitals" if capitals else "blanks, invisible characters or the composition of letters"
            yield (f"{shown} differ by {by} alone and are {len(same)} classes; if they are one, write them "
                   "alike")
    by_number: dict[str, list[str]] = {}
    for name in sorted(name for name in names if are_numbers([name])):
        by_number.setdefault(canonical(name), []).append(name)
    for same in by_number.values():
        if len(same) > 1:
            yield (f"{listed(same)} are one number and {len(same)} classes, as not all labels are numbers; "
                   "if they are one, write them alike")
    for name in sorted(name for name in names if are_booleans([name])):
        if same := by_number.get("1" if is_on(name) else "0", []):
            yield (f"{listed([name, *same])} may mean the same and are {1 + len(same)} classes; if they "
                   "are one, write them alike")


def _secret(column: LabelColumn, names: set[str]) -> list[str]:
    """Return the label -1 where it stands beside ids: data sets write it where there is no label.

    Of -1, 0 and 1 it is a grade, unless it is rare.
    """
    mark = next((label for label in column.counts if canonical(label) == _NO_ID), None)
    others = names - {_NO_ID}
    if mark is None or len(others) < 2 or not all(name.isdecimal() for name in others):
        return []
    grades = others == {"0", "1"} and column.counts[mark] >= _RARE * column.rows
    return [] if grades else [mark]


def rare_separator_of(names: set[str]) -> tuple[str, str] | None:
    """Return a rare sign that seems to separate names in one cell, and such a cell: "1 2", "joy#fear"."""
    for separator in RARE_SEPARATORS:
        for name in sorted(names):
            parts = split_at(name, separator)
            if len(parts) > 1 and ({*parts} <= names or (not separator.strip() and are_numbers(parts))):
                return separator, name
    return None


def separator_of(names: set[str]) -> tuple[str, str] | None:
    """Return what seems to separate names in one cell, and such a cell; None if nothing does.

    It does where all the parts of a name are names as well, or parts of others.
    """
    for separator in SEPARATORS:
        parts_by_name = {name: split_at(name, separator) for name in sorted(names)}
        often = Counter(part for parts in parts_by_name.values() for part in {*parts})
        for name, parts in parts_by_name.items():
            if len(parts) > 1 and all(part in names or often[part] > 1 for part in parts):
                return separator, name
    return None
