"""The ids of rows: a column's, or the numbers of their lines where a row has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from polytask.core.counting import agreeing, counted
from polytask.data.label_forms import is_blank

# Ids that are remembered to find those that repeat, so that a file of any length takes little memory.
_REMEMBERED = 100_000
_LINES_SHOWN, _SHOWN = 3, 40


def id_column(columns: Sequence[str], wanted: str | None, text: Sequence[str]) -> str | None:
    """Return the column of the ids: the one asked for, or one called "id" that is no text; or None."""
    if wanted in columns:
        return wanted
    return "id" if "id" in columns and "id" not in text else None


def absent_note(columns: Sequence[str], wanted: str | None, text: Sequence[str]) -> list[str]:
    """Return a sentence where the column of ids that a task has is not in a file."""
    if wanted is None or wanted in columns:
        return []
    used = id_column(columns, wanted, text)
    return [f'there is no column "{wanted}" of ids, so the ids are '
            + (f'those of column "{used}"' if used else "line numbers")]


@dataclass
class RowIds:
    """Gives the ids of rows one after the other; `notes` says afterwards what is odd about them.

    noun: what a row is called in the notes.
    """

    noun: str = "record"
    lacking: int = 0
    repeated: int = 0
    lines: list[int] = field(default_factory=list)
    """The first lines of rows without an id."""
    again: tuple[str, int, int] = ("", 0, 0)
    """The first id that repeats, and its first two lines."""
    first: dict[str, int] = field(default_factory=dict)

    def of(self, cell: str, line: int) -> str:
        """Return the id of a row from its cell in the column of ids."""
        if is_blank(cell):
            self.lacking += 1
            if len(self.lines) <= _LINES_SHOWN:
                self.lines.append(line)
            return str(line)
        earlier = self.first.get(cell)
        if earlier is not None:
            self.again = self.again if self.repeated else (cell, earlier, line)
            self.repeated += 1
        elif len(self.first) < _REMEMBERED:
            self.first[cell] = line
        return cell

    def notes(self) -> list[str]:
        """Return a sentence about rows without an id, and one about ids of several rows."""
        notes = []
        if self.lacking:
            shown = ", ".join(map(str, self.lines[:_LINES_SHOWN])) + ", …" * (self.lacking > _LINES_SHOWN)
            notes.append(f"{counted(self.lacking, self.noun)} {agreeing(self.lacking, 'has', 'have')} no "
                         f"id ({agreeing(self.lacking, 'line', 'lines')} {shown}); the number of the line "
                         "stands for it")
        if self.repeated:
            cell, earlier, line = self.again
            least = "at least " * (len(self.first) == _REMEMBERED)
            notes.append(f"{least}{counted(self.repeated, self.noun)} "
                         f"{agreeing(self.repeated, 'has', 'have')} an id seen before "
                         f'("{" ".join(cell.split())[:_SHOWN]}" in lines {earlier} and {line}), so '
                         "predictions cannot be told apart by it")
        return notes
