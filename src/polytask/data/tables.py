"""A file's rows, column by column: bytes and offsets that can stay on disk until a text is wanted.

A table knows the line of each of its rows and which lines it refused, and why.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.core.errors import DataError, listed, nearest
from polytask.data.cache import open_array, write_array

Refusal = tuple[int, str]
Integers = NDArray[np.int64]

# Which bytes are characters of ASCII that are no white space.
_VISIBLE = np.array([byte < 0x80 and not chr(byte).isspace() for byte in range(256)])

# How much of a file's columns a message shows.
_NAME_SHOWN, _NAMES_SHOWN = 40, 20

# Raised when tables are written otherwise; old cache entries are then not found.
VERSION = 2


class Nested(str):
    """A cell that is the JSON of a list or an object: it can be labels, but no text."""

    __slots__ = ()


@dataclass(frozen=True)
class Column:
    """The cells of one column: UTF-8 `cells` (bytes,) and `offsets` (rows + 1,).

    `nested`: the rows whose cell is the JSON of a list or an object.
    """

    cells: NDArray[np.uint8]
    offsets: Integers
    nested: Integers = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> str:
        return str(self.cells[self.offsets[row]:self.offsets[row + 1]].tobytes(), "utf-8")

    def texts(self, rows: Sequence[int] | Integers | None = None) -> list[str]:
        """Return the texts of some rows, or of all."""
        if rows is None:
            return list(self.chunk(0, len(self)))
        if len(rows) > len(self) // 8:  # decoding all at once is several times cheaper
            every = list(self.chunk(0, len(self)))
            return [every[row] for row in np.asarray(rows).tolist()]
        return [self[row] for row in rows]

    def chunk(self, start: int, stop: int) -> Iterator[str]:
        """Yield the texts of the rows from `start` to `stop`."""
        at = self.offsets[start:stop + 1].tolist()
        first = at[0] if at else 0
        block = self.cells[first:at[-1]].tobytes() if at else b""
        for begin, end in pairwise(at):
            yield block[begin - first:end - first].decode()

    @cached_property
    def blank(self) -> NDArray[np.bool_]:
        """Which cells hold nothing but white space, of Unicode too: (rows,)."""
        ascii_, beyond = self._without(_VISIBLE[self.cells]), self._without(self.cells >= 0x80)
        blank: NDArray[np.bool_] = ascii_ & beyond
        for row in np.flatnonzero(ascii_ & ~beyond).tolist():
            blank[row] = not self[row].strip()
        return blank

    def _without(self, marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which cells have no marked byte: (rows,)."""
        seen = np.zeros(len(marked) + 1, dtype=np.int64)
        np.cumsum(marked, out=seen[1:])
        return seen[self.offsets[1:]] == seen[self.offsets[:-1]]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Table:
    """The rows of one file. `refused` are the lines that are no rows.

    `key` names the file's content and how it is read, `content` the content alone.

    `nested`: the cells that are lists or objects, each as row * columns + column; `notes`: how it was read.
    """

    file: str
    key: str
    columns: tuple[str, ...]
    lines: Integers
    refused: tuple[Refusal, ...]
    cells: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    nested: Integers = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    notes: tuple[str, ...] = ()
    content: str = ""

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def found(self) -> int:
        """How many records the file has, refused ones among them."""
        return len(self.lines) + len(self.refused)

    def column(self, name: str, setting: str = "") -> Column:
        """Return a column by name; raise `DataError` that tells the nearest one."""
        index = column_index(self.columns, name, self.file, setting)
        offsets = self.offsets[index]
        nested = self.nested[self.nested % len(self.columns) == index] // len(self.columns)
        return Column(self.cells[offsets[0]:offsets[-1]], offsets - offsets[0], nested)


def column_index(columns: Sequence[str], name: str, file: str, setting: str = "", remedy: str = "") -> int:
    """Return where a column is; raise `DataError` for one that is not there, or there twice.

    The message tells the nearest name, and what to do about a file whose first line is no header.
    """
    named = [each for each in columns if each]
    where = f"{file}: {setting + ': ' if setting else ''}"
    if name not in named:
        shown = listed(each if len(each) <= _NAME_SHOWN else f"{each[:_NAME_SHOWN]}…"
                       for each in named[:_NAMES_SHOWN]) + (", …" if len(named) > _NAMES_SHOWN else "")
        raise DataError(f'{where}there is no column "{name}"{nearest(name, named)}'
                        f" (there are {shown}{remedy}){_header_hint(named)}")
    if named.count(name) > 1:
        raise DataError(f'{where}there are {named.count(name)} columns named "{name}", expected one')
    return columns.index(name)


