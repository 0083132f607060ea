"""TOML in and out, and dotted overrides (`--set train.epochs=5`)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import tomli_w

from polytask.core.errors import ConfigError, nearest
from polytask.core.safe_paths import refuse_special

TomlTable = dict[str, Any]

# No real config comes near these limits; one that does is a mistake or an attack on the reader.
MOST_BYTES, DEEPEST = 16 << 20, 32
# What reads each kind of TOML file.
_VERBS = {"config": "train", "study": "compare", "sweep": "sweep"}
# A part of a dotted key in quotes, for names that contain a dot or an equals sign.
_QUOTED = r"""[ \t]*(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*')[ \t]*"""
_PART = re.compile(rf"(?:(?P<quoted>{_QUOTED})|(?P<bare>[^.]*))(?P<more>\.|\Z)")
_ASSIGNMENT = re.compile(rf"(?P<key>(?:{_QUOTED}|[^.=]*)(?:\.(?:{_QUOTED}|[^.=]*))*)=(?P<value>.*)",
                         re.DOTALL)


def read_toml(path: str | Path) -> TomlTable:
    """Read a TOML file; raise `ConfigError` naming the file and line of a mistake."""
    refuse_special(Path(path), ConfigError)
    try:
        with Path(path).open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ConfigError(f"{path}: has more than {MOST_BYTES:,} bytes, expected a config")
        table = tomllib.loads(text.decode("utf-8-sig").replace("\r\n", "\n"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file{_nearest_file(Path(path))}") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder, expected a TOML file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text ({error.reason}){_if_data(path)}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not valid TOML: {error}{_if_data(path)}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (RecursionError, ValueError) as error:
        raise ConfigError(f"{path}: {_extreme(error)}") from None
    _refuse_extremes(table, str(path))
    return table


def _nearest_file(path: Path) -> str:
    """Return which TOML file of the folder is meant, or how one is written."""
    with suppress(OSError):
        if meant := nearest(path.name, sorted(each.name for each in path.parent.glob("*.toml"))):
            return meant
    return "; `polytask init DATA --out FILE` writes a config"


def _if_data(path: str | Path) -> str:
    """Return how a file of data, by its name, becomes a config."""
    data = Path(path).suffix.lower() in (".csv", ".tsv", ".txt", ".json", ".jsonl", ".parquet", ".gz")
    return f"; `polytask init {path} --out FILE` writes a config for data" if data else ""


def refuse_other_kind(table: TomlTable, path: str | Path, expected: str) -> None:
    """Raise `ConfigError` for the file of another verb: a study that is trained, a config that is compared.

    expected: "config", "study" or "sweep".
    """
    marks = {"config": "tasks", "study": "rows", "sweep": "parameters"}
    kind_found = next((kind for kind, key in marks.items() if key in table), expected)
    if marks[expected] not in table and kind_found != expected:
        raise ConfigError(f"{path}: is a {kind_found}, expected a {expected}; to run it: "
                          f"polytask {_VERBS[kind_found]} {path} --out FOLDER")


def _extreme(error: Exception) -> str:
    """Return what Python's parser gave up on."""
    if isinstance(error, RecursionError):
        return f"is nested too deeply, expected at most {DEEPEST} tables or lists in one another"
    return "holds an integer of thousands of digits, expected one of 64 bits"


def _refuse_extremes(value: Any, where: str) -> None:
    """Refuse a value that is nested too deeply or holds an integer that TOML has no room for."""
    waiting: list[tuple[Any, str, int]] = [(value, "", 0)]
    while waiting:
        part, path, depth = waiting.pop()
        shown = f"{path[1:60]}…" if len(path) > 60 else path[1:]
        if depth > DEEPEST:
            raise ConfigError(f"{where}: {shown}: is nested more than {DEEPEST} deep")
        if isinstance(part, dict):
            waiting += [(entry, f"{path}.{key}", depth + 1) for key, entry in part.items()]
        elif isinstance(part, list):
            waiting += [(entry, f"{path}.{number}", depth + 1) for number, entry in enumerate(part)]
        elif isinstance(part, int) and not -(2**63) <= part < 2**63:
            raise ConfigError(f"{where}: {shown or 'value'}: found an integer of {part.bit_length()} bits, "
                              "expected one of at most 64")


def write_toml(table: TomlTable) -> str:
    """Return a table as TOML text."""
    return tomli_w.dumps(table, multiline_strings=False)


def override(table: TomlTable, assignments: Iterable[str]) -> TomlTable:
    """Return `table` with "dotted.key=value" assignments applied; values are TOML, or bare text."""
    copied: TomlTable = _copied(table)
    for assignment in assignments:
        key, text = assigned(assignment)
        if key.count(".") >= DEEPEST:
            raise ConfigError(f"--set {_short(key)}: has {key.count('.') + 1:,} parts, expected at most "
                              f"{DEEPEST}")
        value = value_of(text)
        _refuse_extremes(value, f"--set {_short(key)}")
        place(copied, key, value)
    return copied


def assigned(assignment: str) -> tuple[str, str]:
    """Return the dotted key and the value's text of "dotted.key=value"."""
    match = _ASSIGNMENT.fullmatch(assignment)
    if not match or not match["key"].strip():
        raise ConfigError(f"--set {_short(assignment)}: expected dotted.key=value")
    return match["key"].strip(), match["value"].strip()


def key_parts(dotted: str) -> tuple[str, ...]:
    """Return the parts of a dotted key; one in quotes may contain dots, as in TOML."""
    parts, position, more = list[str](), 0, True
    while more:
        match = _PART.match(dotted, position)
        assert match is not None  # a bare part may be anything
        position, more = match.end(), bool(match["more"])
        try:
            part = match["bare"] if match["bare"] is not None else next(iter(tomllib.loads(
                f"{match['quoted']} = 0")))
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"--set {_short(dotted)}: is not a key of TOML: {error}") from None
        if not part.strip():
            raise ConfigError(f"--set {_short(dotted)}: has an empty part, expected names joined by dots")
        parts.append(part)
    return tuple(parts)


def value_of(text: str) -> Any:
    """Read a TOML value; text that is none (`pcgrad`, `runs/x`) is a string as it stands.

    So is a value that a comment follows: nothing says that `5#x.csv` is not a name.
    """
    try:
        table = tomllib.loads(f"value = {text}")
        tomllib.loads(f"value = [{text}]")  # a comment would hide the bracket
        if len(table) == 1:
            return table["value"]
    except tomllib.TOMLDecodeError:
        if not {"\n", "\r"} & {*text}:
            return text
    except (RecursionError, ValueError) as error:
        raise ConfigError(f"--set {_short(text)}: {_extreme(error)}") from None
    raise ConfigError(f"--set: found a line break in {_short(text)!r}, expected one value")


def _short(text: str) -> str:
    return f"{text[:60]}…" if len(text) > 60 else text


def place(table: TomlTable, dotted: str, value: Any) -> None:
    """Set `table`'s entry at a dotted key; tables on the way are made, a `{}` value merges not."""
    *parents, last = key_parts(dotted)
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
    if key.isascii() and key.isdecimal() and int(key) < len(entries):
        return int(key)
    raise ConfigError(f"--set {path}: found {key!r}, expected an index below {len(entries)}")


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(entry) for key, entry in value.items()}
    return [_copied(entry) for entry in value] if isinstance(value, list) else value
