"""Results for notebooks: HTML tables and pandas data frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from polytask.core.errors import MissingExtra


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> str:
    """Return a table of HTML; every cell is text."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    caption = f"<caption>{escape(title)}</caption>" if title else ""
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def html_lines(lines: Iterable[str]) -> str:
    """Return lines of text as HTML."""
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def data_frame(rows: Sequence[Mapping[str, Any]], numbers: bool = False) -> Any:
    """Return rows as a data frame of pandas; raise `MissingExtra` where pandas is not installed.

    numbers: read columns of text that hold numbers alone as numbers.
    """
    try:
        import pandas
    except ImportError:
        raise MissingExtra("to_pandas", "pandas") from None
    frame = pandas.DataFrame(list(rows))
    for name in frame.columns if numbers else ():
        cells = [cell for cell in frame[name] if cell]
        if cells and all(map(_is_number, cells)):
            frame[name] = [float(cell) if cell else None for cell in frame[name]]
    return frame


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
