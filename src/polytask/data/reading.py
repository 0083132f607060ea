"""Files to rows: found, parsed once, kept in the cache, and told by line what was refused."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from polytask.core.errors import DataError, nearest
from polytask.data.cache import Cache
from polytask.data.formats import HUB, hub_dataset, parse, parse_dataset
from polytask.data.tables import VERSION, Column, Integers, Refusal, Table, read_table

# A file changed within this time of being read may change again without its times telling.
_SETTLED_SECONDS = 2.0

NO_LABEL, NO_TEXT = "no label", "no text"


@dataclass(frozen=True)
class Columns:
    """The columns of a file that a task reads. No label: all rows are taken, without one."""

    text: tuple[str, ...]
    label: str | None = None
    id: str | None = None


@dataclass(frozen=True)
class Rows:
    """The rows of a table that a task can use: `index` (rows,) into the table's own."""

    table: Table
    columns: Columns
    index: Integers
    refused: tuple[Refusal, ...]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def found(self) -> int:
        """How many records the file has."""
        return self.table.found

    @property
    def lines(self) -> Integers:
        """The line of each row: (rows,)."""
        return self.table.lines[self.index]

    @property
    def unlabeled(self) -> int:
        """How many rows were refused for having no label."""
        return sum(reason.startswith(NO_LABEL) for _, reason in self.refused)

    @cached_property
    def text_columns(self) -> tuple[Column, ...]:
        return tuple(self.table.column(name) for name in self.columns.text)

    def texts(self, rows: Sequence[int] | Integers | None = None) -> list[tuple[str, ...]]:
        """Return the texts of some of the rows, or of all."""
        index = self.index if rows is None else self.index[rows]
        return list(zip(*(column.texts(index) for column in self.text_columns), strict=True))

    @cached_property
    def labels(self) -> list[str]:
        """The labels as the file has them, stripped; [] if no label column is asked for."""
        if self.columns.label is None:
            return []
        every = self.table.column(self.columns.label).texts()
        return [every[row].strip() for row in self.index.tolist()]

    @property
    def ids(self) -> list[str]:
        """The rows' ids: the column asked for, or the one called "id", or the lines in the file."""
        column = self.columns.id or ("id" if "id" in self.table.columns else None)
        if column is None:
            return [str(line) for line in self.lines.tolist()]
        return self.table.column(column).texts(self.index)

    def without(self, rows: Sequence[int], reason: str) -> Rows:
        """Return the rows but for some, which are refused for a reason."""
        refused = [(int(self.lines[row]), reason) for row in rows]
        kept = np.delete(self.index, np.asarray(rows, dtype=np.int64))
        return Rows(self.table, self.columns, kept, tuple(sorted((*self.refused, *refused))))


def read_rows(path: str | Path, columns: Columns, cache: Cache | None = None,
              setting: str = "") -> Rows:
    """Return the rows of a file that have a text, and a label if one is asked for."""
    return select(read_file(path, cache or Cache(), setting), columns, setting)


def select(table: Table, columns: Columns, setting: str = "") -> Rows:
    """Return the rows of a table that have a text, and a label if one is asked for.

    Raises `DataError` for a column that is not there; `setting` is the dotted key it is told with.
    """
    prefix = f"{setting}." if setting else ""
    texts = [table.column(name, f"{prefix}text" if setting else "") for name in columns.text]
    if columns.id is not None:
        table.column(columns.id, f"{prefix}id" if setting else "")
    wordless = np.logical_and.reduce([column.blank for column in texts])
    unlabeled = np.zeros(len(table), dtype=np.bool_)
    if columns.label is not None:
        unlabeled = table.column(columns.label, f"{prefix}label" if setting else "").blank
    index = np.flatnonzero(~(wordless | unlabeled))
    reasons = [(unlabeled, NO_LABEL), (wordless & ~unlabeled, NO_TEXT)]
    refused = [(line, reason) for which, reason in reasons
               for line in table.lines[which].tolist()]
    if not len(index):
        lacks = f'a label in column "{columns.label}"' if unlabeled.any() else "any text"
        raise DataError(f"{table.file}: none of its {table.found:,} rows has {lacks}")
    return Rows(table, columns, index, tuple(sorted((*table.refused, *refused))))


def read_file(path: str | Path, cache: Cache, setting: str = "") -> Table:
    """Return a file as a table: parsed, or as the cache has it from an earlier start."""
    if str(path).startswith(HUB):
        name, dataset = str(path), hub_dataset(str(path))
        key = _digest(f"{name} {dataset._fingerprint}".encode())
        return cache.entry(f"tables/{key}",
                           lambda folder: parse_dataset(name, dataset).write(folder),
                           lambda folder: read_table(folder, name, key))
    path = Path(path).expanduser()
    check_file(path, setting)
    key = _content_key(path, cache)
    return cache.entry(f"tables/{key}", lambda folder: parse(path).write(folder),
                       lambda folder: read_table(folder, str(path), key))


def check_file(path: Path, setting: str = "") -> None:
    """Raise `DataError` for a file that is not there, with the nearest one that is."""
    where = f"{setting}: " if setting else ""
    start = "; relative paths start at data.root" * (bool(setting) and not path.is_absolute())
    path = path.absolute()
    if path.is_dir():
        raise DataError(f"{where}{path} is a folder, expected a file")
    if path.exists():
        return
    folder = path.parent
    if not folder.is_dir():
        raise DataError(f"{where}{path}: there is no folder {folder}{start}")
    names = sorted(each.name for each in folder.iterdir() if each.is_file())
    raise DataError(f"{where}{path}: there is no such file{nearest(path.name, names)}{start}")


def _content_key(path: Path, cache: Cache) -> str:
    """Return the key of a file's content, without reading a file that is known and unchanged."""
    try:
        state = path.stat()
        about = [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
        name = f"files/{_digest(str(path.resolve()).encode())}.json"
        known = cache.remembered(name)
        if isinstance(known, dict) and known.get("state") == about:
            return str(known["key"])
        content = hashlib.blake2b(f"table {VERSION} ".encode(), digest_size=16)
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                content.update(block)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    key = content.hexdigest()
    if time.time() - max(state.st_mtime, state.st_ctime) > _SETTLED_SECONDS:
        cache.remember(name, {"state": about, "key": key})
    return key


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
