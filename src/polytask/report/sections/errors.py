"""Where it is wrong: lists of errors, slices of the rows, rows that stand in two splits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from polytask.report.analysis import errors, slices
from polytask.report.record import RunRecord, TaskRecord
from polytask.report.sections.contract import note, section, soft, table

# What bounds the page: errors listed a category and a task, bytes of their texts in all and of one of them.
MOST, MOST_OF_TASK, ROOM, LONGEST = 150, 2000, 4_000_000, 2000

HEADS = (("category", ""), ("true", "t"), ("predicted", "p"), ("score", "s"), ("text", "w"))


@section("errors", "Errors", 100)
def listed(run: RunRecord) -> str:
    """List the errors in the reports' categories, to filter, search and sort (T-38 to T-40, P-28)."""
    parts = []
    for number, task in enumerate(run.tasks.values()):
        parts.append(f"<h3>{escape(task.name)}</h3>")
        if task.dev is None or task.labels is None:
            parts.append(note(run.no_dev(task)))
            continue
        parts.append(_list(task, number, ROOM // len(run.tasks)))
    return "".join(parts)


def _list(task: TaskRecord, number: int, room: int) -> str:
    """Return the list of a task's errors, whose texts take at most `room` bytes."""
    assert task.dev is not None
    assert task.labels is not None
    found, answers = errors(task.dev, task.labels), task.dev
    total = sum(len(each.rows) for each in found)
    if not total:
        return soft(f"None of {len(answers):,} rows is wrong.")
    rows: list[dict[str, Any]] = []
    kept = shares([len(each.rows) for each in found])
    texts = sum(kept) * len(task.dev.texts[0])
    longest = min(LONGEST, room // max(1, texts))
    for place, (category, most) in enumerate(zip(found, kept, strict=True)):
        for row in category.rows[:most]:
            score = float(answers.scores[row]) if row < len(answers.scores) else float("nan")
            rows.append({"c": place, "t": answers.true[row], "p": answers.predicted[row],
                         "s": score if score == score else None,
                         "x": [_folded(text, longest) for text in answers.texts[row]]})
    data = {"kinds": [each.name for each in found], "rows": rows}
    capped = [f"{most} of {len(each.rows):,} {each.name}" for each, most in zip(found, kept, strict=True)
              if most < len(each.rows)]
    options = "".join(f'<option value="{place}">{escape(each.name)} ({len(each.rows):,})</option>'
                      for place, each in enumerate(found))
    heads = "".join(f'<th><button data-key="{key}">{name}</button></th>' if key else f"<th>{name}</th>"
                    for name, key in HEADS)
    cap = f" Of some the worst are listed: {', '.join(capped)}." if capped else ""
    positive = "" if task.labels.positive is None else (
        f' "{task.labels.positive}" is the positive class: a false negative is one that was missed.')
    return (soft(f"{total:,} of {len(answers):,} rows.{cap}{positive}")
            + f'<div data-errors="errors-{number}"><div class=tools>'
            f'<label>category <select><option value="">all</option>{options}</select></label>'
            '<label>search <input type=search placeholder="words of the text"></label>'
            '<span class="soft count"></span></div>'
            f"<div class=wide><table><thead><tr>{heads}</tr></thead><tbody></tbody></table></div>"
            "<button class='more next'>show more</button></div>"
            + embedded(f"errors-{number}", data))


def shares(sizes: Sequence[int], most: int = MOST, total: int = MOST_OF_TASK) -> list[int]:
    """Return how many errors of each category are listed; what small ones leave goes to the others."""
    kept, room = [0] * len(sizes), total
    smallest_first = sorted(range(len(sizes)), key=sizes.__getitem__)
    for done, place in enumerate(smallest_first):
        kept[place] = min(sizes[place], most, room // (len(sizes) - done))
        room -= kept[place]
    return kept


def _folded(text: str, longest: int) -> str:
    """Return a text cut where it would take more than `longest` bytes of the page."""
    cut = text[:longest]
    size = len(_escaped(cut).encode())
    if size > longest:
        cut = cut[: longest * longest // size]
    return text if len(cut) == len(text) else f"{cut}… ({len(text):,} characters)"


def _escaped(data: Any) -> str:
    said = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&":
        said = said.replace(sign, f"\\u{ord(sign):04x}")
    return said


def embedded(id: str, data: Any) -> str:
    """Return data for the page's script; nothing in it can end the element it stands in."""
    return f'<script type="application/json" id="{id}">{_escaped(data)}</script>'


@section("slices", "Slices", 110)
def sliced(run: RunRecord) -> str:
    """Show the score of parts of the rows: by length, shared words, truncation."""
    parts = []
    for task in run.tasks.values():
        if task.dev is None or task.labels is None:
            parts.append(note(run.no_dev(task)))
            continue
        found = slices(task.dev, task.labels, task.cut)
        what = "mean absolute error" if task.labels.is_regression else "accuracy"
        parts.append(f"<h3>{escape(task.name)}</h3>" + table(
            ["rows with", "rows", what],
            [[each.what, f"{each.rows:,}", f"{each.score:.3f}"] for each in found]))
        if run.artifacts and not task.cut:
            parts.append(soft("No dev row was cut at the longest length."))
    return "".join(parts)


@section("overlaps", "Rows in two places", 120)
def overlaps(run: RunRecord) -> str:
    """Show what the data gate found: rows, and nearly the same rows, in two splits or two tasks."""
    held = run.artifacts.get("overlaps")
    if not held:
        return note(f"{run.no_exhibits('What the data gate found is kept')} `polytask check` shows it.")
    if "left_out" in held:
        return note(held["left_out"])
    found = [each for task in held["tasks"].values() for each in task] + held["across"]
    if not found:
        return soft("No row of one split stands in another, or nearly so.")
    rows = [[f"{each['rows']:,}", each["here"], each["there"],
             "nearly the same" if each["nearly"] else "the same",
             ", ".join(f"{a} = {b}" for a, b in each["examples"][:3])] for each in found]
    pairs = [[each["here"], _joined(here), each["there"], _joined(there)]
             for each in found if each["nearly"] for here, there in each.get("texts", [])]
    return table(["rows", "of", "stand in", "how", "examples (lines)"], rows) + (
        "<h3>Nearly the same</h3>" + table(["of", "text", "in", "text"], pairs) if pairs else "")


def _joined(texts: list[str]) -> str:
    return " · ".join(_folded(text, LONGEST // 4) for text in texts)
