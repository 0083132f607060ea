"""JSON lines and JSON arrays as records: the columns are the keys that any object has.

Text is a cell as it stands, null and NaN are an empty one, and everything else is its JSON: 0, false, 1.5.
Lists and objects are marked (`Nested`), for they can be labels but no text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from polytask.core.counting import agreeing, counted
from polytask.core.errors import DataError, shown_name
from polytask.data.delimited import MAX_COLUMNS
from polytask.data.quoted_records import ReadRecord
from polytask.data.tables import Nested
from polytask.data.text_lines import read_lines

# Characters of a JSON array, which is held in memory; JSON lines may be of any length.
MAX_ARRAY = 1 << 28
_KEYS_SHOWN = 3

# An object, or a list, behind another in one line.
_SIDE_BY_SIDE = re.compile(r"[}\]][ \t]*,[ \t]*[{\[]")

# (line, value), or (line, ValueError with the reason)
JsonRecord = tuple[int, Any]


def json_columns(file: str, records: Iterable[JsonRecord]) -> tuple[str, ...]:
    """Return the keys that any object has, in the order in which they come.

    Raises `DataError` where most values are not objects, where there is no key, and where one object holds
    the rows.
    """
    columns: dict[str, None] = {}
    refused, count, only = [], 0, None
    for line, record in records:
        count, only = count + 1, record if not count else None
        if not isinstance(record, dict):
            refused.append((line, record))
        elif not record.keys() <= columns.keys():
            columns.update(dict.fromkeys(record))
            if len(columns) > MAX_COLUMNS:
                raise DataError(f"{file}:{line}: the objects have more than {MAX_COLUMNS:,} different keys")
    if 2 * len(refused) > count:
        line, reason = next(json_cells((), refused))
        raise DataError(f"{file}:{line}: {reason}; {len(refused):,} of {counted(count, 'record')} "
                        f"{agreeing(len(refused), 'is', 'are')} refused")
    if isinstance(only, dict) and all(map(_holds_rows, only.values())) and only:
        keys = ", ".join(map(shown_name, [*only][:_KEYS_SHOWN]))
        raise DataError(f"{file}: is one object that holds all rows in {keys}, expected one object per "
                        f"row: "
                        '{"text": …, "label": …}')
    if not columns:
        raise DataError(f"{file}: {'the objects have no keys' if count else 'has no rows'}")
    return tuple(columns)


def _holds_rows(value: Any) -> bool:
    """Return whether a value may be a whole column, or all rows: several values, or objects."""
    return isinstance(value, dict) or (isinstance(value, list) and (
        len(value) > 1 or any(isinstance(entry, dict) for entry in value)))


def json_cells(columns: tuple[str, ...], records: Iterable[JsonRecord]) -> Iterator[ReadRecord]:
    """Yield (line, cells) of every object, or (line, the reason why there are none)."""
    for line, record in records:
        if isinstance(record, dict):
            yield line, row_cells(record.get(name) for name in columns)
        elif isinstance(record, ValueError):
            yield line, f"is not JSON ({record.args[0]})"
        else:
            shown = json.dumps(record, ensure_ascii=False)[:40].encode("utf-8", "backslashreplace").decode()
            yield line, f"found {shown}, expected an object"


def row_cells(values: Iterable[Any]) -> list[str] | str:
    """Return the values of a row as cells, or the reason why they can be none."""
    cells = [cell(value) for value in values]
    return cells if _is_text(cells) else "half of a surrogate pair, which is not a character"


def _is_text(cells: list[str]) -> bool:
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return False
    return True


def cell(value: Any) -> str:
    """Return a value as a cell."""
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list | dict):
        return Nested(json.dumps(value, ensure_ascii=False, default=str))
    if isinstance(value, int | float):
        return json.dumps(value)
    # Parquet has decimals, dates and times besides, which are not strings of JSON.
    return "" if isinstance(value, Decimal) and value.is_nan() else str(value)


def json_lines(lines: Iterable[str], first: int = 1) -> Iterator[JsonRecord]:
    """Yield a value for each line that is not blank; `first` is the number of the first one."""
    decode = _decoder().decode
    for number, line in enumerate(lines, first):
        if line.strip():
            value = _decoded(partial(decode, line))
            if isinstance(value, ValueError) and line.strip() in "[{":
                value = ValueError("it goes on in the next line; expected an object a line, or one array")
            yield number, value


def json_array(path: Path, encoding: str) -> Iterator[JsonRecord]:
    """Yield the values of an array, each with the line that it begins in.

    Where values share a line, each has its place in the array instead, from 1. Raises `DataError` for what
    is not an array of JSON: what follows a mistake cannot be told from it.
    """
    text = _whole(path, encoding)
    by_place = _share_lines(path, text)
    for place, (line, value) in enumerate(_values(path, text), 1):
        yield place if by_place else line, value


def array_notes(path: Path, encoding: str) -> tuple[str, ...]:
    """Say that the values of an array are not called by their lines, if so."""
    shared = _share_lines(path, _whole(path, encoding))
    return ("several objects stand in one line, so rows are numbered by their place in the array, from 1",
            ) * shared


def _share_lines(path: Path, text: str) -> bool:
    """Return whether two values of an array begin in one line."""
    if not _SIDE_BY_SIDE.search(text):  # it spares most files a pass
        return False
    lines = (line for line, _ in _values(path, text))
    return any(line == following for line, following in pairwise(lines))


def _values(path: Path, text: str) -> Iterator[JsonRecord]:
    decoder = _decoder()
    at, line = text.index("[") + 1, 1 + text.count("\n", 0, text.index("["))
    first = True
    while True:
        start, at = at, _past_blanks(text, at)
        line += text.count("\n", start, at)
        if text.startswith("]", at):
            break
        if not first:
            if not text.startswith(",", at):
                raise DataError(f"{path}:{line}: is not JSON (expected a comma or the end of the array)")
            start, at = at, _past_blanks(text, at + 1)
            line += text.count("\n", start, at)
        first = False
        places: list[int] = []
        value = _decoded(partial(_raw, decoder, text, at, places))
        if not places:
            raise DataError(f"{path}:{line}: is not JSON ({value.args[0]})")
        yield line, value
        line, at = line + text.count("\n", at, places[0]), places[0]
    if text[at + 1:].strip():
        raise DataError(f"{path}:{line}: is not JSON (text after the array)")


def _raw(decoder: json.JSONDecoder, text: str, at: int, ends: list[int]) -> Any:
    value, end = decoder.raw_decode(text, at)
    ends.append(end)
    return value


def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'key "{twice}" occurs twice')
    return record


def _decoded(decode: Callable[[], Any]) -> Any:
    """Return a value, or a ValueError whose text says why there is none."""
    try:
        return decode()
    except ValueError as error:
        return ValueError(getattr(error, "msg", str(error)))
    except RecursionError:
        return ValueError("nested too deeply")


def _whole(path: Path, encoding: str) -> str:
    size, lines = 0, []
    for number, line in enumerate(read_lines(path, encoding), 1):
        size += len(line)
        if size > MAX_ARRAY:
            raise DataError(f"{path}:{number}: the array has more than {MAX_ARRAY:,} characters; write it "
                            "as JSON lines, one object per line")
        lines.append(line)
    return "".join(lines)


def _past_blanks(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at