def _header_hint(names: Sequence[str]) -> str:
    """Return a remedy if names look like the data of a file without a header: a sentence, or a number."""
    if any(len(name.split()) > 3 or len(name) > _NAME_SHOWN or name.replace(".", "", 1).isdecimal()
           for name in names):
        return "; if line 1 is no header but data, set header = false and columns = [...]"
    return ""


class TableWriter:
    """Gathers rows; `write` puts them into a folder that `read_table` opens."""

    def __init__(self, columns: Iterable[str]) -> None:
        self.columns = tuple(columns)
        self.cells = [bytearray() for _ in self.columns]
        self.ends = [array("q") for _ in self.columns]
        self.lines = array("q")
        self.nested = array("q")
        self.refused: list[Refusal] = []
        self.notes: list[str] = []

    def add(self, line: int, fields: Sequence[str]) -> None:
        """Take a row: as many fields as there are columns."""
        for cells, ends, text in zip(self.cells, self.ends, fields, strict=True):
            cells += text.encode("utf-8", "replace")
            ends.append(len(cells))
        if Nested in map(type, fields):
            start = len(self.lines) * len(self.columns)
            self.nested.extend(start + column for column, text in enumerate(fields) if type(text) is Nested)
        self.lines.append(line)

    def refuse(self, line: int, reason: str) -> None:
        """Count a line that is no row."""
        self.refused.append((line, reason))

    def write(self, folder: Path) -> None:
        """Write what was gathered."""
        rows, offsets, start = len(self.lines), [], 0
        for ends in self.ends:
            offsets.append(np.concatenate([[0], np.frombuffer(ends, dtype=np.int64)]) + start)
            start += int(ends[-1]) if rows else 0
        write_array(folder / "lines.npy", np.frombuffer(self.lines, dtype=np.int64))
        write_array(folder / "offsets.npy", np.array(offsets, dtype=np.int64))
        write_array(folder / "cells.npy",
                    np.frombuffer(b"".join(self.cells) or b"\0", dtype=np.uint8))
        write_array(folder / "nested.npy", np.frombuffer(self.nested, dtype=np.int64))
        about = {"version": VERSION, "columns": self.columns, "refused": self.refused, "rows": rows,
                 "notes": self.notes}
        (folder / "table.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")


def table_of(rows: Sequence[tuple[str, ...]], file: str) -> Table:
    """Return rows that come from no file as a table with the columns text1, text2, …"""
    columns = tuple(f"text{k + 1}" for k in range(len(rows[0]) if rows else 1))
    cells = [[row[k].encode("utf-8", "replace") for row in rows] for k in range(len(columns))]
    ends = np.cumsum([[0, *map(len, column)] for column in cells], axis=1, dtype=np.int64)
    starts = np.cumsum([0, *ends[:-1, -1]])
    flat = np.frombuffer(b"".join(cell for column in cells for cell in column), dtype=np.uint8)
    return Table(file, "", columns, np.arange(1, len(rows) + 1), (), flat, ends + starts[:, None])


def read_table(folder: Path, file: str, key: str, content: str = "") -> Table:
    """Open a table that was written; raise ValueError or KeyError if it is not whole."""
    about: dict[str, Any] = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    lines = open_array(folder / "lines.npy", np.int64)
    offsets = open_array(folder / "offsets.npy", np.int64)
    cells = open_array(folder / "cells.npy", np.uint8)
    nested = open_array(folder / "nested.npy", np.int64)
    columns = tuple(about["columns"])
    if (about["version"] != VERSION or offsets.shape != (len(columns), len(lines) + 1)
            or (len(lines) and int(offsets[-1, -1]) != len(cells))):
        raise ValueError(f"{folder} is not whole")
    refused = tuple((int(line), str(reason)) for line, reason in about["refused"])
    return Table(file, key, columns, lines, refused, cells, offsets, nested, tuple(about["notes"]),
                 content)
