"""The score of one answer for every row: the number to beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polytask.data.dataset import TaskData
from polytask.data.decisions import named
from polytask.evaluation.evaluate import true_labels
from polytask.metrics import measure
from polytask.metrics.registry import Array
from polytask.tasks.resolved_task import ResolvedTask


@dataclass(frozen=True)
class Baseline:
    """The dev score of a simple baseline; `line` is its line on a terminal.

    `name` says what it does (`always "no"`), `limits` how many of the rows it saw where that is not all.
    """

    name: str
    scores: dict[str, float]
    limits: str = ""

    def line(self) -> str:
        scores = "  ".join(f"{name} {value:.4f}" for name, value in self.scores.items())
        return f"{self.name}: {scores}{f' ({self.limits})' if self.limits else ''}"


def baseline(task: ResolvedTask, data: TaskData) -> Baseline | None:
    """Return the scores on dev of the most frequent class, the mean, or the labels that most rows have.

    The answer is told from the training rows. Metrics that are not defined for one answer (a correlation)
    are left out. None without labelled dev rows.
    """
    dev = data.splits.get("dev")
    if dev is None or dev.targets is None or not len(dev):
        return None
    answer = _answer(task, true_labels(task, data.train))
    measured = measure(task.metrics, np.stack([answer] * len(dev)), true_labels(task, dev), task.labels)
    undefined = {note.partition(":")[0] for note in measured.notes}
    scores = {name: value for name, value in measured.values.items()
              if isinstance(value, float) and name not in undefined}
    written = named(task.labels, answer)
    return Baseline("always none of the labels" if written == "" else f'always "{written}"', scores)


def _answer(task: ResolvedTask, train: Array) -> Array:
    if task.labels.is_regression:
        return np.asarray(train.mean())
    if task.labels.kind == "multi-label":
        return np.asarray(train.mean(axis=0) >= 0.5, dtype=np.int64)
    return np.asarray(np.bincount(train, minlength=task.labels.num_classes).argmax())
