"""The training rows of all tasks, as the trainer draws them: flat batches, targets, losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polytask.data.batch import TokenBatch, on_device
from polytask.data.collate import InputLayout, collate
from polytask.data.dataset import Split, TaskData
from polytask.data.labels import Labels
from polytask.data.tables import Integers
from polytask.learn.microbatch import TaskRows
from polytask.losses.contract import share_of, total
from polytask.model.multitask import StateKeeper
from polytask.model.output import Output
from polytask.tasks.resolved_task import ResolvedTask


class TrainingSet:
    """Training rows by task. `labels` are as the losses see them."""

    def __init__(self, tasks: Mapping[str, ResolvedTask], data: Mapping[str, TaskData]) -> None:
        self.tasks = dict(tasks)
        self.kept: StateKeeper | None = None
        self.splits: dict[str, Split] = {name: data[name].train for name in tasks}
        self.rows = {name: len(split) for name, split in self.splits.items()}
        self.labels: dict[str, Labels] = {name: task.head.target_labels(task.labels)
                                          for name, task in tasks.items()}
        self._layouts = {name: InputLayout.of(task.pairing, task.max_length)
                         for name, task in tasks.items()}
        self._targets = {name: self._seen(name, split) for name, split in self.splits.items()}

    def _seen(self, name: str, split: Split) -> Tensor:
        """Return a split's targets as the task's losses see them."""
        targets: Any = split.targets
        assert targets is not None, "training rows have labels"
        targets = self.labels[name].rescaled(targets, self.tasks[name].labels)
        return torch.from_numpy(np.ascontiguousarray(targets))

    def batch(self, draws: Sequence[tuple[str, Integers]]) -> tuple[TokenBatch, list[Tensor]]:
        """Return the flat batch of some draws and the target of each."""
        parts = [self.splits[task].select(task, self._layouts[task], rows) for task, rows in draws]
        special_tokens = self.splits[draws[0][0]].special_tokens
        batch = collate(parts, special_tokens)
        if self.kept is not None:
            batch = self.kept.attach(batch, [(self.splits[task], self._layouts[task], rows)
                                             for task, rows in draws])
        return batch, [self._targets[task][torch.from_numpy(rows)] for task, rows in draws]

    def loss(self, task_rows: TaskRows, output: Output, target: Tensor) -> Tensor:
        """Return the weighted sum of a task's losses, 0-dim; of a part, what it adds to its draw's.

        The parts of a draw add up to its loss, except where a loss compares rows with one another.
        """
        losses = self.tasks[task_rows.task].losses
        if task_rows.draw is None:
            return total(losses, output, target)
        whole = on_device(self._targets[task_rows.task][torch.from_numpy(task_rows.draw)], target.device)
        return total(losses, output, target, [share_of(loss, target, whole) for loss in losses])
