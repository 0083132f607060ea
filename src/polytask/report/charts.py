"""Curves, bars and matrices: every name on their axes can be read, whatever its length."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from polytask.report.svg import (
    BOTTOM,
    HEIGHT,
    WIDTH,
    Axes,
    Picture,
    colour,
    labelled,
    rect,
    short,
    shortened,
    text,
    text_width,
    ticks,
)

BarGroups = Sequence[tuple[str, Sequence[float]]]
Points = list[tuple[float, float]]

# The room for names beside lying bars or a matrix; longer ones stand above their bars.
MARGIN = 190.0


def curves(series: Mapping[str, Points], ylabel: str,
           dashed: Mapping[str, Points] | None = None) -> Picture:
    """Return curves over updates; `dashed` ones take the colours of their names."""
    points = [point for line in [*series.values(), *(dashed or {}).values()] for point in line]
    axes = Axes((min(x for x, _ in points), max(x for x, _ in points)),
                (min(y for _, y in points), max(y for _, y in points)), "updates", ylabel)
    names = list(series)
    for number, (name, line) in enumerate(series.items()):
        axes.line(line, number, title=name)
    for name, line in (dashed or {}).items():
        axes.line(line, names.index(name) if name in names else len(names), True, f"{name}, train")
    return axes.picture()


def bars(names: Sequence[str], groups: BarGroups, label: str = "", numbers: bool = False) -> Picture:
    """Return bars side by side: one of every group for each name.

    They stand if all names fit below them, else they lie. With `numbers` the names are where bins of
    numbers begin, and some can be left out.
    """
    axes = Axes((0, max(1, len(names))), _bounds(groups), "", label)
    slot = axes.across(1) - axes.across(0)
    widest = max(map(text_width, names), default=0.0) + 4
    if widest > slot and not numbers:
        return _lying(names, groups, label)
    axes.marks, width = [], 0.8 / max(1, len(groups))
    step = max(1, math.ceil(widest / slot))
    for place, name in enumerate(names):
        for number, (group, values) in enumerate(groups):
            start = place + 0.1 + number * width
            axes.box(start, start + width * 0.92, values[place], number,
                     f"{name}, {group}: {short(values[place])}")
        if place % step == 0:
            at = axes.across(place if numbers else place + 0.5)
            axes.marks.append(text(at, HEIGHT - BOTTOM + 15, name))
    return axes.picture()


def _bounds(groups: BarGroups) -> tuple[float, float]:
    """Return the ends of an axis of bars: from 0, with a little room beyond the longest."""
    values = [value for _, group in groups for value in group]
    low, top = min(0.0, *values, 0.0), max(0.0, *values, 0.0)
    return low * 1.05, (top or (1.0 if low == 0 else 0.0)) * 1.05


def _lying(names: Sequence[str], groups: BarGroups, label: str) -> Picture:
    """Return bars that lie, each with its whole name beside it, or above it if names are long."""
    widest, thick = max(map(text_width, names)), 7.0
    above = widest > MARGIN
    left, head = (16.0, 14.0) if above else (widest + 10, 0.0)
    tall = max(16.0, head + thick * len(groups) + (9 if above else 5))
    low, high = _bounds(groups)
    scale = (WIDTH - left - 14) / (high - low)
    top, bottom = 18.0, 18.0 + tall * len(names)
    marks = ticks(low, high)
    parts = []
    for value, mark in zip(marks, labelled(marks), strict=True):
        at = left + (value - low) * scale
        parts.append(f'<path class=grid d="M{at:.1f} {top}V{bottom:g}"/>'
                     + text(at, top - 5, mark) + text(at, bottom + 13, mark))
    for place, name in enumerate(names):
        y = top + tall * place + 2
        start = y + head + (tall - 4 - head - thick * len(groups)) / 2
        parts.append(text(left, y + 12, shortened(name, WIDTH - left - 4), anchor="start") if above
                     else text(left - 6, y + tall / 2 + 2, name, anchor="end"))
        for number, (group, values) in enumerate(groups):
            ends = sorted((left - low * scale, left + (values[place] - low) * scale))
            parts.append(rect(ends[0], start + thick * number, max(0.5, ends[1] - ends[0]), thick - 0.8,
                              f"{name}, {group}: {short(values[place])}", f'fill="{colour(number)}"'))
    parts.append(f'<path class=axis d="M{left - low * scale:.1f} {top}V{bottom:g}"/>')
    if label:
        parts.append(text((left + WIDTH - 14) / 2, bottom + 28, label, "name"))
    return Picture(WIDTH, bottom + (34 if label else 18), "".join(parts))


def heat(rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float]],
         texts: Sequence[Sequence[str]] | None = None, cell: float = 44.0, diverging: bool = False,
         name_all: bool = False) -> Picture:
    """Return a matrix of coloured cells: 0 to 1, or -1 to 1 if it is diverging.

    With `texts` or `name_all` every column is named, by names that lean if they are wide; else some are.
    """
    beside, over = ([shortened(name, MARGIN) for name in names] for names in (rows, columns))
    left = 14.0 + max(map(text_width, beside), default=0.0)
    widest, across = max(map(text_width, over), default=0.0), cell * len(columns)
    leaning = (texts is not None or name_all) and widest > cell - 3
    top, right = (16 + 0.87 * widest, 0.5 * widest) if leaning else (22.0, 0.0)
    parts = []
    for place, name in enumerate(rows):
        y = top + cell * place
        parts.append(text(left - 6, y + cell / 2 + 3.5, beside[place], anchor="end"))
        for at, value in enumerate(values[place]):
            share = 0.0 if not math.isfinite(value) else min(1.0, abs(value))
            share = math.sqrt(share) if diverging else share  # small cosines must be visible, too
            fill = "var(--c1)" if diverging and value < 0 else "var(--c0)"
            label = texts[place][at] if texts else ""
            parts.append(rect(left + cell * at, y, cell - 1, cell - 1,
                              f"{name}, {columns[at]}: {label or f'{value:.3f}'}",
                              f'fill="{fill}" fill-opacity={share:.3f} class=cell'))
            if label and cell >= 30:
                parts.append(text(left + cell * (at + 0.5), y + cell / 2 + 3.5, label,
                                  "on" if share > 0.55 else "mark"))
    step = 1 if leaning else max(1, math.ceil((widest + 6) / cell))
    for at, name in list(enumerate(over))[::step]:
        x = left + cell * (at + 0.5)
        parts.append(f'<g transform="rotate(-60 {x:.1f} {top - 6:.1f})">'
                     f'{text(x, top - 6, name, anchor="start")}</g>' if leaning else text(x, 15, name))
    return Picture(left + across + right + 6, top + 4 + cell * len(rows), "".join(parts))
