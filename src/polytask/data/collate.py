"""Rows to a flat batch: special tokens around the texts, cut to length, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polytask.data.tables import Integers
from polytask.data.tokenization import SpecialTokens, TokenColumn

if TYPE_CHECKING:
    from polytask.data.batch import TokenBatch


@dataclass(frozen=True)
class InputLayout:
    """How the texts of a row become sequences.

    `texts` and `sequences` as the pairing has them: 1, 1 `single`; 2, 1 `cross_encoder`; 2, 2 `bi_encoder`;
    1, 2 `twin`; 2, 3 `cross_bi_encoder`. `separator` and `segments` are those of a sequence of two texts;
    `symmetric`: one more sequence, at the end, has the two texts exchanged.
    """

    texts: int
    sequences: int
    max_length: int
    separator: bool = True
    segments: bool = True
    symmetric: bool = False

    @classmethod
    def of(cls, pairing: Any, max_length: int) -> InputLayout:
        """Return the layout that a pairing asks for."""
        return cls(pairing.texts, pairing.sequences, max_length,
                   getattr(pairing, "separator", True), getattr(pairing, "segments", True),
                   getattr(pairing, "symmetric", False))

    @property
    def joined(self) -> bool:
        """Whether its one sequence holds two texts."""
        return self.texts > self.sequences

    @property
    def parts(self) -> tuple[tuple[InputLayout, bool], ...]:
        """The plain layouts whose sequences a row has in turn, and whether its texts are exchanged."""
        if self.symmetric:
            plain = replace(self, sequences=self.sequences - 1, symmetric=False)
            return *plain.parts, (replace(plain, sequences=1), True)
        if self.sequences < 3:
            return ((self, False),)
        return (replace(self, sequences=self.texts), False), (replace(self, sequences=1), False)


@dataclass(frozen=True)
class Selection:
    """Rows of one task for one step: `rows` index its `columns` (one for each text of a row)."""

    task: str
    layout: InputLayout
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


def sequence_lengths(layout: InputLayout, columns: Sequence[TokenColumn], rows: Integers,
                   special_tokens: SpecialTokens) -> Lengths:
    """Return how long the sequences of rows are, without building them."""
    if len(layout.parts) > 1:
        each = [sequence_lengths(part, columns[::-1] if exchanged else columns, rows, special_tokens)
                for part, exchanged in layout.parts]
        return Lengths(*(np.concatenate([getattr(lengths, name) for lengths in each], axis=1)
                         for name in ("kept", "full")))
    lengths = _text_lengths(columns, rows, layout)
    added = _added(layout, special_tokens)
    kept = _truncated(lengths, layout, special_tokens)
    if layout.joined:
        return Lengths(kept.sum(axis=1, keepdims=True) + added,
                       lengths.sum(axis=1, keepdims=True) + added)
    return Lengths(kept + added, lengths + added)


def collate(selections: Sequence[Selection], special_tokens: SpecialTokens) -> TokenBatch:
    """Build the flat batch of a step, its selections one after the other.

    A row of several sequences has them next to each other: u, v, u, v, …
    """
    # Imported here: everything else in this module also serves engines that run without torch.
    import torch

    from polytask.data.batch import Span, TokenBatch

    parts = [lay(selection, special_tokens) for selection in selections]
    spans, sequence, token = [], 0, 0
    for selection, (ids, _, lengths) in zip(selections, parts, strict=True):
        after = (sequence + len(lengths), token + len(ids))
        spans.append(Span(selection.task, len(selection.rows), slice(sequence, after[0]),
                          slice(token, after[1])))
        sequence, token = after
    ids, segments, lengths = (np.concatenate(pieces) for pieces in zip(*parts, strict=True))
    return TokenBatch(torch.from_numpy(ids), torch.from_numpy(segments), tuple(lengths.tolist()),
                      tuple(spans))


def by_length(lengths: Integers, tokens: int) -> Iterator[Integers]:
    """Yield the places of rows in batches of at most `tokens` tokens, of like lengths."""
    order = np.argsort(lengths, kind="stable")
    ends = np.cumsum(lengths[order])
    start = 0
    while start < len(order):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + tokens, side="right")))
        yield order[start:stop]
        start = stop


def _text_lengths(columns: Sequence[TokenColumn], rows: Integers, layout: InputLayout) -> Integers:
    """Return the lengths of the texts in the order they are laid: (rows, texts or sequences)."""
    lengths = [column.offsets[rows + 1] - column.offsets[rows] for column in columns]
    return np.stack(lengths * (2 if layout.sequences > layout.texts else 1), axis=1)


def _added(layout: InputLayout, special_tokens: SpecialTokens) -> int:
    """How many special tokens a sequence has."""
    middle = len(special_tokens.middle) if layout.joined and layout.separator else 0
    return len(special_tokens.start) + middle + len(special_tokens.end)


def _truncated(lengths: Integers, layout: InputLayout, special_tokens: SpecialTokens) -> Integers:
    """Cut lengths so that sequences fit; in a cross-encoder's sequence the longer text loses first."""
    room = max(layout.max_length - _added(layout, special_tokens), 0)
    if not layout.joined:
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


