"""A figure read back: the values that its points, bars and cells have on its own axes.

A pixel is turned into a number by the numbers that the axes show, so that a curve on the wrong axis, or
an axis with wrong numbers, gives other values.
"""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, fromstring

import numpy as np

from polytask.report.svg import Figure

SVG = "{http://www.w3.org/2000/svg}"
Points = list[tuple[float, float]]


class Drawing:
    """The elements of a figure, and its axes if it has any."""

    def __init__(self, figure: Figure) -> None:
        body = fromstring(figure.file()).find(f"{SVG}g")
        assert body is not None
        self.body: Element = body
        self.upright = [each for each in self.body.findall(f"{SVG}text") if "transform" not in each.attrib]

    def texts(self) -> set[str]:
        return {each.text or "" for each in self.body.iter(f"{SVG}text")}

    def titles(self) -> tuple[str, str]:
        """Return what stands below the horizontal axis and beside the upright one."""
        (across,) = (each.text for each in self.upright if each.get("class") == "name")
        (down,) = (each.text for each in self.body.findall(f"{SVG}text") if "transform" in each.attrib)
        return str(across), str(down)

    def across(self, x: float) -> float:
        return self._value(x, "x", "middle", 0.0)

    def down(self, y: float) -> float:
        return self._value(y, "y", "end", 3.5)

    def height(self, box: Element) -> float:
        """Return the value of a standing bar, which begins at 0."""
        top = float(box.attrib["y"])
        assert abs(self.down(top + float(box.attrib["height"]))) < 0.01
        return self.down(top)

    def _value(self, at: float, way: str, anchor: str, shift: float) -> float:
        marks = [(float(each.attrib[way]) - shift, float(str(each.text).replace(",", "")))
                 for each in self.upright
                 if each.get("class") == "tick" and each.get("text-anchor") == anchor]
        slope, start = np.polyfit(*zip(*marks, strict=True), 1)
        return float(slope * at + start)

    def lines(self) -> dict[tuple[str, bool], Points]:
        """Return (title, whether it is dashed) → the points of each curve."""
        found = {}
        for group in self.body.findall(f"{SVG}g"):
            line = group.find(f"{SVG}polyline")
            if line is not None:
                pixels = [pair.split(",") for pair in line.attrib["points"].split()]
                found[group.findtext(f"{SVG}title", ""), "stroke-dasharray" in line.attrib] = [
                    (self.across(float(x)), self.down(float(y))) for x, y in pixels]
        return found

    def dots(self) -> list[Points]:
        """Return the dots of each colour, in the order of the colours."""
        return [self._points(each) for each in self.body.findall(f"{SVG}path[@class='dots']")]

    def rules(self) -> list[Points]:
        """Return the ends of each line of reference."""
        return [self._points(each) for each in self.body.findall(f"{SVG}path[@class='rule']")]

    def _points(self, path: Element) -> Points:
        return [(self.across(float(x)), self.down(float(y)))
                for x, y in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path.attrib["d"])]

    def boxes(self) -> list[Element]:
        return self.body.findall(f"{SVG}rect")

    def under(self, x: float) -> str:
        """Return the name below a bar."""
        names = [each for each in self.upright
                 if each.get("class") == "tick" and each.get("text-anchor") == "middle"]
        return str(min(names, key=lambda each: abs(float(each.attrib["x"]) - x)).text)

    def cells(self) -> dict[tuple[str, str], float]:
        """Return (row, column) → the opacity of each cell of a matrix, by the names beside and above it."""
        beside = {float(each.attrib["y"]): str(each.text) for each in self.upright
                  if each.get("text-anchor") == "end"}
        above = {float(each.attrib["x"]): str(each.text) for each in self.body.iter(f"{SVG}text")
                 if each.get("class") == "tick" and each.get("text-anchor") != "end"}
        found = {}
        for box in self.boxes():
            x, y, size = (float(box.attrib[key]) for key in ("x", "y", "width"))
            row = beside[min(beside, key=lambda at: abs(at - y - size / 2))]
            column = above[min(above, key=lambda at: abs(at - x - size / 2))]
            found[row, column] = float(box.attrib["fill-opacity"])
        return found


def near(found: Points, wanted: Points) -> bool:
    """Return whether points are the same but for what a tenth of a pixel is worth."""
    return len(found) == len(wanted) and bool(np.allclose(found, wanted, rtol=0, atol=_pixel(wanted)))


def _pixel(points: Points) -> float:
    return 0.003 * max(1e-9, *(max(column) - min(column) for column in zip(*points, strict=True)))
