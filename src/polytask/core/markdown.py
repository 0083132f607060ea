"""Markdown that we write: tables whose cells cannot break out of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def plain(text: object) -> str:
    """Return a text of the user's as Markdown shows it in one line: no tag, no line break."""
    return " ".join(str(text).split("\n")).replace("<", r"\<")


def markdown_table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a table."""
    return [_line(header), _line(["---"] * len(header)), *map(_line, rows)]


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(plain(cell).replace('|', chr(92) + '|') for cell in cells)} |"
