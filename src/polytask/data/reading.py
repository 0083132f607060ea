"""Files to rows: parsed once, cached, with a note for each refused line."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polytask.core.cache_paths import file_facts, table_entry
from polytask.core.counting import counted
from polytask.core.errors import DataError, listed, nearest
from polytask.core.safe_paths import refuse_special
from polytask.data.arrow_records import HUB, hub_dataset
from polytask.data.cache import Cache
from polytask.data.file_format import FileFormat
from polytask.data.formats import parse, parse_dataset
from polytask.data.label_cells import LabelColumns, label_columns, label_texts, nested_labels, unlabelled
from polytask.data.python_records import PYTHON, given_rows
from polytask.data.row_filter import RowFilter
from polytask.data.row_ids import RowIds, id_column
from polytask.data.tables import VERSION, Column, Integers, Refusal, Table, read_table

# A file changed within this time of being read may change again without its times telling.
_SETTLED_SECONDS = 2.0
# What the key of a file's content looks like; the cache may hold what another program wrote.
_KEY = re.compile(r"[0-9a-f]{32}")

LOG = logging.getLogger(__name__)

NO_LABEL, NO_TEXT, NESTED_TEXT = "no label", "no text", "a list or an object, expected text"
NESTED_LABEL = "an object or a list of lists as a label, expected a name, a number or a list of names"
_UNTOLD, _EVERY_ROW = FileFormat(), RowFilter()


@dataclass(frozen=True)
class Columns:
    """The columns of a file that a task reads, and which of its rows. No label: all, without one."""

    text: tuple[str, ...]
    label: LabelColumns | None = None
    id: str | None = None
    where: RowFilter = _EVERY_ROW

    @property
    def label_name(self) -> str:
        """The column of the label, or the first of several."""
        return label_columns(self.label or "")[0]


@dataclass(frozen=True)
class Rows:
    """The rows of a table that a task can use: `index` (rows,) into the table's own."""

    table: Table
    columns: Columns
    index: Integers
    refused: tuple[Refusal, ...]
    passed_over: int = 0
    """The rows that `where` leaves out; they count among `found`."""

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
        return label_texts(self.table, self.columns.label, self.index)

    @property
    def id_column(self) -> str | None:
        """The column of the rows' ids: the one asked for, or the one called "id"; None: their lines are."""
        return id_column(self.table.columns, self.columns.id, self.columns.text)

    @property
    def ids(self) -> list[str]:
        """The rows' ids; a row without one has the number of its line."""
        lines = self.lines.tolist()
        if self.id_column is None:
            return list(map(str, lines))
        cells = self.table.column(self.id_column).texts(self.index)
        return list(map(RowIds().of, cells, lines))

    def id_notes(self) -> list[str]:
        """Return a sentence about rows without an id, and one about ids of several rows."""
        ids = RowIds("row")
        if self.id_column is not None:
            for cell, line in zip(self.table.column(self.id_column).texts(self.index), self.lines.tolist(),
                                  strict=True):
                ids.of(cell, line)
        return ids.notes()

    def without(self, reasons: Mapping[int, str]) -> Rows:
        """Return the rows but for some, each of which is refused for a reason."""
        lines = self.lines
        refused = [(int(lines[row]), reason) for row, reason in reasons.items()]
        kept = np.delete(self.index, np.array(list(reasons), dtype=np.int64))
        return replace(self, index=kept, refused=tuple(sorted((*self.refused, *refused))))


def select(table: Table, columns: Columns, setting: str = "", blank_texts: bool = False) -> Rows:
    """Return the rows of a table that have a text, and a label if one is asked for.

    blank_texts: take rows without a text as well. Raises `DataError` for a column that is not there;
    `setting` is the dotted key it is told with.
    """
    prefix = f"{setting}." if setting else ""
    texts = [table.column(name, f"{prefix}text" if setting else "") for name in columns.text]
    if columns.id is not None:
        table.column(columns.id, f"{prefix}id" if setting else "")
    wordless = np.logical_and.reduce([column.blank for column in texts])
    nested = np.zeros(len(table), dtype=np.bool_)
    for column in texts:
        nested[column.nested] = True
    unlabeled = np.zeros(len(table), dtype=np.bool_)
    if columns.label is not None:
        unlabeled = unlabelled(table, columns.label, f"{prefix}label" if setting else "")
    odd = np.zeros(len(table), dtype=np.bool_)
    if isinstance(columns.label, str):
        odd[nested_labels(table, columns.label)] = True
    wanted = columns.where.mask(table, setting)
    reasons = [(unlabeled, NO_LABEL), (nested & ~unlabeled, NESTED_TEXT), (odd & ~nested, NESTED_LABEL)]
    if not blank_texts:
        reasons.append((wordless & ~unlabeled & ~nested & ~odd, NO_TEXT))
    bad = np.logical_or.reduce([which for which, _ in reasons])
    index = np.flatnonzero(wanted & ~bad)
    refused = [(line, reason) for which, reason in reasons for line in table.lines[which & wanted].tolist()]
    if not len(index):
        raise DataError(f"{table.file}: none of its {counted(table.found, 'row')} "
                        f"{_lacking(table, columns, wanted, reasons)}{_first(table.refused)}")
    return Rows(table, columns, index, tuple(sorted((*table.refused, *refused))),
                int(np.count_nonzero(~wanted)))


