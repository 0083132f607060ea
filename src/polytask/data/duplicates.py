"""Rows that are the same, or nearly so: within a split, between splits, between tasks.

Same: equal texts in either order, white space counting as one blank. Nearly: the sets of five
consecutive letters of two rows have a Jaccard similarity of 0.9 or more, case, blanks and
punctuation left out; candidates come from MinHash (Broder 1997) in five bands of four, which find
a pair at 0.9 with probability 0.995.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from polytask.data.reading import Rows
from polytask.data.splits import Hashes, combined, mix, row_keys
from polytask.data.tables import Column, Integers

SHINGLE = 5
THRESHOLD = 0.9
_BANDS, _IN_BAND = 5, 4
_CHUNK = 8192
_MOST_CANDIDATES = 20_000
_MOST_OF_A_ROW = 8


@dataclass(frozen=True)
class Repeats:
    """Rows of a split seen before: `rows` and `earlier` (repeats,).

    `conflicting` (repeats,): whether the label differs from the earlier row's.
    """

    rows: Integers
    earlier: Integers
    conflicting: NDArray[np.bool_]


@dataclass(frozen=True)
class SharedRows:
    """Rows of one split that stand in another: (shared,) rows of each, one there for each here."""

    rows: Integers
    other: Integers

    def __len__(self) -> int:
        return len(self.rows)


class Fingerprint:
    """What is compared of a split's rows, computed once."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    @cached_property
    def keys(self) -> Hashes:
        """A hash of each row's texts, the same in either order: (rows,)."""
        return row_keys(self.rows.text_columns, self.rows.index)

    def shingle_sets(self, rows: Integers) -> dict[int, set[int]]:
        """Return the set of shingles of each of some rows."""
        different = np.unique(rows)
        if not len(different):
            return {}
        hashes, counts = self.shingles(different)
        parts = np.split(hashes, np.cumsum(counts)[:-1])
        sets = (set(part.tolist()) for part in parts)
        return dict(zip(different.tolist(), sets, strict=True))

    @cached_property
    def bands(self) -> Hashes:
        """The MinHash of each row, banded: (bands, rows)."""
        parts = [_banded(*self.shingles(np.arange(start, min(start + _CHUNK, len(self.rows)))))
                 for start in range(0, len(self.rows), _CHUNK)]
        return np.concatenate(parts, axis=1)

    def shingles(self, rows: Integers) -> tuple[Hashes, Integers]:
        """Return the shingles of some rows, and how many each has."""
        sides = [_shingles(column, self.rows.index[rows]) for column in self.rows.text_columns]
        if len(sides) == 1:
            return sides[0]
        counts = sides[0][1] + sides[1][1]
        merged = np.empty(int(counts.sum()), dtype=np.uint64)
        owner = np.concatenate([np.repeat(np.arange(len(rows)), count) for _, count in sides])
        merged[:] = np.concatenate([hashes for hashes, _ in sides])[np.argsort(owner, kind="stable")]
        return merged, counts


def repeats(print_: Fingerprint, labels: NDArray[np.generic] | None) -> Repeats:
    """Return the rows seen before in their own split."""
    _, firsts, group = np.unique(print_.keys, return_index=True, return_inverse=True)
    first = firsts[group]
    rows = np.flatnonzero(first != np.arange(len(first)))
    earlier = first[rows]
    if labels is None:
        return Repeats(rows, earlier, np.zeros(len(rows), dtype=np.bool_))
    differs = labels[rows] != labels[earlier]
    return Repeats(rows, earlier, differs.any(axis=1) if differs.ndim > 1 else differs)


def shared(here: Fingerprint, there: Fingerprint) -> SharedRows:
    """Return the rows here whose texts stand there, in either order."""
    keys, firsts = np.unique(there.keys, return_index=True)
    at = np.minimum(np.searchsorted(keys, here.keys), len(keys) - 1)
    rows = np.flatnonzero(keys[at] == here.keys)
    return SharedRows(rows, firsts[at[rows]])


def same_rows(here: Rows, there: Rows) -> SharedRows:
    """Return the rows here whose texts stand there byte for byte, in either order.

    `shared` but for white space, at a fraction of its time: only texts that agree in eight bytes are read.
    """
    ours, theirs = _samples(here), _samples(there)
    different = np.unique(ours)
    places = np.minimum(np.searchsorted(different, theirs), len(different) - 1)
    candidates = np.flatnonzero(different[places] == theirs)
    mine = np.flatnonzero(np.isin(ours, theirs[candidates]))
    rows_by_texts: dict[tuple[str, ...], int] = {}
    for row, texts in zip(candidates.tolist(), there.texts(candidates), strict=True):
        rows_by_texts.setdefault(tuple(sorted(texts)), row)
    pairs = [(row, rows_by_texts[key]) for row, texts in zip(mine.tolist(), here.texts(mine), strict=True)
             if (key := tuple(sorted(texts))) in rows_by_texts]
    rows, others = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return SharedRows(rows, others)