def lay(selection: Selection, special_tokens: SpecialTokens) -> tuple[Integers, Integers, Integers]:
    """Return the ids and segments (tokens,) and the lengths (sequences,) of one selection.

    A row of several sequences has them next to each other.
    """
    layout, columns, rows = selection.layout, selection.columns, selection.rows
    if len(layout.parts) > 1:
        return _woven([lay(Selection(selection.task, part, columns[::-1] if exchanged else columns, rows),
                           special_tokens) for part, exchanged in layout.parts], len(rows))
    kept = _truncated(_text_lengths(columns, rows, layout), layout, special_tokens)
    added = _added(layout, special_tokens)
    lengths = (kept.sum(axis=1) if layout.joined else kept.reshape(-1)) + added
    ends = np.cumsum(lengths)
    begins = ends - lengths
    ids = np.empty(int(ends[-1]) if len(ends) else 0, dtype=np.int64)
    segments = np.zeros(len(ids), dtype=np.int64)
    _put(ids, begins, special_tokens.start)
    _put(ids, ends - len(special_tokens.end), special_tokens.end)
    at = begins + len(special_tokens.start)
    if layout.joined:
        middle = special_tokens.middle if layout.separator else ()
        seconds = at + kept[:, 0] + len(middle)
        _put(ids, seconds - len(middle), middle)
        _copy(ids, at, columns[0], rows, kept[:, 0])
        _copy(ids, seconds, columns[1], rows, kept[:, 1])
        if layout.segments and special_tokens.second:
            segments[ranges(seconds, ends - seconds)] = special_tokens.second
    else:
        for k in range(layout.sequences):
            column = columns[min(k, len(columns) - 1)]
            _copy(ids, at[k::layout.sequences], column, rows, kept[:, k])
    return ids, segments, lengths


def _woven(parts: Sequence[tuple[Integers, Integers, Integers]],
           rows: int) -> tuple[Integers, Integers, Integers]:
    """Return what several layouts made of the same rows as one, each row's sequences next to each other."""
    ids, segments, lengths = (np.concatenate(pieces) for pieces in zip(*parts, strict=True))
    sizes = [len(own) // max(rows, 1) for _, _, own in parts]
    starts = np.cumsum([0, *sizes])[:-1] * rows
    order = np.concatenate([np.arange(rows * size).reshape(rows, size) + start
                            for size, start in zip(sizes, starts, strict=True)], axis=1).reshape(-1)
    at = ranges((np.cumsum(lengths) - lengths)[order], lengths[order])
    return ids[at], segments[at], lengths[order]


def _put(ids: Integers, at: Integers, tokens: tuple[int, ...]) -> None:
    for k, token in enumerate(tokens):
        ids[at + k] = token


def _copy(ids: Integers, at: Integers, column: TokenColumn, rows: Integers,
          lengths: Integers) -> None:
    """Copy the first `lengths` tokens of rows of a column to the places `at`."""
    ids[ranges(at, lengths)] = column.ids[ranges(column.offsets[rows], lengths)]


def ranges(starts: Integers, lengths: Integers) -> Integers:
    """Return start, start + 1, …, start + length - 1 for each of them, one after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - ends + lengths, lengths) + np.arange(total)
