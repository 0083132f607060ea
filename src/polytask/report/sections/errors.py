"""Where a model is wrong: lists of errors, slices of the rows, rows that occur in two splits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from polytask.data.labels import Labels
from polytask.evaluation.predictions import Predictions
from polytask.report.analysis import slices
from polytask.report.error_categories import errors
from polytask.report.record import RunRecord
from polytask.report.sections.contract import by_task, note, section, soft, table

# These bound the page: errors listed per category and per task, bytes of their texts in all and of one.
MOST, MOST_OF_TASK, ROOM, LONGEST = 150, 2000, 4_000_000, 2000

COLUMNS = (("category", ""), ("true", "t"), ("predicted", "p"), ("score", "s"), ("text", "w"))


@section("errors", "Errors", 100)
def listed(run: RunRecord) -> str:
    """List the errors in the reports' categories, to filter, search and sort (T-38 to T-40, P-28)."""
    parts = []
    for number, task in enumerate(run.tasks.values()):
        if task.dev is None or task.labels is None:
            parts.append((task.name, note(run.no_dev(task))))
        else:
            parts.append((task.name, _list(task.dev, task.labels, number, ROOM // len(run.tasks))))
    return by_task(parts, named=True)


def _list(dev: Predictions, labels: Labels, number: int, room: int) -> str:
    """Return the list of a task's errors, whose texts take at most `room` bytes."""
    categories = errors(dev, labels)
    total = sum(len(category.rows) for category in categories)
    if not total:
        return soft(f"None of {len(dev):,} rows is wrong.")
    rows: list[dict[str, Any]] = []
    kept = shares([len(category.rows) for category in categories])
    texts = sum(kept) * len(dev.texts[0])
    longest = min(LONGEST, room // max(1, texts))
    for place, (category, most) in enumerate(zip(categories, kept, strict=True)):
        for row in category.rows[:most]:
            score = float(dev.scores[row]) if row < len(dev.scores) else float("nan")
            rows.append({"c": place, "t": dev.true[row], "p": dev.predicted[row],
                         "s": score if score == score else None,
                         "x": [_cut(text, longest) for text in dev.texts[row]]})
    data = {"kinds": [category.name for category in categories], "rows": rows}
    capped = [f"{most} of {len(category.rows):,} {category.name}"
              for category, most in zip(categories, kept, strict=True) if most < len(category.rows)]
    options = "".join(f'<option value="{place}">{escape(category.name)} ({len(category.rows):,})</option>'
                      for place, category in enumerate(categories))
    heads = "".join(f'<th><button data-key="{key}">{name}</button></th>' if key else f"<th>{name}</th>"
                    for name, key in COLUMNS)
    cap = f" Of many, only the worst are listed: {', '.join(capped)}." if capped else ""
    return (soft(f"{total:,} of {len(dev):,} rows.{cap}")
            + f'<div data-errors="errors-{number}"><div class=tools>'
            f'<label>category <select><option value="">all</option>{options}</select></label>'
            '<label>search <input type=search placeholder="words of the text"></label>'
            '<span class="soft count"></span></div>'
            f"<div class=wide><table><thead><tr>{heads}</tr></thead><tbody></tbody></table></div>"
            "<button class='more next'>show more</button></div>"
            + embedded(f"errors-{number}", data))


def shares(sizes: Sequence[int], most: int = MOST, total: int = MOST_OF_TASK) -> list[int]:
    """Return how many errors of each category are listed; room that small ones leave goes to the others."""
    kept, room = [0] * len(sizes), total
    smallest_first = sorted(range(len(sizes)), key=sizes.__getitem__)
    for done, place in enumerate(smallest_first):
        kept[place] = min(sizes[place], most, room // (len(sizes) - done))
        room -= kept[place]
    return kept


def _cut(text: str, longest: int) -> str:
    """Return a text cut where it would take more than `longest` bytes of the page."""
    cut = text[:longest]
    size = len(_escaped(cut).encode())
    if size > longest:
        cut = cut[: longest * longest // size]
    return text if len(cut) == len(text) else f"{cut}… ({len(text):,} characters)"


def _escaped(data: Any) -> str:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def embedded(id: str, data: Any) -> str:
    """Return data for the page's script; nothing in it can end the element around it."""
    return f'<script type="application/json" id="{id}">{_escaped(data)}</script>'


@section("slices", "Slices", 110)
def sliced(run: RunRecord) -> str:
    """Show the score of parts of the rows: by length, shared words, truncation."""
    parts = []
    for task in run.tasks.values():
        if task.dev is None or task.labels is None:
            parts.append((task.name, note(run.no_dev(task))))
            continue
        what = "mean absolute error" if task.labels.is_regression else "accuracy"
        html = table(["rows with", "rows", what],
                     [[part.what, f"{part.rows:,}", f"{part.score:.3f}"]
                      for part in slices(task.dev, task.labels, task.cut)])
        if run.artifacts and not task.cut:
            html += soft("No dev row was cut at the maximum length.")
        parts.append((task.name, html))
    return by_task(parts, named=True)


@section("overlaps", "Rows in two places", 120)
def in_two_places(run: RunRecord) -> str:
    """Show rows that occur, as they are or nearly so, in two splits or two tasks."""
    kept = run.artifacts.get("overlaps")
    if not kept:
        return note(f"{run.no_artifacts('Overlaps between splits are kept')} `polytask check` shows them.")
    if "left_out" in kept:
        return note(kept["left_out"])
    overlaps = [overlap for task in kept["tasks"].values() for overlap in task] + kept["across"]
    if not overlaps:
        return soft("No row of one split occurs in another, exactly or nearly.")
    rows = [[f"{overlap['rows']:,}", overlap["here"], overlap["there"],
             "nearly the same" if overlap["nearly"] else "the same",
             ", ".join(f"{a} = {b}" for a, b in overlap["examples"][:3])] for overlap in overlaps]
    pairs = [[overlap["here"], _joined(here), overlap["there"], _joined(there)]
             for overlap in overlaps if overlap["nearly"] for here, there in overlap.get("texts", [])]
    return table(["rows", "of", "occur in", "how", "examples (lines)"], rows) + (
        "<h3>Nearly the same</h3>" + table(["of", "text", "in", "text"], pairs) if pairs else "")


def _joined(texts: list[str]) -> str:
    return " · ".join(_cut(text, LONGEST // 4) for text in texts)
