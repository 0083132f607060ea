"""Small figures as SVG. Colours are the page's variables, so that they follow light and dark."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

Series = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 460.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 54.0, 12.0, 10.0, 34.0
NUM_COLOURS = 8
# Points of a curve beyond which neighbours are averaged, dots of a scatter beyond which some are left out.
MOST_POINTS, MOST_DOTS = 200, 3000


@dataclass(frozen=True)
class Picture:
    """A drawing; printed, it is an inline SVG for the page."""

    width: float
    height: float
    body: str

    def __str__(self) -> str:
        """Return an SVG that shrinks with the page while its letters can be read, and then scrolls."""
        least = min(self.width, max(300.0, 0.7 * self.width))
        return (f'<svg viewBox="-1 -1 {self.width + 2:g} {self.height + 2:g}" role=img '
                f'style="max-width:{self.width:g}px;min-width:{least:g}px">{self.body}</svg>')


def colour(number: int) -> str:
    """Return the variable of the n-th colour."""
    return f"var(--c{number % NUM_COLOURS})"


def short(value: float) -> str:
    """Return a number as an axis shows it."""
    if value == 0:
        return "0"
    if abs(value) >= 10000 or abs(value) < 0.001:
        return f"{value:.0e}".replace("e+0", "e").replace("e-0", "e-")
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def labelled(values: Sequence[float]) -> list[str]:
    """Return evenly spaced numbers as an axis shows them: with as many digits as tell them apart."""
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


def text_width(line: str) -> float:
    """Return about how many pixels a line of text takes, in the widest of the usual fonts (DejaVu Sans)."""
    return sum(map(_letter_width, line))


def _letter_width(letter: str) -> float:
    if unicodedata.category(letter) in ("Mn", "Cf"):  # an accent, or a joint between letters
        return 0.0
    if unicodedata.east_asian_width(letter) in "WF":
        return 14.0
    return 4.0 if letter in "ijlt.,:;'|!()[] " else 10.5 if letter in "mwMW@%" else 7.0 + letter.isupper()


def shortened(line: str, room: float) -> str:
    """Return a text that takes at most `room` pixels: a long one keeps its beginning and its end."""
    if text_width(line) <= room:
        return line
    for kept in range(min(len(line) - 1, int(room)), 1, -1):
        tail = kept // 3
        candidate = f"{line[:kept - tail]}…{line[len(line) - tail:]}"
        if text_width(candidate) <= room:
            return candidate
    return "…"


def text(x: float, y: float, line: str, name: str = "tick", anchor: str = "middle") -> str:
    """Return a line of text; `name` is its class in the page's style."""
    return f'<text class="{name}" x={x:.1f} y={y:.1f} text-anchor={anchor}>{escape(line)}</text>'


def rect(x: float, y: float, width: float, height: float, title: str, attributes: str) -> str:
    """Return a box that shows `title` under the pointer."""
    return (f'<rect x={x:.1f} y={y:.1f} width={width:.1f} height={height:.1f} {attributes}>'
            f"<title>{escape(title)}</title></rect>")