def _lacking(table: Table, columns: Columns, wanted: NDArray[np.bool_],
             reasons: list[tuple[NDArray[np.bool_], str]]) -> str:
    """Return what no row of a table has."""
    if not wanted.any():
        return f"is what where asks for ({columns.where.explained(table)})"
    if (reasons[0][0] & wanted).any():
        return f"has a label in column {listed(label_columns(columns.label or ()))}"
    if (reasons[2][0] & wanted).any():
        return f"has a label that is a name, a number or a list of names ({NESTED_LABEL.split(',')[0]})"
    if (reasons[1][0] & wanted).any():
        return f"has text in column {listed(columns.text)} (a list or an object is none)"
    return f"has any text in column {listed(columns.text)}"


def _first(refused: Sequence[Refusal]) -> str:
    """Return why the first of some lines is not a row."""
    return f"; line {refused[0][0]} is refused: {refused[0][1]}" if refused else ""


def read_file(path: str | Path, cache: Cache, setting: str = "", settings: FileFormat = _UNTOLD) -> Table:
    """Return a file as a table: parsed, or as the cache has it from an earlier start."""
    if str(path).startswith(HUB):
        name, dataset = str(path), hub_dataset(str(path))
        content = _digest(f"{name} {dataset._fingerprint}".encode())
        key = _table_key(content, "", _UNTOLD)
        return cache.entry(table_entry(key), lambda folder: parse_dataset(name, dataset).write(folder),
                           lambda folder: read_table(folder, name, key, content))
    if str(path).startswith(PYTHON):
        name = str(path)
        content = name.removeprefix(PYTHON)
        key = _table_key(content, "", _UNTOLD)
        return cache.entry(table_entry(key), lambda folder: given_rows(name).write(folder),
                           lambda folder: read_table(folder, name, key, content))
    path = Path(path).expanduser()
    check_file(path, setting)
    content = content_key(path, cache)
    LOG.info("%s: reading, or what the cache %s has of it", path, cache.folder)
    key = _table_key(content, Path(path.name.removesuffix(".gz")).suffix.lower(), settings)
    return cache.entry(table_entry(key), lambda folder: parse(path, settings).write(folder),
                       lambda folder: read_table(folder, str(path), key, content))


def _table_key(content: str, suffix: str, settings: FileFormat) -> str:
    """Return the key of a table: another way of reading the same file is another table."""
    return _digest(json.dumps([VERSION, content, suffix, settings.to_json()]).encode())


def check_file(path: Path, setting: str = "") -> None:
    """Raise `DataError` for a file that is not there, with the nearest one that is."""
    where = f"{setting}: " if setting else ""
    start = "; relative paths start at data.root" * (bool(setting) and not path.is_absolute())
    path = path.absolute()
    refuse_special(path, DataError)
    if path.is_dir():
        raise DataError(f"{where}{path} is a folder, expected a file")
    if path.is_file():
        return
    if path.exists():  # it may have no end, and is read more than once
        raise DataError(f"{where}{path} is a device or a pipe, expected a file; save its output to one")
    folder = path.parent
    if not folder.is_dir():
        raise DataError(f"{where}{path}: there is no folder {folder}{start}")
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    raise DataError(f"{where}{path}: there is no such file{nearest(path.name, names)}{start}")


def content_key(path: Path, cache: Cache) -> str:
    """Return the key of a file's content, without reading a file that is known and unchanged."""
    try:
        state = path.stat()
        about = [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
        name = file_facts(_digest(str(path.resolve()).encode()))
        known = cache.remembered(name)
        match known:
            case {"state": kept, "key": str(key)} if kept == about and _KEY.fullmatch(key):
                return key
        content = hashlib.blake2b(digest_size=16)
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
