"""Small figures as inline SVG. Colours are the page's variables, so that they follow light and dark."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from html import escape
from itertools import pairwise

Series = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 460.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 54.0, 12.0, 10.0, 34.0
NUM_COLOURS = 8
# Points of a curve beyond which neighbours are averaged, dots of a scatter beyond which some are left out.
MOST_POINTS, MOST_DOTS = 200, 3000


def colour(number: int) -> str:
    """Return the variable of the n-th colour."""
    return f"var(--c{number % NUM_COLOURS})"


def short(value: float) -> str:
    """Return a number as an axis tells it."""
    if value == 0:
        return "0"
    if abs(value) >= 10000 or abs(value) < 0.001:
        return f"{value:.0e}".replace("e+0", "e").replace("e-0", "e-")
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def labelled(values: Sequence[float]) -> list[str]:
    """Return evenly spaced numbers as an axis tells them: with the digits that tell them apart."""
    step = min((abs(b - a) for a, b in pairwise(values)), default=0.0)
    if not 1e-6 < step < 1e5 or max(map(abs, values)) >= 1e6:
        return [short(value) for value in values]
    digits = next(n for n in range(8) if abs(round(step, n) - step) < step * 1e-3)
    return [f"{value + 0.0:,.{digits}f}" for value in values]


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Return round numbers between low and high, about `wanted` of them."""
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return [low]
    raw = span / wanted
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(scale * m for m in (1, 2, 2.5, 5, 10) if scale * m >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def wide(said: str) -> float:
    """Return about how many pixels a line of text takes, in the widest of the usual fonts (DejaVu Sans)."""
    return sum(map(_letter, said))


def _letter(letter: str) -> float:
    if unicodedata.category(letter) in ("Mn", "Cf"):  # an accent upon, or a joint between letters
        return 0.0
    if unicodedata.east_asian_width(letter) in "WF":
        return 14.0
    return 4.0 if letter in "ijlt.,:;'|!()[] " else 10.5 if letter in "mwMW@%" else 7.0 + letter.isupper()


def shortened(said: str, room: float) -> str:
    """Return a text that takes at most `room` pixels: of a long one its beginning and its end."""
    if wide(said) <= room:
        return said
    for kept in range(min(len(said) - 1, int(room)), 1, -1):
        tail = kept // 3
        made = f"{said[:kept - tail]}…{said[len(said) - tail:]}"
        if wide(made) <= room:
            return made
    return "…"


def text(x: float, y: float, said: str, name: str = "tick", anchor: str = "middle") -> str:
    """Return a line of text."""
    return f'<text class="{name}" x={x:.1f} y={y:.1f} text-anchor={anchor}>{escape(said)}</text>'


def rect(x: float, y: float, width: float, height: float, title: str, more: str) -> str:
    """Return a box that tells `title` under the pointer."""
    return (f'<rect x={x:.1f} y={y:.1f} width={width:.1f} height={height:.1f} {more}>'
            f"<title>{escape(title)}</title></rect>")


class Axes:
    """A frame that maps numbers to the picture and draws its axes."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], xlabel: str = "", ylabel: str = "",
                 width: float = WIDTH, height: float = HEIGHT) -> None:
        self.x, self.y = _widened(x), _widened(y)
        self.width, self.height = width, height
        self.parts: list[str] = []
        rows, columns = (list(zip(found, labelled(found), strict=True))
                         for found in (ticks(*self.y), ticks(*self.x)))
        # The numbers of the axes have the room that they need beside the rotated title, and at the right.
        self.left = max(LEFT, (16 if ylabel else 2) + max(wide(said) for _, said in rows) + 6)
        self.right = max(RIGHT, wide(columns[-1][1]) / 2)
        for value, said in rows:
            at = self.down(value)
            self.parts.append(f'<path class=grid d="M{self.left:g} {at:.1f}H{width - self.right:g}"/>'
                              + text(self.left - 6, at + 3.5, said, anchor="end"))
        step = math.ceil(len(columns) * (6 + max(wide(said) for _, said in columns))
                         / (width - self.left - self.right))
        self.marks = [text(self.across(value), height - BOTTOM + 15, said)
                      for value, said in columns[::step]]
        self.parts.append(f'<path class=axis d="M{self.left:g} {height - BOTTOM}H{width - self.right:g}"/>')
        if xlabel:
            middle = (self.left + width - self.right) / 2
            self.parts.append(text(middle, height - 4, xlabel, "name"))
        if ylabel:
            middle = (TOP + height - BOTTOM) / 2
            self.parts.append(f'<text class=name transform="rotate(-90 11 {middle})" x=11 y={middle} '
                              f'text-anchor=middle>{escape(ylabel)}</text>')

    def across(self, value: float) -> float:
        low, high = self.x
        return self.left + (value - low) / (high - low) * (self.width - self.left - self.right)

    def down(self, value: float) -> float:
        low, high = self.y
        return self.height - BOTTOM - (value - low) / (high - low) * (self.height - TOP - BOTTOM)

    def line(self, points: Series, number: int, dashed: bool = False, title: str = "",
             marked: bool = True) -> None:
        """Add a curve; of many points neighbours are averaged, few of them are `marked` with dots."""
        held = [(self.across(x), self.down(y)) for x, y in thinned(points) if math.isfinite(y)]
        if not held:
            return
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in held)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(f'<g><title>{escape(title)}</title><polyline class=line points="{path}" '
                          f'stroke="{colour(number)}"{dash}/>')
        if marked and len(held) <= 20:
            self.parts += [f'<circle cx={x:.1f} cy={y:.1f} r=2.6 fill="{colour(number)}"/>'
                           for x, y in held]
        self.parts.append("</g>")

    def dots(self, points: Series, number: int, radius: float = 2.2) -> None:
        """Add dots; of very many an even share."""
        step = max(1, math.ceil(len(points) / MOST_DOTS))
        made = "".join(f"M{self.across(x):.1f} {self.down(y):.1f}h0" for x, y in points[::step])
        self.parts.append(f'<path class=dots d="{made}" stroke="{colour(number)}" '
                          f"stroke-width={2 * radius} />")

    def rule(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Add a dashed line of reference."""
        (x0, y0), (x1, y1) = start, end
        self.parts.append(f'<path class=rule d="M{self.across(x0):.1f} {self.down(y0):.1f}'
                          f'L{self.across(x1):.1f} {self.down(y1):.1f}"/>')

    def box(self, low: float, high: float, value: float, number: int, title: str) -> None:
        """Add a bar from 0 to `value` between two places of the x axis."""
        x0, x1, top = self.across(low), self.across(high), self.down(value)
        floor = self.down(max(0.0, self.y[0]))
        self.parts.append(rect(x0, min(top, floor), max(0.5, x1 - x0), abs(floor - top), title,
                               f'fill="{colour(number)}"'))

    def __str__(self) -> str:
        return picture(self.width, self.height, "".join(self.parts + self.marks))


def thinned(points: Series, most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """Return at most `most` points, each the mean of its neighbours."""
    size = math.ceil(len(points) / most)
    if size <= 1:
        return list(points)
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part))
            for part in (points[n:n + size] for n in range(0, len(points), size))]


