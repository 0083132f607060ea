"""TOML in and out, and dotted overrides (`--set train.epochs=5`)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tomli_w

from polytask.core.errors import ConfigError

TomlTable = dict[str, Any]


def read_toml(path: str | Path) -> TomlTable:
    """Read a TOML file; raise `ConfigError` naming the file and line of a mistake."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder, expected a TOML file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text ({error.reason})") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not valid TOML: {error}") from None


def write_toml(table: TomlTable) -> str:
    """Return a table as TOML text."""
    return tomli_w.dumps(table, multiline_strings=False)


def override(table: TomlTable, assignments: Iterable[str]) -> TomlTable:
    """Return `table` with "dotted.key=value" assignments applied; values are TOML, or bare text."""
    made: TomlTable = _copied(table)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {assignment}: expected dotted.key=value")
        place(made, key.strip(), value_of(text.strip()))
    return made


def value_of(text: str) -> Any:
    """Read a TOML value; text that is none (`pcgrad`, `runs/x`) is a string as it stands."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def place(table: TomlTable, dotted: str, value: Any) -> None:
    """Set `table`'s entry at a dotted key; tables on the way are made, a `{}` value merges not."""
    *parents, last = dotted.split(".")
    at: Any = table
    for depth, parent in enumerate(parents):
        at = _entered(at, parent, ".".join(parents[: depth + 1]))
    if isinstance(at, list):
        at[_index(at, last, dotted)] = value
    else:
        at[last] = value


def _entered(at: Any, key: str, path: str) -> Any:
    if isinstance(at, list):
        return at[_index(at, key, path)]
    inner = at.setdefault(key, {})
    if isinstance(inner, str):  # schedule = "annealed" becomes { type = "annealed" } to take a field
        inner = at[key] = {"type": inner}
    if not isinstance(inner, dict | list):
        raise ConfigError(f"--set {path}: is {inner!r}, not a table with entries of its own")
    return inner


def _index(entries: list[Any], key: str, path: str) -> int:
    if key.isdigit() and int(key) < len(entries):
        return int(key)
    raise ConfigError(f"--set {path}: found {key!r}, expected an index below {len(entries)}")


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(entry) for key, entry in value.items()}
    return [_copied(entry) for entry in value] if isinstance(value, list) else value
