"""A study: rows of changed settings over one base, each trained with several seeds.

The file format is in `recipes/README.md`. Reading one checks the study itself; whether each row's
config can work is for whoever knows what a run is.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from polytask.core.config import override, place, read_toml
from polytask.core.errors import ConfigError, listed, nearest

Scale = Literal["pilot", "full"]

_KEYS = {"title", "paper", "table", "base", "seeds", "against", "ids", "notes", "set", "pilot", "rows",
         "baselines"}
_ROW_KEYS = {"name", "printed", "tasks", "set", "pilot", "claimed", "ids", "ours"}


@dataclass(frozen=True)
class Row:
    """One setting: its whole config as a table, and what a paper claims of it."""

    name: str
    config: dict[str, Any]
    claimed: dict[str, float]
    ours: tuple[str, ...] = ()

    @property
    def slug(self) -> str:
        """The name as a folder: letters, digits and dashes, and a hash where something was lost."""
        plain = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")[:60]
        return f"{plain}-{hashlib.blake2b(self.name.encode(), digest_size=3).hexdigest()}"


@dataclass(frozen=True)
class Study:
    """A study as it will be run."""

    path: Path
    title: str
    rows: tuple[Row, ...]
    seeds: int
    against: str
    notes: tuple[str, ...]
    scale: Scale

    @property
    def digest(self) -> str:
        """What tells one study from another: its rows' configs, whatever the number of seeds."""
        held = json.dumps({row.name: row.config for row in self.rows}, sort_keys=True)
        return hashlib.blake2b(held.encode(), digest_size=8).hexdigest()


def read_study(path: str | Path, scale: Scale = "full", assignments: Iterable[str] = ()) -> Study:
    """Read a study; raise `ConfigError` with a sentence for every mistake in its own keys."""
    path = Path(path)
    table = read_toml(path)
    problems = [f"{path}: {key} is no key of a study{nearest(key, _KEYS)}" for key in table
                if key not in _KEYS]
    rows = table.get("rows", [])
    if not rows:
        problems.append(f"{path}: rows are missing; expected at least one [[rows]]")
    if "base" not in table:
        problems.append(f"{path}: base is missing; expected the path of a run config")
    problems += _row_problems(path, rows)
    names = [str(row.get("name")) for row in rows]
    against = str(table.get("against", names[0] if names else ""))
    if against not in names:
        problems.append(f'{path}: against "{against}" is no row{nearest(against, names)}')
    if problems:
        raise ConfigError(problems)
    base = read_toml(path.parent / table["base"])
    made = tuple(_row(table, row, base, scale, assignments) for row in rows)
    title = str(table.get("title", path.stem)) + (" (pilot scale)" if scale == "pilot" else "")
    return Study(path, title, made, int(table.get("seeds", 1)), against,
                 tuple(table.get("notes", ())), scale)


def _row_problems(path: Path, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    problems, seen = [], set()
    for number, row in enumerate(rows):
        name = row.get("name")
        if not isinstance(name, str) or not name or "," in name:
            problems.append(f"{path}: rows.{number}.name: found {name!r}, expected a name without a comma")
        elif name in seen:
            problems.append(f'{path}: rows.{number}.name: a second row is called "{name}"')
        seen.add(name)
        problems += [f"{path}: rows.{number}.{key} is no key of a row{nearest(key, _ROW_KEYS)}"
                     for key in row if key not in _ROW_KEYS]
    return problems


def _row(table: Mapping[str, Any], row: Mapping[str, Any], base: Mapping[str, Any], scale: Scale,
         assignments: Iterable[str]) -> Row:
    config = copy.deepcopy(dict(base))
    layers = [table.get("set", {}), row.get("set", {})]
    if scale == "pilot":
        layers += [table.get("pilot", {}), row.get("pilot", {})]
    for changes in layers:
        for key, value in changes.items():
            place(config, key, copy.deepcopy(value))
    if "tasks" in row:
        config["tasks"] = {name: config["tasks"][name] for name in row["tasks"] if name in config["tasks"]}
    return Row(row["name"], override(config, assignments), dict(row.get("claimed", {})),
               tuple(row.get("ours", ())))


def chosen(study: Study, names: Collection[str] | None) -> tuple[Row, ...]:
    """Return the rows asked for, or all; raise `ConfigError` for a name that no row has."""
    if not names:
        return study.rows
    known = {row.name: row for row in study.rows}
    if strange := [name for name in names if name not in known]:
        raise ConfigError(f'--rows: "{name}" is no row of {study.path}{nearest(name, known)} '
                          f"(there are {listed(known)})" for name in strange)
    return tuple(known[name] for name in names)
