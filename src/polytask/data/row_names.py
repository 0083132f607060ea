"""Row names, which R and pandas write before the fields that the header names."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ROW_NAME = re.compile(r"(?=\S*\d)(?!\d+\Z)\S{1,64}")


def are_row_names(names: Sequence[str]) -> bool:
    """Whether first fields are consecutive numbers, or words with a digit that all differ."""
    if consecutive(names):
        return True
    return len(names) > 1 and len(set(names)) == len(names) and all(map(_ROW_NAME.fullmatch, names))


def consecutive(names: Sequence[str]) -> bool:
    """Whether names are numbers that follow one another."""
    numbers = [int(name) for name in names if name.isdecimal() and len(name) < 19]
    return len(numbers) == len(names) > 0 and numbers == list(range(numbers[0], numbers[0] + len(names)))
