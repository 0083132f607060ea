"""Which rows of a file a task takes: `where`, a table of column = what its cells may be.

    where = { lang = "en" }                    the rows whose cell is this
    where = { lang = ["en", "de"] }            one of these
    where = { label = { not = ["-", "?"] } }   none of these
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.core.errors import listed, nearest
from polytask.data.label_forms import are_booleans, is_code, number
from polytask.data.tables import Table

Values = tuple[str, ...]

# How much of a column's cells a message shows, and among how many the nearest one is looked for.
_CELLS_SHOWN, _SHOWN, _COMPARED = 6, 40, 1000


@dataclass(frozen=True)
class RowFilter:
    """Conditions that a row has to meet, all of them: (column, values, whether the cell is to be one).

    Cells are compared without the blanks around them, as numbers where both are, and without regard to
    capitals where both are true or false.
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

    def unmatched(self, table: Table) -> dict[tuple[str, str], str]:
        """Return the values that no cell of a table is: (column, value) → a sentence about them."""
        sentences = {}
        for column, values, _ in self.conditions:
            cells = _most_frequent(table, column)
            for value in _absent(values, cells):
                hint = nearest(value, cells[:_COMPARED])
                sentences[column, value] = (f'no cell of column "{column}" is "{value}" '
                                            f"(found {_some(cells)}){hint}")
        return sentences

    def explained(self, table: Table) -> str:
        """Return what stands in the column of each condition, for a table of which no row is taken."""
        texts = []
        for column, values, wants in self.conditions:
            cells = _most_frequent(table, column)
            absent = _absent(values, cells) if wants else []
            texts.append(f'column "{column}" holds {_some(cells)}'
                         + (nearest(absent[0], cells[:_COMPARED]) if absent else ""))
        return "; ".join(texts)

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
    texts = frozenset(map(_written, values))
    numbers = frozenset(found for value in values if (found := _number(value)) is not None)
    return lambda cell: _written(cell) in texts or (bool(numbers) and _number(cell) in numbers)


def _written(text: str) -> str:
    """Return a cell or a value to compare: pandas writes True, and JSON true."""
    text = text.strip()
    return text.casefold() if are_booleans([text]) else text


def _most_frequent(table: Table, column: str) -> list[str]:
    """Return the different cells of a column, the most frequent first."""
    return [cell for cell, _ in Counter(map(str.strip, table.column(column).texts())).most_common()]


def _absent(values: Values, cells: Sequence[str]) -> list[str]:
    """Return the values that no cell is."""
    texts = {_written(cell) for cell in cells}
    numbers = {_number(cell) for cell in cells} - {None}
    return [value for value in values if _written(value) not in texts and _number(value) not in numbers]


def _some(cells: Sequence[str]) -> str:
    return listed(cell[:_SHOWN] for cell in cells[:_CELLS_SHOWN]) + ", …" * (len(cells) > _CELLS_SHOWN)


def _number(text: str) -> float | None:
    """Return a cell as a number; codes are none, so that "007" is not 7."""
    text = text.strip()
    return None if is_code(text) else number(text)
