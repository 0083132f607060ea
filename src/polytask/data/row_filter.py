"""Which rows of a file a task takes: `where`, a table of column = what its cells may be.

    where = { lang = "en" }                    the rows whose cell is this
    where = { lang = ["en", "de"] }            one of these
    where = { label = { not = ["-", "?"] } }   none of these
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.core.errors import nearest
from polytask.data.label_forms import is_code, number
from polytask.data.tables import Table

Values = tuple[str, ...]


@dataclass(frozen=True)
class RowFilter:
    """Conditions that a row has to meet, all of them: (column, values, whether the cell is to be one).

    Cells are compared without the blanks around them, and as numbers where both are.
    """

    conditions: tuple[tuple[str, Values, bool], ...] = ()

    @classmethod
    def of(cls, where: Mapping[str, Any] | None) -> RowFilter:
        """Read the setting, which `filter_problems` finds nothing wrong with."""
        conditions = []
        for column, wanted in (where or {}).items():
            wants = not isinstance(wanted, Mapping)
            conditions.append((column, _values(wanted if wants else wanted["not"]), wants))
        return cls(tuple(conditions))

    def mask(self, table: Table, setting: str = "") -> NDArray[np.bool_]:
        """Return which rows of a table are taken: (rows,). Raises `DataError` for an unknown column."""
        taken = np.ones(len(table), dtype=np.bool_)
        for column, values, wants in self.conditions:
            matches, known = _matcher(values), {}
            cells = table.column(column, f"{setting}.where" if setting else "").texts()
            for text in set(cells):
                known[text] = matches(text) is wants
            taken &= np.fromiter((known[text] for text in cells), dtype=np.bool_, count=len(cells))
        return taken

    def on(self, columns: Sequence[str]) -> RowFilter:
        """Return the conditions on columns that there are: a file to be predicted may lack the others."""
        return RowFilter(tuple(condition for condition in self.conditions if condition[0] in columns))

    def admits(self, columns: Sequence[str]) -> Callable[[Sequence[str]], bool]:
        """Return the function that says whether a record of these columns is taken."""
        checks = [(columns.index(column), _matcher(values), wants)
                  for column, values, wants in self.conditions]
        return lambda cells: all(matches(cells[place]) is wants for place, matches, wants in checks)


def leaving_out(column: str, value: str) -> str:
    """Return the setting that leaves out the rows with a value in a column."""
    bare = column.isidentifier() and column.isascii()
    key, cell = (json.dumps(text, ensure_ascii=False) for text in (column, value))
    return f"where = {{ {column if bare else key} = {{ not = [{cell}] }} }}"


def filter_problems(where: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield what is wrong with the setting, each with its key first."""
    for column, wanted in (where or {}).items():
        if isinstance(wanted, Mapping):
            if list(wanted) != ["not"]:
                strange = next((str(key) for key in wanted if key != "not"), "")
                text = f'found "{strange}"{nearest(strange, ["not"])}' if strange else "is empty"
                yield f"where.{column}: {text}, expected {{ not = [...] }}"
                continue
            wanted = wanted["not"]
        values = wanted if isinstance(wanted, list | tuple) else [wanted]
        if not values or not all(isinstance(value, str | int | float) for value in values):
            yield (f"where.{column}: found {wanted!r}, expected a value, a list of values or "
                   "{ not = [...] }")


def _values(wanted: Any) -> Values:
    values = wanted if isinstance(wanted, list | tuple) else (wanted,)
    return tuple(str(value).lower() if isinstance(value, bool) else str(value).strip() for value in values)


def _matcher(values: Values) -> Callable[[str], bool]:
    texts = frozenset(values)
    numbers = frozenset(found for value in values if (found := _number(value)) is not None)
    return lambda cell: cell.strip() in texts or (bool(numbers) and _number(cell) in numbers)


def _number(text: str) -> float | None:
    """Return a cell as a number; codes are none, so that "007" is not 7."""
    text = text.strip()
    return None if is_code(text) else number(text)
