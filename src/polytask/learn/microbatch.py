"""Rows drawn for an update, and the batches that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from polytask.core.processes import Processes
from polytask.data.batch import TokenBatch
from polytask.data.labels import Labels
from polytask.data.tables import Integers
from polytask.model.output import Output


@dataclass(frozen=True)
class TaskRows:
    """Rows of one task for one update, and the draw that they were cut from, if they were."""

    task: str
    rows: Integers
    draw: Integers | None = None

    @property
    def share(self) -> float:
        """The part of the draw that these rows are."""
        return 1.0 if self.draw is None else len(self.rows) / len(self.draw)


@dataclass(frozen=True)
class Microbatch:
    """Rows that go through the encoder together, of which this process computes its share.

    A process that has no row of a draw computes the first one and counts it 0 times: so every process
    does the same passes and has a gradient for the same parameters.
    """

    step_rows: list[TaskRows]
    """The draws (or their parts), whole."""
    targets: list[Tensor]
    """The target of each draw, whole."""
    ids: Tensor
    """The tokens of all rows."""
    batch: TokenBatch
    """The flat batch of this process's rows."""
    mine: list[list[int]]
    """The places of this process's rows in each draw."""
    parts: list[float]
    """The part of each draw that this process's rows are."""
    tokens: Tensor | None = None
    """The places of this process's tokens among `ids`; None: all."""

    @classmethod
    def shared(cls, step_rows: list[TaskRows], batch: TokenBatch, targets: list[Tensor],
               processes: Processes, device: torch.device) -> Microbatch:
        """Return this process's share of a batch."""
        shares = [processes.share(len(each.rows)) for each in step_rows]
        parts = [len(share) / len(each.rows) for share, each in zip(shares, step_rows, strict=True)]
        mine = [list(share) or [0] for share in shares]
        whole = all(part == 1.0 for part in parts)
        own, tokens = (batch, None) if whole else batch.part(mine)
        return cls(step_rows, targets, batch.ids, own.to(device), mine, parts, tokens)


Chunk = list[Microbatch]
"""What one backward is for: usually one microbatch; a perturbed task has a microbatch of its own."""


class TrainingRows(Protocol):
    """The training rows of all tasks."""

    @property
    def rows(self) -> Mapping[str, int]: ...
    @property
    def labels(self) -> Mapping[str, Labels]: ...

    def batch(self, draws: Sequence[tuple[str, Integers]]) -> tuple[TokenBatch, list[Tensor]]:
        """Return the flat batch of some draws and the target of each."""

    def loss(self, task_rows: TaskRows, output: Output, target: Tensor) -> Tensor:
        """Return the weighted sum of a task's losses; of rows cut from a draw, their part of the draw's."""


def count_by_task(step_rows: list[TaskRows]) -> dict[str, int]:
    """Return how many rows of each task the draws hold."""
    counts: dict[str, int] = {}
    for task_rows in step_rows:
        counts[task_rows.task] = counts.get(task_rows.task, 0) + len(task_rows.rows)
    return counts


def chunks(step_rows: list[TaskRows], number: int) -> list[list[TaskRows]]:
    """Cut every draw into `number` parts of about one size, one a chunk; empty ones are left out."""
    if number == 1:
        return [step_rows]
    cut = [[TaskRows(task_rows.task, piece, task_rows.rows) for task_rows in step_rows
            if len(piece := np.array_split(task_rows.rows, number)[n])] for n in range(number)]
    return [chunk for chunk in cut if chunk]
