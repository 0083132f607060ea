"""A task's data: its files read, split, limited, tokenized and their labels as numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.core.counting import agreeing, counted
from polytask.core.errors import DataError
from polytask.data.arrow_records import HUB
from polytask.data.cache import Cache
from polytask.data.collate import InputLayout, Lengths, Selection, sequence_lengths
from polytask.data.file_format import FileFormat
from polytask.data.label_cells import label_columns
from polytask.data.label_kind import Wanted
from polytask.data.label_targets import to_numbers
from polytask.data.labels import Labels
from polytask.data.python_records import PYTHON
from polytask.data.reading import Columns, Rows, read_file
from polytask.data.splits import Hashes, carve, combined, draw, kept_hashes, row_keys
from polytask.data.tables import Integers, Table, table_of
from polytask.data.task_labels import read_labels
from polytask.data.task_rows import Spec, reading_notes, split_rows, taken, unmatched_notes, whole_test
from polytask.data.tokenization import SpecialTokens, TokenColumn, Tokenizer, token_column

DEFAULT_DEV = 0.1
_UNTOLD = FileFormat()
# Rows from which on hashes of texts are kept: those of fewer take less than a second.
_MANY = 100_000

TaskProgress = Callable[[str, int, int], None]
"""Called with what is being tokenized, the texts done and the texts there are."""


@dataclass(frozen=True)
class Split:
    """The rows of one split of a task, ready to be batched.

    `targets` (rows,) or (rows, classes) as the loss takes them; None where there are no
    labels. `rows.index` are the rows of the file, which `columns` are token columns of.
    """

    name: str
    rows: Rows
    columns: tuple[TokenColumn, ...]
    targets: NDArray[Any] | None
    special_tokens: SpecialTokens

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def file(self) -> str:
        return self.rows.table.file

    @property
    def ids(self) -> list[str]:
        return self.rows.ids

    @property
    def lines(self) -> Integers:
        return self.rows.lines

    @property
    def raw_labels(self) -> list[str]:
        """The labels as the file has them."""
        return self.rows.labels

    def texts(self, rows: Sequence[int] | Integers | None = None) -> list[tuple[str, ...]]:
        """Return the texts of some rows, or of all."""
        return self.rows.texts(rows)

    def select(self, task: str, layout: InputLayout, rows: Integers) -> Selection:
        """Return some of the rows as a selection, ready to be collated."""
        return Selection(task, layout, self.columns, self.rows.index[rows])

    def lengths(self, layout: InputLayout) -> Lengths:
        """Return the length of each row's sequences, without building them."""
        return sequence_lengths(layout, self.columns, self.rows.index, self.special_tokens)

    def unknown_share(self) -> float:
        """Return the share of tokens that the vocabulary does not have."""
        unknown, total, strange = self.special_tokens.unknown, 0, 0
        if unknown is None:
            return 0.0
        for column in self.columns:
            total += int(column.lengths[self.rows.index].sum())
            at = np.flatnonzero(np.asarray(column.ids) == unknown)
            row_of = np.searchsorted(column.offsets, at, side="right") - 1
            strange += int(np.isin(row_of, self.rows.index).sum())
        return strange / max(1, total)


@dataclass(frozen=True)
class TaskData:
    """All of a task's data. `found` is what each split's file held before anything was drawn.

    `predicted`: a split's rows with those that have no label or no text, where there are such; they are
    predicted, not scored.
    """

    name: str
    labels: Labels
    splits: dict[str, Split]
    found: dict[str, Rows]
    notes: tuple[str, ...] = ()
    predicted: dict[str, Split] = field(default_factory=dict)

    @property
    def train(self) -> Split:
        return self.splits["train"]

    @property
    def dev(self) -> Split:
        return self.splits["dev"]

    @property
    def counts(self) -> list[int] | None:
        """Training rows of each class; None for a regression."""
        return class_counts(self.train.targets, self.labels)


def class_counts(targets: NDArray[Any] | None, labels: Labels) -> list[int] | None:
    """Return the rows of each class; None for a regression or rows without labels."""
    if labels.is_regression or targets is None:
        return None
    if labels.kind == "multi-label":
        return [int(count) for count in targets.sum(axis=0)]
    return np.bincount(targets, minlength=labels.num_classes).tolist()  # type: ignore[no-any-return]


