"""Samplers: each walks through shuffled passes over the rows of its task.

Where a sampler stands is a handful of integers; no shuffled order is ever stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zlib import crc32

import numpy as np

from polytask.data.tables import Integers


class Sampler:
    """The rows of one task in the order they are drawn: pass after pass, each a permutation.

    Formula: pass p is the permutation that PCG64 gives for the seed (seed, crc32(task), epoch, p),
    with epoch 0 throughout where the passes go on from epoch to epoch (`continues`). A draw that
    reaches over the end of a pass takes its rest from the next one; rows which the draw has already
    are put behind it there, so that no row is in it twice while it is not larger than the set.
    """

    def __init__(self, rows: int, seed: int, task: str, continues: bool) -> None:
        self.rows, self.seed, self.task, self.continues = rows, seed, task, continues
        self.epoch = 0  # of the permutations: stays 0 where passes go on
        self._turn(0)

    def start(self, epoch: int) -> None:
        """Begin an epoch: a new shuffle, unless passes go on."""
        if not self.continues and epoch != self.epoch:
            self.epoch = epoch
            self._turn(0)

    def draw(self, size: int) -> Integers:
        """Return the next `size` rows: (size,) int64."""
        parts: list[Integers] = []
        while True:
            part = self.order[self.position : self.position + size]
            self.position += len(part)
            size -= len(part)
            parts.append(part)
            if not size:
                return np.concatenate(parts) if len(parts) > 1 else part
            # More than a whole set is wanted only of tiny ones; then rows must come again.
            self._turn(self.turn + 1, part if size + len(part) <= self.rows else part[:0], size)

    def state(self) -> dict[str, Any]:
        """Return where the sampler stands, as integers."""
        return {"epoch": self.epoch, "pass": self.turn, "position": self.position,
                "behind": self.behind.tolist(), "head": self.head}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go to where `state` was taken."""
        self.epoch = int(state["epoch"])
        behind = np.array(state["behind"], dtype=np.int64)
        self._turn(int(state["pass"]), behind, int(state["head"]))
        self.position = int(state["position"])

    def _turn(self, turn: int, behind: Integers | None = None, head: int = 0) -> None:
        """Shuffle pass `turn`; rows of `behind` move behind the first `head` others."""
        self.turn, self.position, self.head = turn, 0, head
        self.behind = np.empty(0, dtype=np.int64) if behind is None else behind.copy()
        key = np.random.SeedSequence([self.seed, crc32(self.task.encode()), self.epoch, turn])
        order = np.random.Generator(np.random.PCG64(key)).permutation(self.rows)
        if len(self.behind):
            others = np.flatnonzero(~np.isin(order, self.behind))[:head]
            first = np.zeros(self.rows, dtype=bool)
            first[others] = True
            order = np.concatenate([order[first], order[~first]])
        self.order: Integers = order
