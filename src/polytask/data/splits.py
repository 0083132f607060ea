"""Which rows go where: dev rows carved from train, and a limited number drawn.

Order comes from a hash of the seed and the row, never from a library's generator, so that the same
seed gives the same rows on every machine and version, and fewer rows are a part of more.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polytask.core.cache_paths import hash_entry, hash_file
from polytask.data.cache import Cache, open_array, write_array
from polytask.data.tables import Column, Integers

# Raised when texts are hashed otherwise; old cache entries are then not found.
VERSION = 1

# The words that files have for the splits.
SPLIT_WORDS = {"train": "train", "training": "train", "dev": "dev", "val": "dev", "valid": "dev",
               "validation": "dev", "trial": "dev", "test": "test", "testing": "test"}

Hashes = NDArray[np.uint64]


def mix(values: Hashes) -> Hashes:
    """Return well mixed 64-bit hashes of integers (the finalizer of splitmix64)."""
    x = np.atleast_1d(np.asarray(values, dtype=np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def spread(rows: int, most: int | None) -> Integers:
    """Return row numbers, at most `most`, evenly over all: files are often sorted by their labels."""
    return np.unique(np.linspace(0, rows - 1, rows if most is None else min(rows, most)).astype(np.int64))


def text_hashes(column: Column, rows: Integers) -> Hashes:
    """Return a 64-bit hash of each text; white space counts as one blank: (rows,)."""
    by_text: dict[str, bytes] = {}
    joined = b"".join(
        by_text.get(text) or by_text.setdefault(text, _hash(text)) for text in column.texts(rows))
    return np.frombuffer(joined, dtype="<u8").astype(np.uint64)


def _hash(text: str) -> bytes:
    return blake2b(" ".join(text.split()).encode(), digest_size=8).digest()


def kept_hashes(column: Column, key: str, cache: Cache) -> Hashes:
    """Return `text_hashes` of a whole column, from the cache or kept in it; `key` names its content."""
    name = blake2b(f"{VERSION} {key}".encode(), digest_size=16).hexdigest()

    def build(folder: Path) -> None:
        write_array(hash_file(folder), text_hashes(column, np.arange(len(column))))

    def load(folder: Path) -> Hashes:
        hashes = open_array(hash_file(folder), np.uint64)
        if len(hashes) != len(column):
            raise ValueError(f"{folder} is not whole")
        return hashes

    return cache.entry(hash_entry(name), build, load)


def row_keys(columns: tuple[Column, ...], rows: Integers) -> Hashes:
    """Return a hash of each row's texts, the same in either order: (rows,)."""
    return combined([text_hashes(column, rows) for column in columns])


def combined(hashes: Sequence[Hashes]) -> Hashes:
    """Return the key of each row from the hashes of its texts, the same in either order: (rows,)."""
    key = np.zeros(len(hashes[0]), dtype=np.uint64)
    for digest in np.sort(np.stack(hashes), axis=0):
        key = mix(key ^ digest)
    return key


def shuffled(rows: int, seed: int) -> Integers:
    """Return the rows in an order that only the seed decides: (rows,)."""
    return np.argsort(mix(np.arange(rows, dtype=np.uint64) ^ _salt(seed)), kind="stable")


def _salt(seed: int) -> Hashes:
    return mix(np.array([seed % 2**64], dtype=np.uint64))


def draw(rows: int, limit: int | None, seed: int) -> Integers:
    """Return `limit` of the rows, in their own order; a smaller limit draws a part of a larger."""
    if limit is None or limit >= rows:
        return np.arange(rows)
    return np.sort(shuffled(rows, seed)[:limit])


def carve(keys: Hashes, strata: Integers | None, fraction: float, seed: int
          ) -> tuple[Integers, Integers]:
    """Return the rows that stay in train and those that become dev.

    `keys` (rows,): rows of one key stay together. `strata` (rows,): classes, each of which gives
    its own share; None: all rows are alike. Classes too small to give a row are drawn from together.
    """
    different, firsts, group = np.unique(keys, return_index=True, return_inverse=True)
    sizes = np.bincount(group)
    stratum = np.zeros(len(firsts), dtype=np.int64) if strata is None else strata[firsts]
    # Ordered by their texts, not by their places: rows added to a file move no other row.
    rank = mix(different ^ _salt(seed))
    chosen = np.zeros(len(firsts), dtype=np.bool_)
    pooled = np.zeros(len(firsts), dtype=np.bool_)
    for value in np.unique(stratum):
        members = np.flatnonzero(stratum == value)
        share = _share(members, sizes, rank, fraction)
        chosen[share] = True
        pooled[members] = not len(share)
    if strata is not None:
        chosen[_share(np.flatnonzero(pooled), sizes, rank, fraction)] = True
    dev = chosen[group]
    return np.flatnonzero(~dev), np.flatnonzero(dev)


def _share(members: Integers, sizes: Integers, rank: Hashes, fraction: float) -> Integers:
    """Return a fraction of some groups in the order of their ranks, by the rows that they have."""
    members = members[np.argsort(rank[members], kind="stable")]
    taken = np.cumsum(sizes[members])
    # The group that crosses the share is taken if that comes closer to it.
    return members[taken - sizes[members] / 2 <= fraction * (taken[-1] if len(taken) else 0)]