@dataclass
class DatasetStore:
    """Files as tables and token columns, each opened once, whichever tasks read it."""

    tokenizer: Tokenizer
    root: Path = Path()
    cache: Cache = field(default_factory=Cache)
    progress: TaskProgress | None = None
    tables: dict[tuple[str, FileFormat], Table] = field(default_factory=dict)
    tokens: dict[tuple[str, str], TokenColumn] = field(default_factory=dict)

    def table(self, file: str, setting: str = "", settings: FileFormat = _UNTOLD) -> Table:
        """Return a file as a table; paths are relative to the root."""
        where = file if file.startswith((HUB, PYTHON)) else str(self.root / Path(file).expanduser())
        if (where, settings) not in self.tables:
            self.tables[where, settings] = read_file(where, self.cache, setting, settings)
        return self.tables[where, settings]

    def token_columns(self, rows: Rows) -> tuple[TokenColumn, ...]:
        """Return the token columns of the texts of rows: (rows of the whole table)."""
        return tuple(self._token_column(rows.table, name) for name in rows.columns.text)

    def row_keys(self, rows: Rows) -> Hashes:
        """Return a hash of each row's texts; those of large files are kept in the cache: (rows,)."""
        if len(rows) < _MANY:
            return row_keys(rows.text_columns, rows.index)
        names = zip(rows.columns.text, rows.text_columns, strict=True)
        return combined([kept_hashes(column, f"{rows.table.key} {name}", self.cache)[rows.index]
                         for name, column in names])

    def _token_column(self, table: Table, name: str) -> TokenColumn:
        key = (table.key, name)
        if key not in self.tokens:
            self.tokens[key] = token_column(
                table.column(name), f"{table.key} {name}", self.tokenizer, self.cache,
                self._telling(f"{Path(table.file).name} {name}"))
        return self.tokens[key]

    def _telling(self, what: str) -> Callable[[int, int], None] | None:
        progress = self.progress
        return None if progress is None else lambda done, total: progress(what, done, total)

    def split(self, name: str, rows: Rows, labels: Labels) -> Split:
        """Return rows as a split: tokens, and labels as numbers if there are any."""
        targets = None
        if rows.columns.label is not None:
            targets = to_numbers(rows.labels, labels, rows.table.file, rows.lines, rows.columns.label_name)
        return Split(name, rows, self.token_columns(rows), targets, self.tokenizer.special_tokens)

    def unlabeled(self, texts: Sequence[tuple[str, ...]], file: str = "the texts") -> Split:
        """Return texts that come from no file as a split without labels."""
        table = table_of(texts, file)
        rows = Rows(table, Columns(table.columns), np.arange(len(texts)), ())
        # The table's texts: a lone surrogate is a question mark in them.
        columns = tuple(self.tokenizer.column(table.column(name).texts())
                        for name in table.columns)
        return Split("texts", rows, columns, None, self.tokenizer.special_tokens)


def load_task_data(name: str, spec: Spec, store: DatasetStore, seed: int,
                   dev_seed: int | None = None, known: Labels | None = None) -> TaskData:
    """Read a task's files and return its splits: "train", "dev", and "test" if it has one.

    `dev_seed` draws what dev rows are drawn, `seed` the training rows; absent, they are one.
    Labels are inferred from train and dev; the dev rows come from a file or are carved from train
    (before `limit` draws from the rest, so that dev rows stay the same whatever the limit).
    `known` are the labels of a trained model, which the rows then have to fit.
    """
    where, dev_seed = f"tasks.{name}", seed if dev_seed is None else dev_seed
    columns = Columns(tuple([spec.text] if isinstance(spec.text, str) else spec.text),
                      spec.label, spec.id, spec.row_filter)

    def table(split: str) -> Table:
        return store.table(str(getattr(spec, split)), f"{where}.{split}", spec.file_format)

    rows_by_split = split_rows(spec, columns, table, where)
    # Several columns of 0 and 1 are the classes of one multi-label task, called as they are.
    several = spec.label if isinstance(spec.label, tuple) else None
    wanted = Wanted("multi-label" if several else spec.kind, several or spec.classes, spec.range,
                    spec.label_scale, where, spec.positive, spec.separator,
                    label_columns(spec.label)[0])
    labelled = read_labels(rows_by_split, wanted, known)
    labels, rows_by_split = labelled.labels, labelled.rows
    used = dict(rows_by_split)
    if "dev" not in used:
        fraction = DEFAULT_DEV if spec.dev is None else float(spec.dev)
        keys = store.row_keys(rows_by_split["train"])
        used["train"], used["dev"] = _carved(rows_by_split["train"], keys, labels, fraction, dev_seed)
    used["train"] = _drawn(used["train"], spec.limit, seed)
    used["dev"] = _drawn(used["dev"], spec.dev_limit, dev_seed)
    splits = {key: store.split(key, rows, labels) for key, rows in used.items()}
    whole = whole_test(spec, columns, table, where)
    predicted = ({"test": store.split("test", whole, labels)}
                 if whole is not None and len(whole) > len(used.get("test", ())) else {})
    notes = (*store.cache.notes, *reading_notes([*rows_by_split.values()]),
             *(f"{where}.{note}" for note in unmatched_notes([*rows_by_split.values()])),
             *(f"{name}: {note}" for note in labelled.notes))
    return TaskData(name, labels, splits, rows_by_split, notes, predicted)


def _carved(rows: Rows, keys: Hashes, labels: Labels, fraction: float, seed: int) -> tuple[Rows, Rows]:
    strata = None
    if labels.kind in ("classes", "binary", "ordinal"):
        strata = to_numbers(rows.labels, labels, rows.table.file, rows.lines, rows.columns.label_name)
    train, dev = (taken(rows, part) for part in carve(keys, strata, fraction, seed))
    if not len(train) or not len(dev):
        different = len(np.unique(keys))
        few = counted(len(rows), "row") if different == len(rows) else (
            f"{counted(different, 'different text')} in {len(rows):,} rows (rows with one text stay "
            f"together)")
        raise DataError(f"{rows.table.file}: {few} {agreeing(different, 'is', 'are')} too few to carve a "
                        f"dev split of {fraction:g} from")
    return train, dev


def _drawn(rows: Rows, limit: int | None, seed: int) -> Rows:
    if limit is None or limit >= len(rows):
        return rows  # itself, for it knows its labels already
    return taken(rows, draw(len(rows), limit, seed))