def _widened(bounds: tuple[float, float]) -> tuple[float, float]:
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high)):
        return 0.0, 1.0
    return (low - 0.5, high + 0.5) if low == high else (low, high)


def picture(width: float, height: float, body: str) -> str:
    """Return an SVG that shrinks with the page as far as its letters can be read; then it scrolls."""
    least = min(width, max(300.0, 0.7 * width))
    return (f'<svg viewBox="-1 -1 {width + 2:g} {height + 2:g}" role=img '
            f'style="max-width:{width:g}px;min-width:{least:g}px">{body}</svg>')


# What the page's style gives a picture, for one that leaves the page: its light colours, and rules.
_LIGHT = {"ink": "#1c2024", "soft": "#5c6670", "card": "#f6f8f9", "c0": "#0072b2", "c1": "#d55e00",
          "c2": "#009e73", "c3": "#cc79a7", "c4": "#b07d00", "c5": "#3a9bd9", "c6": "#7a6fbe",
          "c7": "#7d858c"}
_RULES = ("svg{background:#fff;font:11px system-ui,sans-serif}text{fill:var(--soft)}"
          ".title{fill:var(--ink);font-weight:600}.part{fill:var(--card)}.join{stroke:var(--soft);fill:none}")


def standing_alone(picture: str) -> str:
    """Return the drawing of a model as a file of its own: XML, with its style in it."""
    def quoted(tag: re.Match[str]) -> str:
        return re.sub(r"\s([\w-]+)=([\w.-]+)", r' \1="\2"', tag[0])

    head, _, rest = re.sub("<[^>]*>", quoted, picture).partition(">")
    made = f'{head} xmlns="http://www.w3.org/2000/svg"><style>{_RULES}</style>{rest}\n'
    return re.sub(r"var\(--(\w+)\)", lambda name: _LIGHT[name[1]], made)
