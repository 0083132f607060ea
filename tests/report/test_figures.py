"""The figures of the report: every name and number on an axis can be read, and says what is drawn."""

from __future__ import annotations

import re
from html import unescape
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from polytask.data.labels import Labels
from polytask.evaluation.predictions import Predictions
from polytask.report import charts, svg
from polytask.report.plots import run_figures
from polytask.report.record import RunRecord, TaskRecord
from polytask.report.sections.errors import MOST, MOST_OF_TASK, shares
from polytask.report.sections.labels import BARS, label_figures, reliabilities
from polytask.training.artifacts import histogram

WORDS = ("card", "balance_of_the_account", "lost", "currency_exchange", "Ünïcode", "銀行", "transfer")
LONG = [f"{WORDS[n % 7]}_{WORDS[n % 5]}_{WORDS[n % 3]}_{n}" for n in range(50)]


def texts(picture: str) -> list[tuple[str, float, float, float, bool]]:
    """Return the texts of a picture that stand upright: what, left, right, line; whether it is a title."""
    upright = re.sub(r"<g transform.*?</g>|<text[^>]*transform.*?</text>", "", picture)
    made = []
    for name, x, y, anchor, said in re.findall(
            r'<text class="(\w+)" x=([-\d.]+) y=([-\d.]+) text-anchor=(\w+)>(.*?)</text>', upright):
        size = svg.text_width(unescape(said))
        left = float(x) - {"start": 0.0, "middle": size / 2, "end": size}[anchor]
        made.append((unescape(said), left, left + size, float(y), name == "name"))
    return made


def check_legible(picture: str) -> list[str]:
    """Check that no upright text leaves the picture or lies on another; return the texts."""
    found = texts(picture)
    size = re.search(r'viewBox="-1 -1 ([\d.]+) ([\d.]+)"', picture)
    assert size is not None
    for said, left, right, y, _ in found:
        assert left >= -1 and right <= float(size[1]) and y <= float(size[2]), said
    lines: dict[float, list[tuple[float, float, str]]] = {}
    for said, left, right, y, _ in found:
        lines.setdefault(y, []).append((left, right, said))
    for held in lines.values():
        held.sort()
        for (_, end, one), (start, _, other) in pairwise(held):
            assert end <= start, (one, other)
    heights = sorted(lines)
    assert all(b - a > 6 for a, b in pairwise(heights)
               if {x[2] for x in lines[a]} & {*LONG} and {x[2] for x in lines[b]} & {*LONG})
    return [said for said, *_ in found]


@pytest.mark.parametrize("names", [LONG, LONG[:13], [f"c{n}" for n in range(50)], ["a", "b"],
                                   [f"class<i>{n:02}😀" for n in range(50)]])
@pytest.mark.parametrize("groups", [1, 2, 3])
def test_every_name_under_bars_can_be_read(names: list[str], groups: int) -> None:
    values = np.linspace(0.01, 0.5, len(names)).tolist()
    splits = [(f"split {n}", values) for n in range(groups)]
    said = check_legible(str(charts.bars(names, splits, "share of rows")))
    assert {svg.shortened(name, 440) for name in names} <= {*said}  # all, of the longest both ends
    assert len({svg.shortened(name, 440) for name in names}) == len(names)


def test_bars_below_zero_lie_on_the_other_side() -> None:
    picture = str(charts.bars(LONG[:6], [("gain", [-0.2, 0.1, 0.0, 0.3, -0.1, 0.2])]))
    check_legible(picture)
    zero = float(re.findall(r'class=axis d="M([\d.]+)', picture)[0])
    starts = [float(x) for x in re.findall(r"<rect x=([\d.]+)", picture)]
    assert [x < zero - 1 for x in starts] == [True, False, False, False, True, False]


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 12345.0), (0.0, 5.0), (0.001, 0.002)])
def test_bins_of_numbers_are_thinned(low: float, high: float) -> None:
    names = [f"{low + (high - low) / 20 * n:g}" for n in range(20)]
    groups = [(split, [0.05] * 20) for split in ("train", "dev", "test")]
    said = check_legible(str(charts.bars(names, groups, "share of rows", numbers=True)))
    assert names[0] in said


def test_very_many_labels_are_folded_and_none_is_lost() -> None:
    names = [f"label {n}" for n in range(BARS + 90)]
    values = [float(n) for n in range(len(names))]
    often, rare = label_figures(names, [("train", values)], "", values, "x")
    assert {name for name, *_ in texts(str(often.picture))} >= {*names[90:]}
    assert {name for name, *_ in texts(str(rare.picture))} >= {*names[:90]}
    assert "the other 90 labels" in rare.caption


