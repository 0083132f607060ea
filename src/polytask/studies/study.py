"""A study: rows of changed settings over one base, each trained with several seeds.

`recipes/README.md` has the file format. Reading a study checks the study itself; whether a row's config can
work is checked where runs are known.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from polytask.core.errors import ConfigError, listed, nearest
from polytask.core.json_files import as_written
from polytask.core.toml import (
    TomlTable,
    assigned,
    key_parts,
    override,
    place,
    read_toml,
    refuse_other_kind,
)
from polytask.core.user_modules import add_search_path
from polytask.studies.claims import claim_problem

Scale = Literal["pilot", "full"]
SCALES = ("pilot", "full")
# No study comes near it; each seed is a training of every row.
MOST_SEEDS = 1000

# Key -> type and the words for it.
_TEXT, _TABLE, _LIST = (str, "text"), (dict, "a table"), (list, "a list")
COMMON_KEYS: dict[str, tuple[Any, str]] = {
    "title": _TEXT, "paper": _TEXT, "table": _TEXT, "base": _TEXT, "ids": _LIST, "notes": _LIST,
    "set": _TABLE, "pilot": _TABLE}
_KEYS = {**COMMON_KEYS, "seeds": (int, "a whole number"), "against": _TEXT,
         "baselines": (bool, "true or false"), "rows": _LIST}
_ROW_KEYS = {"name": _TEXT, "printed": ((str, list), "a row label or a list of places"),
             "tasks": _LIST, "set": _TABLE, "pilot": _TABLE, "claimed": _TABLE, "ids": _LIST,
             "ours": _LIST}


@dataclass(frozen=True)
class StudyRow:
    """One setting: its whole config as a table, and what a paper claims of it."""

    name: str
    config: TomlTable
    claimed: Mapping[str, float] = field(default_factory=dict)
    ours: tuple[str, ...] = ()
    single: str = ""
    """The task of a single-task baseline; empty for a row of the file."""

    @property
    def slug(self) -> str:
        """The name as a folder: letters, digits, dashes, and a hash of the whole name."""
        plain = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")[:60]
        return f"{plain}-{hashlib.blake2b(self.name.encode(), digest_size=3).hexdigest()}"

    @property
    def formula(self) -> str:
        """The score that picks the row's best model."""
        return str(self.config.get("train", {}).get("score", "default"))


@dataclass(frozen=True)
class Study:
    """A study as it will run."""

    path: Path
    title: str
    rows: tuple[StudyRow, ...]
    seeds: int
    against: str
    notes: tuple[str, ...]
    scale: Scale
    baselines: bool = False

    @property
    def base_row(self) -> StudyRow:
        """The row that the others are compared with."""
        return next(row for row in self.rows if row.name == self.against)


def digest(value: Any) -> str:
    """Return a hash of a table."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).hexdigest()


def read_study(path: str | Path, scale: Scale = "full", assignments: Iterable[str] = ()) -> Study:
    """Read a study; raise `ConfigError` with a sentence for every mistake in its own keys."""
    path = Path(path)
    with as_written(path, ConfigError, what="cannot be read as a study"):
        return _read(path, scale, list(assignments))


def _read(path: Path, scale: Scale, assignments: Sequence[str]) -> Study:
    table = read_toml(path)
    refuse_other_kind(table, path, "study")
    problems = [*key_problems(table, _KEYS, str(path), "a study", ("base",))]
    rows = table.get("rows", [])
    if not rows:
        problems.append(f"{path}: rows are missing; expected at least one [[rows]]")
    problems += _row_problems(path, rows if isinstance(rows, list) else [])
    if problems:
        raise ConfigError(problems)
    names = [str(row["name"]) for row in rows]
    if (against := str(table.get("against", names[0]))) not in names:
        problems.append(f'{path}: against: "{against}" is not a row{nearest(against, names)}')
    problems += seed_problems(table.get("seeds", 1), f"{path}: seeds")
    base = read_toml(path.parent / table["base"])
    add_search_path((path.parent / table["base"]).parent)
    study_rows = [_row(path, table, row, base, scale, assignments, problems) for row in rows]
    if assignments and not problems:
        plain = [_row(path, table, row, base, scale, (), []) for row in rows]
        problems += _made_equal(path, plain, study_rows)
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    notes = (*map(str, table.get("notes", ())), *_replaced(rows, scale, assignments))
    return Study(path, titled(table, path, scale), tuple(study_rows), int(table.get("seeds", 1)),
                 against, notes, scale, bool(table.get("baselines")))


def _made_equal(path: Path, plain: Sequence[StudyRow], rows: Sequence[StudyRow]) -> Iterator[str]:
    """Yield a sentence for each row that --set makes equal to an earlier one that it was not equal to."""
    for number, row in enumerate(rows):
        for before, earlier in enumerate(rows[:number]):
            if row.config == earlier.config and plain[number].config != plain[before].config:
                yield (f'{path}: row "{row.name}": --set makes it equal to row "{earlier.name}", expected '
                       "keys that the rows do not set")
                break


def _replaced(rows: Iterable[TomlTable], scale: Scale, assignments: Iterable[str]) -> Iterator[str]:
    """Yield a note for each --set that takes the place of what rows set."""
    for key in (assigned(each)[0] for each in assignments):
        names = [row["name"] for row in rows for part in ("set", "pilot")[: 1 + (scale == "pilot")]
                 for own in row.get(part, {}) if key_parts(own)[: len(key_parts(key))] == key_parts(key)]
        if names:
            yield f"--set {key} takes the place of what these rows set: {listed(dict.fromkeys(names))}"


def seed_problems(count: int, where: str) -> list[str]:
    """Return what is wrong with a number of seeds per row."""
    right = 1 <= count <= MOST_SEEDS
    return [] if right else [f"{where}: found {count:,}, expected 1 to {MOST_SEEDS:,}"]


def titled(table: Mapping[str, Any], path: Path, scale: Scale) -> str:
    """Return the title, with the scale if it is not the report's."""
    return str(table.get("title", path.stem)) + (" (pilot scale)" if scale == "pilot" else "")


