"""A file's rows, column by column: bytes and offsets that can stay on disk until a text is wanted.

A table knows the line of each of its rows and which lines it refused, and why.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, islice, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polytask.core.cache_paths import TablePaths
from polytask.core.errors import DataError, StorageError, listed, nearest, shown_name
from polytask.core.json_files import read_json
from polytask.data.cache import growing_array, open_array, write_array

Refusal = tuple[int, str]
Integers = NDArray[np.int64]

# Which bytes begin a character of white space in UTF-8.
_MAY_BE_BLANK = np.zeros(256, dtype=np.bool_)
_MAY_BE_BLANK[[chr(code).encode()[0] for code in range(0x3001) if chr(code).isspace()]] = True

# Files whose rows name their columns.
_NAMED_COLUMNS = (".json", ".jsonl", ".ndjson", ".parquet")
# How much of a file's columns a message shows.
_NAME_SHOWN, _NAMES_SHOWN = 40, 20

_ROWS_AT_ONCE, _BYTES_AT_ONCE = 4096, 1 << 24

# More than ten million refused lines take.
_MOST_BYTES = 1 << 30
# Raised when tables are written otherwise; old cache entries are then not found.
VERSION = 3


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
        if block.isascii():  # its characters stand where its bytes do
            text = block.decode()
            yield from (text[begin - first:end - first] for begin, end in pairwise(at))
        else:
            yield from (block[begin - first:end - first].decode() for begin, end in pairwise(at))

    def rows_with(self, byte: int) -> Integers:
        """Return the rows whose cell holds a byte, in their order."""
        places = [np.flatnonzero(self.cells[start:start + _BYTES_AT_ONCE] == byte) + start
                  for start in range(0, len(self.cells), _BYTES_AT_ONCE)]
        every = np.concatenate([np.zeros(0, dtype=np.int64), *places])
        return np.unique(np.searchsorted(self.offsets, every, side="right") - 1)

    @cached_property
    def blank(self) -> NDArray[np.bool_]:
        """Which cells hold nothing but white space, of Unicode too: (rows,)."""
        starts = self.offsets[:-1]
        blank: NDArray[np.bool_] = starts == self.offsets[1:]
        filled = np.flatnonzero(~blank)
        for row in filled[_MAY_BE_BLANK[self.cells[starts[filled]]]].tolist():
            blank[row] = not self[row].strip()
        return blank


@dataclass(frozen=True)
class Table:
    """The rows of one file. `refused` are the lines that are not rows.

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
        return self.column_at(column_index(self.columns, name, self.file, setting))

    def column_at(self, index: int) -> Column:
        """Return a column by its place, whatever its name."""
        offsets = self.offsets[index]
        nested = self.nested[self.nested % len(self.columns) == index] // len(self.columns)
        return Column(self.cells[offsets[0]:offsets[-1]], offsets - offsets[0], nested)


def column_index(columns: Sequence[str], name: str, file: str, setting: str = "", remedy: str = "") -> int:
    """Return where a column is; raise `DataError` for one that is not there, or there twice.

    The message tells the nearest name, and what to do about a file whose first line is not a header.
    """
    named = [name for name in columns if name]
    where = f"{file}: {setting + ': ' if setting else ''}"
    if name not in named:
        shown = listed(name if len(name) <= _NAME_SHOWN else f"{name[:_NAME_SHOWN]}…"
                       for name in named[:_NAMES_SHOWN]) + (", …" if len(named) > _NAMES_SHOWN else "")
        raise DataError(f'{where}there is no column {shown_name(name)}{nearest(name, named)}'
                        f" (its columns: {shown}{remedy}){_header_hint(named, file)}")
    if named.count(name) > 1:
        raise DataError(f'{where}there are {named.count(name)} columns named "{name}", expected one')
    return columns.index(name)


