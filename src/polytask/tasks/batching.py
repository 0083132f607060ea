"""Rows to a flat batch: special tokens around the texts, cut to length, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from polytask.model.batch import Span, TokenBatch
from polytask.tasks.tokens import Specials, TokenColumn

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Packing:
    """How the texts of a row become sequences.

    `texts` and `sequences` as the pairing has them: 1, 1 single; 2, 1 packed into one sequence;
    2, 2 each its own; 1, 2 the one text twice. `separator` and `segments` are packed's.
    """

    texts: int
    sequences: int
    max_length: int
    separator: bool = True
    segments: bool = True

    @classmethod
    def of(cls, pairing: Any, max_length: int) -> Packing:
        """Return the packing that a pairing asks for."""
        return cls(pairing.texts, pairing.sequences, max_length,
                   getattr(pairing, "separator", True), getattr(pairing, "segments", True))

    @property
    def packed(self) -> bool:
        """Whether a sequence holds two texts."""
        return self.texts > self.sequences


@dataclass(frozen=True)
class Draw:
    """Rows of one task for one step: `rows` index its `columns` (one for each text of a row)."""

    task: str
    packing: Packing
    columns: tuple[TokenColumn, ...]
    rows: Integers


@dataclass(frozen=True)
class Lengths:
    """Token counts with special tokens: `kept` and `full` (rows, sequences), before truncation."""

    kept: Integers
    full: Integers

    @property
    def truncated(self) -> NDArray[np.bool_]:
        """Which rows lose tokens: (rows,)."""
        return np.asarray((self.kept < self.full).any(axis=1))


def packed_lengths(packing: Packing, columns: Sequence[TokenColumn], rows: Integers,
                   specials: Specials) -> Lengths:
    """Return how long the sequences of rows are, without building them."""
    lengths = _text_lengths(columns, rows, packing)
    added = _added(packing, specials)
    kept = _truncated(lengths, packing, specials)
    if packing.packed:
        return Lengths(kept.sum(axis=1, keepdims=True) + added,
                       lengths.sum(axis=1, keepdims=True) + added)
    return Lengths(kept + added, lengths + added)


def collate(draws: Sequence[Draw], specials: Specials) -> TokenBatch:
    """Build the flat batch of a step, its draws one after the other.

    A row of two sequences has them next to each other: u, v, u, v, …
    """
    parts = [_lay(draw, specials) for draw in draws]
    spans, sequence, token = [], 0, 0
    for draw, (ids, _, lengths) in zip(draws, parts, strict=True):
        after = (sequence + len(lengths), token + len(ids))
        spans.append(Span(draw.task, len(draw.rows), slice(sequence, after[0]),
                          slice(token, after[1])))
        sequence, token = after
    ids, segments, lengths = (np.concatenate(each) for each in zip(*parts, strict=True))
    return TokenBatch(torch.from_numpy(ids), torch.from_numpy(segments), tuple(lengths.tolist()),
                      tuple(spans))


def _text_lengths(columns: Sequence[TokenColumn], rows: Integers, packing: Packing) -> Integers:
    """Return the lengths of the texts in the order they are laid: (rows, texts or sequences)."""
    lengths = [column.offsets[rows + 1] - column.offsets[rows] for column in columns]
    return np.stack(lengths * (2 if packing.sequences > packing.texts else 1), axis=1)


def _added(packing: Packing, specials: Specials) -> int:
    """How many special tokens a sequence has."""
    middle = len(specials.middle) if packing.packed and packing.separator else 0
    return len(specials.start) + middle + len(specials.end)


def _truncated(lengths: Integers, packing: Packing, specials: Specials) -> Integers:
    """Cut lengths so that sequences fit; of a packed pair the longer text loses first."""
    room = max(packing.max_length - _added(packing, specials), 0)
    if not packing.packed:
        return np.minimum(lengths, room)
    short, long = lengths.min(axis=1), lengths.max(axis=1)
    # Where the shorter fits in half the room it stays whole, else both get half, the longer one
    # the odd token (of equals the second, as the `tokenizers` library has it).
    fit = short + np.maximum(short, room - short) <= room
    cut_short = np.where(fit, short, room // 2)
    cut_long = np.minimum(long, room - cut_short)
    first_longer = lengths[:, 0] > lengths[:, 1]
    return np.stack([np.where(first_longer, cut_long, cut_short),
                     np.where(first_longer, cut_short, cut_long)], axis=1)


def _lay(draw: Draw, specials: Specials) -> tuple[Integers, Integers, Integers]:
    """Return the ids and segments (tokens,) and the lengths (sequences,) of one draw."""
    packing, rows = draw.packing, draw.rows
    kept = _truncated(_text_lengths(draw.columns, rows, packing), packing, specials)
    added = _added(packing, specials)
    lengths = (kept.sum(axis=1) if packing.packed else kept.reshape(-1)) + added
    ends = np.cumsum(lengths)
    begins = ends - lengths
    ids = np.empty(int(ends[-1]) if len(ends) else 0, dtype=np.int64)
    segments = np.zeros(len(ids), dtype=np.int64)
    _put(ids, begins, specials.start)
    _put(ids, ends - len(specials.end), specials.end)
    at = begins + len(specials.start)
    if packing.packed:
        middle = specials.middle if packing.separator else ()
        seconds = at + kept[:, 0] + len(middle)
        _put(ids, seconds - len(middle), middle)
        _copy(ids, at, draw.columns[0], rows, kept[:, 0])
        _copy(ids, seconds, draw.columns[1], rows, kept[:, 1])
        if packing.segments and specials.second:
            segments[_ranges(seconds, ends - seconds)] = specials.second
    else:
        for k in range(packing.sequences):
            column = draw.columns[min(k, len(draw.columns) - 1)]
            _copy(ids, at[k::packing.sequences], column, rows, kept[:, k])
    return ids, segments, lengths


def _put(ids: Integers, at: Integers, tokens: tuple[int, ...]) -> None:
    for k, token in enumerate(tokens):
        ids[at + k] = token


def _copy(ids: Integers, at: Integers, column: TokenColumn, rows: Integers,
          lengths: Integers) -> None:
    """Copy the first `lengths` tokens of rows of a column to the places `at`."""
    ids[_ranges(at, lengths)] = column.ids[_ranges(column.offsets[rows], lengths)]


def _ranges(starts: Integers, lengths: Integers) -> Integers:
    """Return start, start + 1, …, start + length - 1 for each of them, one after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - ends + lengths, lengths) + np.arange(total)