class Axes:
    """A frame that maps numbers to the picture and draws its axes."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], xlabel: str = "", ylabel: str = "",
                 width: float = WIDTH, height: float = HEIGHT) -> None:
        self.x, self.y = _widened(x), _widened(y)
        self.width, self.height = width, height
        self.parts: list[str] = []
        rows, columns = (list(zip(values, labelled(values), strict=True))
                         for values in (ticks(*self.y), ticks(*self.x)))
        # The numbers of the axes get the room that they need beside the rotated title, and at the right.
        self.left = max(LEFT, (16 if ylabel else 2) + max(text_width(label) for _, label in rows) + 6)
        self.right = max(RIGHT, text_width(columns[-1][1]) / 2)
        for value, label in rows:
            at = self.down(value)
            self.parts.append(f'<path class=grid d="M{self.left:g} {at:.1f}H{width - self.right:g}"/>'
                              + text(self.left - 6, at + 3.5, label, anchor="end"))
        step = math.ceil(len(columns) * (6 + max(text_width(label) for _, label in columns))
                         / (width - self.left - self.right))
        self.marks = [text(self.across(value), height - BOTTOM + 15, label)
                      for value, label in columns[::step]]
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
        """Add a curve; neighbours are averaged if there are many points, few get dots if `marked`."""
        places = [(self.across(x), self.down(y)) for x, y in thinned(points) if math.isfinite(y)]
        if not places:
            return
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(f'<g><title>{escape(title)}</title><polyline class=line points="{path}" '
                          f'stroke="{colour(number)}"{dash}/>')
        if marked and len(places) <= 20:
            self.parts += [f'<circle cx={x:.1f} cy={y:.1f} r=2.6 fill="{colour(number)}"/>'
                           for x, y in places]
        self.parts.append("</g>")

    def dots(self, points: Series, number: int, radius: float = 2.2) -> None:
        """Add dots; of very many an even share."""
        step = max(1, math.ceil(len(points) / MOST_DOTS))
        path = "".join(f"M{self.across(x):.1f} {self.down(y):.1f}h0" for x, y in points[::step])
        self.parts.append(f'<path class=dots d="{path}" stroke="{colour(number)}" '
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

    def picture(self) -> Picture:
        return Picture(self.width, self.height, "".join(self.parts + self.marks))


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


# What the page's style gives a picture, for one that leaves the page: its light colours, and rules.
_LIGHT = {"ink": "#1c2024", "soft": "#5c6670", "card": "#f6f8f9", "paper": "#ffffff", "rule": "#dde2e6",
          "good": "#00704f", "bad": "#b3400a", "c0": "#0072b2", "c1": "#d55e00", "c2": "#009e73",
          "c3": "#cc79a7", "c4": "#b07d00", "c5": "#3a9bd9", "c6": "#7a6fbe", "c7": "#7d858c"}
_RULES = ("svg{font-family:system-ui,sans-serif;font-size:11px}text{fill:var(--soft)}"
          ".title{fill:var(--ink);font-weight:600}.mark{fill:var(--ink)}.on{fill:var(--paper)}"
          ".grid{stroke:var(--rule);fill:none}.axis,.join{stroke:var(--soft);fill:none}"
          ".line{fill:none;stroke-width:1.8;stroke-linejoin:round}"
          ".dots{fill:none;stroke-linecap:round;stroke-opacity:.45}"
          ".rule{stroke:var(--soft);stroke-dasharray:4 4;fill:none}"
          ".cell{stroke:var(--rule);stroke-width:.5}"
          ".part{fill:var(--card);stroke:var(--c0)}")
_LINE = 15.0


@dataclass(frozen=True)
class Figure:
    """A picture with its caption and the names of its colours, for the page or as a file of its own."""

    picture: Picture
    caption: str
    names: tuple[str, ...] = ()

    def file(self) -> str:
        """Return an SVG file: XML, with its style, its caption above and its legend below the picture."""
        width = max(self.picture.width, 300.0)
        caption = _wrapped(self.caption.split(" "), width)
        parts = [text(0, _LINE * row, line, "title", "start") for row, line in enumerate(caption, 1)]
        top = _LINE * len(caption) + 8
        parts.append(f'<g transform="translate(0 {top:g})">{self.picture.body}</g>')
        bottom = top + self.picture.height + 6
        x = 0.0
        for number, name in enumerate(self.names):
            label = shortened(name, width - 20)
            if x and x + 20 + text_width(label) > width:
                x, bottom = 0.0, bottom + _LINE
            parts.append(f'<rect x={x:.1f} y={bottom + 4:.1f} width=14 height=4 fill="{colour(number)}"/>'
                         + text(x + 18, bottom + 10, label, anchor="start"))
            x += 34 + text_width(label)
        height = bottom + (_LINE if self.names else 0)
        return _as_xml(width + 2, height + 2, "".join(parts))


def _wrapped(words: Sequence[str], width: float) -> list[str]:
    lines = [""]
    for word in words:
        line = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and text_width(line) > width:
            lines.append(word)
        else:
            lines[-1] = line
    return [shortened(line, width) for line in lines if line]


def _as_xml(width: float, height: float, body: str) -> str:
    """Return a drawing as XML: attributes are quoted, and colours stand for the page's variables."""
    def quoted(tag: re.Match[str]) -> str:
        return re.sub(r"\s([\w-]+)=([\w.-]+)", r' \1="\2"', tag[0])

    svg = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-1 -1 {width:g} {height:g}" '
           f'width="{width:g}" height="{height:g}"><style>{_RULES}</style>'
           f'<rect x="-1" y="-1" width="{width:g}" height="{height:g}" fill="#fff"/>'
           f'{re.sub("<[^>]*>", quoted, body)}</svg>\n')
    return re.sub(r"var\(--(\w+)\)", lambda name: _LIGHT.get(name[1], name[0]), _without_controls(svg))


def _without_controls(svg: str) -> str:
    """Return a text without the characters that XML forbids."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]", "\ufffd", svg)
