"""What weightings with one learned number per task share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from polytask.learn.weightings.contract import (
    WeightingModule,
)


class LearnedWeights(WeightingModule):
    """One learned number a task; subclasses say what it does to the loss."""

    def __init__(self, tasks: Sequence[str], start: float) -> None:
        super().__init__(tasks)
        # One parameter a task: in one vector, AdamW would move the tasks absent from a step.
        self.learned = nn.ParameterList(
            [nn.Parameter(torch.tensor(start, dtype=torch.float32)) for _ in self.tasks])
        self._place = {task: i for i, task in enumerate(self.tasks)}

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        weighted = {}
        for task, loss in losses.items():
            value = self.learned[self._place[task]]
            weighted[task] = self.weight(task, value) * loss + self.extra(value)
        return weighted

    def weight(self, task: str, value: Tensor) -> Tensor:
        """Return the factor of a task's loss."""
        raise NotImplementedError

    def extra(self, value: Tensor) -> Tensor | float:
        """Return the term added to a task's weighted loss."""
        return 0.0

    def sigma(self, value: Tensor) -> Tensor | None:
        """Return the task's noise σ, where the weighting has one."""
        return None

    @torch.no_grad()
    def report(self) -> dict[str, dict[str, float]]:
        report: dict[str, dict[str, float]] = {"weight": {}}
        for task, value in zip(self.tasks, self.learned, strict=True):
            report["weight"][task] = float(self.weight(task, value))
            if (sigma := self.sigma(value)) is not None:
                report.setdefault("sigma", {})[task] = float(sigma)
        return report


class LogVariances(LearnedWeights):
    """s = log σ², with the factor of e^-s and of s that each task has."""

    def __init__(self, tasks: Sequence[str], factor: Mapping[str, float], extra: float) -> None:
        super().__init__(tasks, start=0.0)
        self.factor, self.extra_factor = dict(factor), extra

    def weight(self, task: str, value: Tensor) -> Tensor:
        return self.factor[task] * torch.exp(-value)

    def extra(self, value: Tensor) -> Tensor:
        return self.extra_factor * value

    def sigma(self, value: Tensor) -> Tensor:
        return torch.exp(value / 2)
