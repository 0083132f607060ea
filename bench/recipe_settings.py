"""Compare every row of every recipe, at full scale, with recipes/settings.tsv.

    python bench/recipe_settings.py        prints differences and settings that the table lacks

A line of the table has: the report · where the report says so ("ours": it leaves this open; "task": it
follows from the data; "cited code", "L-3": the work it cites) · rows (FILE/ROW, with wildcards) · key (with
wildcards) · value. If several lines match, the last one counts. A component given by name alone has that
name as its `type`. Every setting of a row must match a line, and every line must match a row.
"""

from __future__ import annotations

import csv
import functools
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping
from copy import deepcopy
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from polytask.core.toml import place, read_toml

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
# Keys whose value may be a component's bare name; keys that are not settings of a report.
COMPONENTS = {"schedule", "weighting", "surgery", "pairing", "head", "pooling", "adapter", "loss"}
FREE = re.compile(r"tasks\.\w+\.(train|dev|test|text|label|id)")


class Line(NamedTuple):
    paper: str
    where: str
    rows: str
    key: str
    value: Any


@functools.cache
def lines(table: Path) -> list[Line]:
    """Return the lines of the table."""
    with table.open(encoding="utf-8", newline="") as file:
        return [Line(row["paper"], row["where"], row["rows"], row["key"], _value(row["value"]))
                for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def _value(text: str) -> Any:
    return math.inf if text == "inf" else json.loads(text)


def settings_of(table: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) for everything in a config."""
    last = at.rpartition(".")[2]
    if isinstance(table, Mapping):
        for key, value in table.items():
            yield from settings_of(value, f"{at}.{key}" if at else key)
    elif isinstance(table, str) and last in COMPONENTS:
        yield f"{at}.type", table
    elif isinstance(table, list) and (last == "loss" or (table and isinstance(table[0], Mapping))):
        for place_, value in enumerate(table):
            yield from settings_of({"type": value} if isinstance(value, str) else value, f"{at}.{place_}")
    else:
        yield at, table


@functools.cache
def matches(name: str, pattern: str) -> bool:
    """Whether a name fits a pattern with wildcards: the same ones are asked for in every row."""
    return fnmatchcase(name, pattern)


def row_config(base: Mapping[str, Any], study: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row's full-scale config, built as recipes/README.md describes."""
    table = deepcopy(dict(base))
    for change in (study.get("set", {}), row.get("set", {})):
        for key, value in change.items():
            place(table, key, deepcopy(value))
    if row.get("tasks"):
        table["tasks"] = {name: table["tasks"][name] for name in row["tasks"]}
    return table


def compared(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (name, settings) of each row of a study, or of a sweep with its `parameters`."""
    study = read_toml(path)
    base = read_toml(path.parent / study["base"])
    if "parameters" in study:
        own = dict(settings_of(row_config(base, study, {})))
        yield path.stem, own | dict(settings_of(study["parameters"], "parameters"))
        return
    for row in study["rows"]:
        yield f"{path.stem}/{row['name']}", dict(settings_of(row_config(base, study, row)))


def files(recipes: Path) -> list[Path]:
    """Return the studies and sweeps."""
    return sorted(path for path in recipes.glob("*/*.toml") if path.parent.name != "bases")


def differences(path: Path, said: list[tuple[int, Line]], used: set[int]) -> Iterator[str]:
    """Yield where a study or sweep differs from its report's lines; record the lines used."""
    for name, found in compared(path):
        at = f"{path.parent.name}/{name}"
        here = [(number, line) for number, line in said if matches(name, line.rows)]
        for key, value in found.items():
            if FREE.fullmatch(key):
                continue
            fitting = [(number, line) for number, line in here if matches(key, line.key)]
            used |= {number for number, _ in fitting}
            if not fitting:
                yield f"{at}: {key} = {value!r} is in no line"
            elif (line := fitting[-1][1]).value != value:
                yield f"{at}: {key} = {value!r}, expected {line.value!r} ({line.where})"
        stated = {line.key for _, line in here if line.rows == name and "*" not in line.key}
        for key in sorted(stated - found.keys()):
            yield f"{at}: {key} is not set"


def faults(recipes: Path = RECIPES) -> list[str]:
    """Return the differences between the recipes and the table, one sentence each."""
    used: set[int] = set()
    found = [fault for path in files(recipes)
             for fault in differences(path, _of_paper(path.parent.name), used)]
    return found + [f"settings.tsv: no row has {line.paper} {line.rows} {line.key}"
                    for number, line in enumerate(lines(RECIPES / "settings.tsv")) if number not in used]


def differs(path: Path) -> bool:
    """Whether a study or sweep differs anywhere from its report's lines."""
    return any(True for _ in differences(path, _of_paper(path.parent.name), set()))


def _of_paper(paper: str) -> list[tuple[int, Line]]:
    return [(number, line) for number, line in enumerate(lines(RECIPES / "settings.tsv"))
            if line.paper == paper]


if __name__ == "__main__":
    for sentence in (wrong := faults()):
        sys.stdout.write(f"{sentence}\n")
    sys.exit(bool(wrong))
