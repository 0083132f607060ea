"""Row names, which R and pandas write before the fields that the header names."""

from __future__ import annotations

import re
from collections.abc import Sequence

# A counter, behind a stem or alone. @user1, #day1 and 10:01 begin texts.
_ROW_NAME = re.compile(r"(?![@#])([^\s:]{0,64}?)(\d{1,18})")


def are_row_names(names: Sequence[str]) -> bool:
    """Whether first fields count up by one, behind one stem or alone: 1, 2, 3 or row1, row2, row3.

    Other words with a digit may be the start of texts with unquoted commas, and so may a lone number.
    """
    matches = [match for match in map(_ROW_NAME.fullmatch, names) if match]
    if len(names) < 2 or len(matches) < len(names):
        return False
    return len({match[1] for match in matches}) == 1 and consecutive([match[2] for match in matches])


def consecutive(names: Sequence[str]) -> bool:
    """Whether names are numbers that follow one another."""
    numbers = [int(name) for name in names if name.isdecimal() and len(name) < 19]
    return len(numbers) == len(names) > 0 and numbers == list(range(numbers[0], numbers[0] + len(names)))
