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
    """A part of the page: where it stands among the others, and what makes it."""

    id: str
    title: str
    place: int
    show: Show


# A number, perhaps with its standard error, or the sign that there is none.
_NUMBER = re.compile(r"[-+]?[\d,.]+( ± [\d.]+)?$|–$|not measured$")

SECTIONS: dict[str, Section] = {}


def section(id: str, title: str, place: int) -> Callable[[Show], Show]:
    """Register a part of the page; parts stand in the order of their places."""
    def register(show: Show) -> Show:
        SECTIONS[id] = Section(id, title, place, show)
        return show
    return register


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table; columns of numbers are set to the right."""
    held = [[str(cell) for cell in row] for row in rows]
    sides = [" class=n" if held and all(_NUMBER.match(row[place]) for row in held) else ""
             for place in range(len(head))]
    names = "".join(f"<th{side}>{escape(name)}</th>" for side, name in zip(sides, head, strict=True))
    body = "".join("<tr>" + "".join(f"<td{side}>{escape(cell)}</td>"
                                    for side, cell in zip(sides, row, strict=True)) + "</tr>"
                   for row in held)
    return f"<div class=wide><table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table></div>"


def figure(picture: str, caption: str) -> str:
    """Return a figure that scrolls sideways where it is wider than the page."""
    return f"<figure><figcaption>{escape(caption)}</figcaption><div class=wide>{picture}</div></figure>"


def legend(names: Sequence[str]) -> str:
    """Return the names of the colours, in their order."""
    return "<div class=legend>" + "".join(
        f'<span><i style="background:{svg.colour(n)}"></i>{escape(name)}</span>'
        for n, name in enumerate(names)) + "</div>"


def side_by_side(figures: Iterable[str]) -> str:
    """Return figures beside one another where there is room."""
    return f"<div class=grid2>{''.join(f'<div>{each}</div>' for each in figures)}</div>"


def note(said: str) -> str:
    """Return a sentence that something is missing, or how to read what is there."""
    return f"<p class=note>{escape(said)}</p>"


def soft(said: str) -> str:
    return f"<p class=soft>{escape(said)}</p>"
