"""Integers drawn for an update, and the batches that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from polytask.data.batch import TokenBatch
from polytask.data.labels import Labels
from polytask.data.tables import Integers
from polytask.model.output import Output


@dataclass(frozen=True)
class TaskRows:
    """Integers of one task for one update; `share` is their part of the rows that they were cut from."""

    task: str
    rows: Integers
    share: float = 1.0


@dataclass(frozen=True)
class Microbatch:
    """Integers that go through the encoder together: their flat batch, and the target of each task."""

    step_rows: list[TaskRows]
    batch: TokenBatch
    targets: list[Tensor]


Chunk = list[Microbatch]
"""What one backward is for: usually one microbatch; a perturbed task has a microbatch of its own."""


class TrainingRows(Protocol):
    """The training rows of all tasks."""

    @property
    def rows(self) -> Mapping[str, int]: ...
    @property
    def labels(self) -> Mapping[str, Labels]: ...

    def batch(self, step_rows: Sequence[tuple[str, Integers]]) -> tuple[TokenBatch, list[Tensor]]:
        """Return the flat batch of some step_rows and the target of each."""

    def loss(self, task: str, output: Output, target: Tensor) -> Tensor:
        """Return the weighted sum of a task's losses."""


def count_by_task(step_rows: list[TaskRows]) -> dict[str, int]:
    """Return how many rows of each task the step_rows hold."""
    counts: dict[str, int] = {}
    for task_rows in step_rows:
        counts[task_rows.task] = counts.get(task_rows.task, 0) + len(task_rows.rows)
    return counts


def chunks(step_rows: list[TaskRows], number: int) -> list[list[TaskRows]]:
    """Cut every task_rows into `number` chunks of about one size; empty ones are left out."""
    if number == 1:
        return [step_rows]
    cut = [[TaskRows(task_rows.task, piece, len(piece) / len(task_rows.rows)) for task_rows in step_rows
            if len(piece := np.array_split(task_rows.rows, number)[n])] for n in range(number)]
    return [chunk for chunk in cut if chunk]
