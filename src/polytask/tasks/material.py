"""The training rows of all tasks, as the trainer draws them: flat batches, targets, losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polytask.core.labels import Labels
from polytask.model.batch import TokenBatch
from polytask.model.output import Output
from polytask.tasks.batching import Packing, collate
from polytask.tasks.data import Split, TaskData
from polytask.tasks.objectives import total
from polytask.tasks.task import ResolvedTask

Rows = NDArray[np.int64]


class Material:
    """Training rows by task. `labels` are as the objectives see them."""

    def __init__(self, tasks: Mapping[str, ResolvedTask], data: Mapping[str, TaskData]) -> None:
        self.tasks = dict(tasks)
        self.splits: dict[str, Split] = {name: data[name].train for name in tasks}
        self.rows = {name: len(split) for name, split in self.splits.items()}
        self.labels: dict[str, Labels] = {name: task.head.sees(task.labels)
                                          for name, task in tasks.items()}
        self._packings = {name: Packing.of(task.pairing, task.max_length)
                          for name, task in tasks.items()}
        self._targets = {name: self._seen(name, split) for name, split in self.splits.items()}

    def _seen(self, name: str, split: Split) -> Tensor:
        """Return a split's targets as the task's objectives see them."""
        targets: Any = split.targets
        assert targets is not None, "training rows have labels"
        seen, held = self.labels[name], self.tasks[name].labels
        if held.is_regression and seen.unit != held.unit:
            targets = seen.scaled(held.unscaled(targets))
        return torch.from_numpy(np.ascontiguousarray(targets))

    def batch(self, draws: Sequence[tuple[str, Rows]]) -> tuple[TokenBatch, list[Tensor]]:
        """Return the flat batch of some draws and the target of each."""
        parts = [self.splits[task].draw(task, self._packings[task], rows) for task, rows in draws]
        specials = self.splits[draws[0][0]].specials
        return collate(parts, specials), [self._targets[task][torch.from_numpy(rows)]
                                          for task, rows in draws]

    def loss(self, task: str, output: Output, target: Tensor) -> Tensor:
        """Return the weighted sum of a task's objectives: 0-dim."""
        return total(self.tasks[task].objectives, output, target)