def key_problems(table: Mapping[str, Any], known: Mapping[str, tuple[Any, str]], where: str, what: str,
                 required: Sequence[str]) -> Iterable[str]:
    """Yield a sentence for each key that is unknown, of another type, or missing."""
    for key, value in table.items():
        if key not in known:
            yield f"{where}: {key} is not a key of {what}{nearest(key, known)}"
            continue
        types, words = known[key]
        if not isinstance(value, types) or (types is int and isinstance(value, bool)):
            yield f"{where}: {key}: found {value!r}, expected {words}"
    for key in required:
        if key not in table:
            yield f"{where}: {key} is missing{'; expected the path of a run config' * (key == 'base')}"


def _row_problems(path: Path, rows: Iterable[Any]) -> Iterable[str]:
    seen = set()
    for number, row in enumerate(rows):
        at = f"{path}: rows.{number}"
        if not isinstance(row, dict):
            yield f"{at}: found {row!r}, expected a table"
            continue
        yield from key_problems(row, _ROW_KEYS, at, "a row", ())
        name = row.get("name")
        if not isinstance(name, str) or name != name.strip() or not name or "," in name:
            yield f"{at}.name: found {name!r}, expected a name without a comma"
            continue
        if name in seen:
            yield f'{at}.name: two rows are called "{name}"'
        seen.add(name)


def _row(path: Path, table: TomlTable, row: TomlTable, base: TomlTable, scale: Scale,
         assignments: Sequence[str], problems: list[str]) -> StudyRow:
    where = f'{path}: row "{row["name"]}"'
    try:
        config = changed(base, where, scale, (table, row))
        config = override(config, assignments)
    except ConfigError as error:
        problems += error.problems
        return StudyRow(row["name"], {})
    tasks = config.get("tasks", {})
    problems += [f'{where}: "{name}" is not a task of {table["base"]}{nearest(name, base.get("tasks", ()))}'
                 for name in tasks if name not in base.get("tasks", ()) and "train" not in tasks[name]]
    for name in row.get("tasks", ()):
        if not isinstance(name, str):
            problems.append(f"{where}: tasks: found {name!r}, expected the names of tasks")
        elif name not in tasks:
            problems.append(f'{where}: tasks: "{name}" is not a task{nearest(name, tasks)}')
    if "tasks" in row:
        config["tasks"] = {name: tasks[name] for name in row["tasks"]
                           if isinstance(name, str) and name in tasks}
    for key, value in row.get("claimed", {}).items():
        if problem := claim_problem(key, value, config.get("tasks", {})):
            problems.append(f"{where}: claimed.{key}: {problem}")
    return StudyRow(row["name"], config, row.get("claimed", {}), tuple(map(str, row.get("ours", ()))))


def changed(base: TomlTable, where: str, scale: Scale, layers: Sequence[TomlTable]) -> TomlTable:
    """Return a base config under the `set` of each layer and, at pilot scale, the `pilot` of each."""
    config = copy.deepcopy(base)
    for part in ("set", "pilot") if scale == "pilot" else ("set",):
        for layer in layers:
            for key, value in layer.get(part, {}).items():
                try:
                    place(config, key, copy.deepcopy(value))
                except ConfigError as error:
                    problem = str(error).removeprefix("--set ")
                    raise ConfigError(f"{where}: {part}.{problem}") from None
    return config


def chosen(study: Study, names: Collection[str] | None) -> tuple[StudyRow, ...]:
    """Return the rows asked for, or all; raise `ConfigError` for a name that no row has."""
    if names is None:
        return study.rows
    known = {row.name: row for row in study.rows}
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f'--rows: "{name}" is not a row of {study.path}{nearest(name, known)} '
                          f"(its rows: {listed(known)})" for name in unknown)
    return tuple(row for row in study.rows if row.name in names)