def _samples(rows: Rows) -> Hashes:
    """Return a hash of the lengths and of eight bytes of each row's texts, in either order: (rows,)."""
    sides = []
    for column in rows.text_columns:
        starts = column.offsets[:-1][rows.index]
        lengths = column.offsets[1:][rows.index] - starts
        filled = np.flatnonzero(lengths)
        sample = np.zeros(len(starts), dtype=np.uint64)
        for k in range(8):
            at = starts[filled] + (lengths[filled] - 1) * k // 7
            sample[filled] |= column.cells[at].astype(np.uint64) << np.uint64(8 * k)
        sides.append(mix(sample ^ mix(lengths.astype(np.uint64))))
    return combined(sides)


def nearly_shared(here: Fingerprint, there: Fingerprint, threshold: float = THRESHOLD) -> SharedRows:
    """Return the rows here that are nearly a row there, and no row's equal."""
    pairs = _candidates(here.bands, there.bands)
    pairs = pairs[~np.isin(pairs[:, 0], shared(here, there).rows)]
    mine, theirs = here.shingle_sets(pairs[:, 0]), there.shingle_sets(pairs[:, 1])
    first_by_row: dict[int, int] = {}
    for row, other in pairs.tolist():
        if row not in first_by_row and _jaccard(mine[row], theirs[other]) >= threshold:
            first_by_row[row] = other
    rows = sorted(first_by_row)
    return SharedRows(np.array(rows, dtype=np.int64),
                  np.array([first_by_row[row] for row in rows], dtype=np.int64))


def _jaccard(a: set[int], b: set[int]) -> float:
    return len(a & b) / max(len(a | b), 1)


def _shingles(column: Column, rows: Integers) -> tuple[Hashes, Integers]:
    """Return each run of five letters of the texts as an integer, and how many each text has.

    A text has as many as letters: the last ones run into zeros after its end.
    """
    starts, stops = column.offsets[:-1][rows], column.offsets[1:][rows]
    lengths = stops - starts
    ends = np.cumsum(lengths)
    cells = column.cells[np.arange(ends[-1]) + np.repeat(starts - ends + lengths, lengths)]
    upper = (cells >= 65) & (cells <= 90)
    cells = np.where(upper, cells + 32, cells).astype(np.uint8)
    solid = (cells >= 97) & (cells <= 122) | (cells >= 48) & (cells <= 57) | (cells >= 128)
    owner = np.repeat(np.arange(len(rows)), lengths)[solid]
    counts = np.bincount(owner, minlength=len(rows))
    # Four zeros stand after each text: letter i of the whole, in text k, is put at i + 4k.
    letters = np.zeros(len(owner) + (SHINGLE - 1) * (len(rows) + 1), dtype=np.uint64)
    at = np.arange(len(owner)) + (SHINGLE - 1) * owner
    letters[at] = cells[solid]
    packed = np.zeros(len(owner), dtype=np.uint64)
    for k in range(SHINGLE):
        packed |= letters[at + k] << np.uint64(8 * k)
    return packed, counts


def _banded(shingles: Hashes, counts: Integers) -> Hashes:
    """Return the band hashes of rows: (bands, rows)."""
    mixed = mix(shingles)
    full = counts > 0
    starts = (np.cumsum(counts) - counts)[full]
    factors = mix(np.arange(_BANDS * _IN_BAND, dtype=np.uint64)) | np.uint64(1)
    bands = np.zeros((_BANDS, len(counts)), dtype=np.uint64)
    # Rows without a letter get a hash of their own each, so that they match nothing.
    bands[:, ~full] = mix(np.flatnonzero(~full).astype(np.uint64))
    for k, factor in enumerate(factors):
        least = np.minimum.reduceat((mixed * factor) >> np.uint64(32), starts)
        bands[k // _IN_BAND, full] = mix(bands[k // _IN_BAND, full] ^ least)
    return bands


def _candidates(here: Hashes, there: Hashes) -> Integers:
    """Return pairs of rows that agree in a band, some of each row and in all: (pairs, 2)."""
    pairs = []
    for mine, theirs in zip(here, there, strict=True):
        order = np.argsort(theirs, kind="stable")
        keys = theirs[order]
        low = np.searchsorted(keys, mine, "left")
        count = np.minimum(np.searchsorted(keys, mine, "right") - low, _MOST_OF_A_ROW)
        rows = np.repeat(np.arange(len(mine)), count)
        nth = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
        pairs.append(np.stack([rows, order[low[rows] + nth]], axis=1))
    return np.unique(np.concatenate(pairs), axis=0)[:_MOST_CANDIDATES]
