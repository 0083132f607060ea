"""Rows drawn for an update, and the batches that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from polytask.core.labels import Labels
from polytask.model.batch import TokenBatch
from polytask.model.output import Output

Rows = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Draw:
    """Rows of one task; `share` is the part that they are of the draw they were cut from."""

    task: str
    rows: Rows
    share: float = 1.0


Draws = list[Draw]


@dataclass(frozen=True)
class Load:
    """Draws that go through the encoder together: their flat batch, and the target of each."""

    draws: Draws
    batch: TokenBatch
    targets: list[Tensor]


Part = list[Load]
"""What one backward is for: usually one load; a perturbed task has a load of its own."""


class Material(Protocol):
    """The training rows of all tasks."""

    @property
    def rows(self) -> Mapping[str, int]: ...
    @property
    def labels(self) -> Mapping[str, Labels]: ...

    def batch(self, draws: Sequence[tuple[str, Rows]]) -> tuple[TokenBatch, list[Tensor]]:
        """Return the flat batch of some draws and the target of each."""

    def loss(self, task: str, output: Output, target: Tensor) -> Tensor:
        """Return the weighted sum of a task's objectives."""


def counted(draws: Draws) -> dict[str, int]:
    """Return how many rows of each task the draws hold."""
    counts: dict[str, int] = {}
    for draw in draws:
        counts[draw.task] = counts.get(draw.task, 0) + len(draw.rows)
    return counts


def parts(draws: Draws, number: int) -> list[Draws]:
    """Cut every draw into `number` parts of about one size; empty ones are left out."""
    if number == 1:
        return [draws]
    cut = [[Draw(draw.task, piece, len(piece) / len(draw.rows)) for draw in draws
            if len(piece := np.array_split(draw.rows, number)[n])] for n in range(number)]
    return [part for part in cut if part]