def test_the_names_of_a_matrix_can_be_read() -> None:
    names, shares = LONG[:14], [[0.5] * 14] * 14
    picture = str(charts.heat(names, names, shares, [["12"] * 14] * 14, 34.0))
    check_legible(picture)
    leaning = re.findall(r"<g transform=\"rotate\(-60 [\d.]+ ([\d.]+)\)\"><text[^>]*>(.*?)</text>", picture)
    assert [unescape(said) for _, said in leaning] == [svg.shortened(name, charts.MARGIN) for name in names]
    # None leaves the top.
    assert all(0.87 * svg.text_width(unescape(said)) < float(y) for y, said in leaning)
    steps = [str(n * 250) for n in range(40)]
    check_legible(str(charts.heat(["sst/quora"], steps, [[0.1] * 40], cell=18.0, diverging=True)))


@pytest.mark.parametrize("bounds", [(0.99955, 1.0005), (0.3675, 0.3788), (0, 1), (-123456, 123456),
                                    (0, 5e-9), (-0.5, -0.4999), (0, 1e12)])
def test_titles_of_axes_stand_beside_the_numbers(bounds: tuple[float, float]) -> None:
    picture = str(svg.Axes(bounds, bounds, "updates", "score").picture())
    check_legible(picture)
    assert "rotate(-90 11" in picture  # its letters reach from 2 to 14
    assert all(left > 14 for _, left, _, _, title in texts(picture) if not title)


def test_a_long_name_keeps_its_beginning_and_its_end() -> None:
    said = svg.shortened("balance_of_the_account_of_a_customer_17", 120)
    assert said.startswith("balance") and said.endswith("17") and svg.text_width(said) <= 120
    assert svg.shortened("short", 120) == "short"
    assert svg.shortened("銀" * 5000, 60) == "銀銀…銀"


def run_of(labels: Labels, predictions: Predictions) -> RunRecord:
    task = TaskRecord("imb", {}, labels, {"dev": predictions})
    return RunRecord(Path("run"), {}, [], {"dev": {}}, {}, {"imb": task}, {}, {})


@pytest.mark.parametrize(("labels", "said"), [
    (Labels("binary", ("common", "rare")), 'share with label "rare"'),
    (Labels("classes", ("common", "rare", "none")), "share that is right")])
def test_reliability_says_what_is_drawn(labels: Labels, said: str) -> None:
    """All rows are "common" and are taken for it: none has the label "rare", and all are right."""
    predictions = Predictions([("a",)] * 9, ["1"] * 9, ["common"] * 9, ["common"] * 9, np.full(9, 0.2))
    run = run_of(labels, predictions)
    page = unescape(reliabilities(run))
    assert said in page and ("share that is right" in page) == (said == "share that is right")
    assert said in unescape(dict(run_figures(run))["imb-reliability"].file())


def test_figures_of_many_classes_have_all_their_names() -> None:
    names = tuple(name.replace("銀行", "bank") for name in LONG)
    predictions = Predictions([("a",)] * 50, ["1"] * 50, list(names), list(names), np.full(50, 0.2))
    run = run_of(Labels("classes", names), predictions)
    run.tasks["imb"].histograms = {"train": {"counts": [2] * 50}, "dev": {"counts": [1] * 50}}
    figures = dict(run_figures(run))
    for which in ("imb-labels", "imb-distribution"):
        check_legible(str(figures[which].picture))
        drawn = ElementTree.fromstring(figures[which].file())
        written = {each.text for each in drawn.iter("{http://www.w3.org/2000/svg}text")}
        assert {svg.shortened(name, 440) for name in names} <= written


@pytest.mark.parametrize("sizes", [[70] + [1] * 40, [5000] * 41, [5000, 3], [0], [149, 150, 151], [2000],
                                   [10] * 30 + [400] * 11])
def test_what_small_categories_leave_goes_to_the_others(sizes: list[int]) -> None:
    kept = shares(sizes)
    assert all(held <= min(size, MOST) for held, size in zip(kept, sizes, strict=True))
    assert sum(kept) == min(MOST_OF_TASK, sum(min(size, MOST) for size in sizes))
    less = [held for held, size in zip(kept, sizes, strict=True) if held < min(size, MOST)]
    assert not less or max(kept) - min(less) <= 1  # none has much while another has less


def test_no_number_is_lost_from_a_histogram() -> None:
    labels = Labels("regression", (), -1.0, 1.2)
    targets = labels.scaled(np.array([-1.0, 0.0, 1.2, 1.2]))
    assert labels.unscaled(targets).max() > 1.2  # by a rounding
    found = histogram(labels, targets)
    assert found is not None and sum(found["counts"]) == 4 and found["counts"][-1] == 2
    assert histogram(Labels("classes", ("a", "b", "c")), np.array([0, 2, 2])) == {"counts": [1, 0, 2]}
    assert histogram(labels, None) is None