def _header_hint(names: Sequence[str], file: str) -> str:
    """Return a remedy if names look like the data of a file without a header: a sentence, or a number.

    Another one if there is a single name, which may be a title, or names that something else separates.
    """
    if any(len(name.split()) > 3 or len(name) > _NAME_SHOWN or name.replace(".", "", 1).isdecimal()
           for name in names):
        return "; if line 1 is not a header but data, set header = false and columns = [...]"
    if len(names) == 1 and not file.removesuffix(".gz").endswith(_NAMED_COLUMNS):
        return ("; line 1 holds no tab, comma, semicolon or bar: remove it if it is a title, or set "
                "delimiter")
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
        self._pending: list[Sequence[str]] = []

    def add(self, line: int, fields: Sequence[str]) -> None:
        """Take a row: as many fields as there are columns."""
        self._pending.append(fields)
        self.lines.append(line)
        if len(self._pending) >= _ROWS_AT_ONCE:
            self._take_pending()

    def _take_pending(self) -> None:
        """Append the pending rows column by column, which is several times cheaper than row by row."""
        rows, self._pending = self._pending, []
        first = len(self.lines) - len(rows)
        for column, texts in enumerate(zip(*rows, strict=True)):
            cells, ends = self.cells[column], self.ends[column]
            joined = "".join(texts)
            if joined.isascii():
                encoded, lengths = joined.encode(), map(len, texts)
            else:
                encoded_texts = [text.encode("utf-8", "replace") for text in texts]
                encoded, lengths = b"".join(encoded_texts), map(len, encoded_texts)
            ends.extend(islice(accumulate(lengths, initial=len(cells)), 1, None))
            cells += encoded
            if Nested in set(map(type, texts)):
                self.nested.extend((first + row) * len(self.columns) + column
                                   for row, text in enumerate(texts) if type(text) is Nested)

    def refuse(self, line: int, reason: str) -> None:
        """Count a line that is not a row."""
        self.refused.append((line, reason))

    def digest(self) -> str:
        """Return the digest of the content of what was gathered."""
        self._take_pending()
        content = hashlib.blake2b("\0".join(self.columns).encode("utf-8", "replace"), digest_size=16)
        for cells, ends in zip(self.cells, self.ends, strict=True):
            content.update(ends.tobytes())
            content.update(cells)
        content.update(self.lines.tobytes() + self.nested.tobytes() + repr(self.refused).encode())
        return content.hexdigest()

    def write(self, folder: Path) -> None:
        """Write what was gathered."""
        self._take_pending()
        paths = TablePaths(folder)
        rows, offsets, start = len(self.lines), [], 0
        for ends in self.ends:
            offsets.append(np.concatenate([[0], np.frombuffer(ends, dtype=np.int64)]) + start)
            start += int(ends[-1]) if rows else 0
        write_array(paths.lines, np.frombuffer(self.lines, dtype=np.int64))
        write_array(paths.offsets, np.array(offsets, dtype=np.int64))
        with growing_array(paths.cells, np.uint8) as append:  # never two copies in memory
            for cells in self.cells if start else [bytearray(1)]:
                append(np.frombuffer(cells, dtype=np.uint8))
        write_array(paths.nested, np.sort(np.frombuffer(self.nested, dtype=np.int64)))
        about = {"version": VERSION, "columns": self.columns, "refused": self.refused, "rows": rows,
                 "notes": self.notes}
        paths.about.write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")


def table_of(rows: Sequence[tuple[str, ...]], file: str) -> Table:
    """Return rows that come from no file as a table with the columns text1, text2, …"""
    columns = tuple(f"text{k + 1}" for k in range(len(rows[0]) if rows else 1))
    cells = [[row[k].encode("utf-8", "replace") for row in rows] for k in range(len(columns))]
    ends = np.cumsum([[0, *map(len, column)] for column in cells], axis=1, dtype=np.int64)
    starts = np.cumsum([0, *ends[:-1, -1]])
    flat = np.frombuffer(b"".join(cell for column in cells for cell in column), dtype=np.uint8)
    return Table(file, "", columns, np.arange(1, len(rows) + 1), (), flat, ends + starts[:, None])


def read_table(folder: Path, file: str, key: str, content: str = "") -> Table:
    """Open a table that was written; raise `StorageError` or what a value of another shape raises."""
    paths = TablePaths(folder)
    about = read_json(paths.about, StorageError, _MOST_BYTES)
    lines = open_array(paths.lines, np.int64)
    offsets = open_array(paths.offsets, np.int64)
    cells = open_array(paths.cells, np.uint8)
    nested = open_array(paths.nested, np.int64)
    columns = tuple(about["columns"])
    notes = tuple(about["notes"])
    if not all(isinstance(text, str) for text in (*columns, *notes)):
        raise ValueError(f"{folder} has columns or notes that are no texts")
    if (about["version"] != VERSION or offsets.shape != (len(columns), len(lines) + 1)
            or (len(lines) and int(offsets[-1, -1]) != len(cells))):
        raise ValueError(f"{folder} is not whole")
    refused = tuple((int(line), str(reason)) for line, reason in about["refused"])
    return Table(file, key, columns, lines, refused, cells, offsets, nested, notes, content)
