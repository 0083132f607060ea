"""The parts of the page, and the pieces of HTML that they share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from polytask.report import svg
from polytask.report.record import RunRecord

Show = Callable[[RunRecord], str]


@dataclass(frozen=True)
class Section:
    """A part of the page: its place among the others, and what makes it."""

    id: str
    title: str
    place: int
    show: Show


# A number, perhaps with its standard error, or the sign that there is none.
_NUMBER = re.compile(r"[-+]?[\d,.]+( ± [\d.]+)?$|–$|not measured$")
# Tasks beyond which all but the first are folded, so that the page does not get very long.
MANY_TASKS = 3

SECTIONS: dict[str, Section] = {}


def section(id: str, title: str, place: int) -> Callable[[Show], Show]:
    """Register a part of the page; parts are ordered by their places."""
    def register(show: Show) -> Show:
        SECTIONS[id] = Section(id, title, place, show)
        return show
    return register


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table; columns of numbers are aligned to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    sides = [" class=n" if cells and all(_NUMBER.match(row[place]) for row in cells) else ""
             for place in range(len(header))]
    names = "".join(f"<th{side}>{escape(name)}</th>" for side, name in zip(sides, header, strict=True))
    body = "".join("<tr>" + "".join(f"<td{side}>{escape(cell)}</td>"
                                    for side, cell in zip(sides, row, strict=True)) + "</tr>"
                   for row in cells)
    return f"<div class=wide><table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table></div>"


def figure(shown: svg.Figure, with_legend: bool = True) -> str:
    """Return a figure that scrolls sideways if it is wider than the page."""
    names = legend(shown.names) if shown.names and with_legend else ""
    return framed(shown.caption, f"<div class=wide>{shown.picture}</div>{names}")


def framed(caption: str, html: str) -> str:
    """Return HTML under a caption."""
    return f"<figure><figcaption>{escape(caption)}</figcaption>{html}</figure>"


def legend(names: Sequence[str]) -> str:
    """Return the names of the colours, in order."""
    return "<div class=legend>" + "".join(
        f'<span><i style="background:{svg.colour(n)}"></i>{escape(name)}</span>'
        for n, name in enumerate(names)) + "</div>"


def side_by_side(parts: Iterable[str]) -> str:
    """Return parts beside one another where there is room."""
    return f"<div class=grid2>{''.join(f'<div>{part}</div>' for part in parts)}</div>"


def by_task(parts: Iterable[tuple[str, str]], named: bool = False) -> str:
    """Return what each task has to show: (task, HTML), folded beyond `MANY_TASKS`.

    named: whether every task also gets a title if there are few; else its HTML names it, and tasks stand
    side by side.
    """
    parts = list(parts)
    if len(parts) > MANY_TASKS:
        return "".join(f"<details{' open' * (n == 0)}><summary>{escape(task)}</summary>{html}</details>"
                       for n, (task, html) in enumerate(parts))
    if named:
        return "".join(f"<h3>{escape(task)}</h3>{html}" for task, html in parts)
    return side_by_side(html for _, html in parts)


def section_title(title: str) -> str:
    """Return the title of a piece of a part."""
    return f"<h3>{escape(title)}</h3>"


def note(sentence: str) -> str:
    """Return a sentence that stands out: something is missing, or needs care."""
    return f"<p class=note>{escape(sentence)}</p>"


def soft(sentence: str) -> str:
    """Return a sentence in a soft colour."""
    return f"<p class=soft>{escape(sentence)}</p>"
