"""The weightings of the reports: plain, fixed, and the four that learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

import torch
from torch import Tensor, nn

from polytask.core.settings import problem as refusal
from polytask.learn.weightings.contract import (
    Weighting,
    WeightingModule,
    unknown_task,
    weighting,
)


class FixedWeights(WeightingModule):
    """w_t · l_t with weights that stay."""

    def __init__(self, tasks: Sequence[str], weights: Mapping[str, float]) -> None:
        super().__init__(tasks)
        self.weights = {task: float(weights.get(task, 1.0)) for task in tasks}

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {task: loss if self.weights[task] == 1.0 else loss * self.weights[task]
                for task, loss in losses.items()}

    def report(self) -> dict[str, dict[str, float]]:
        return {"weight": dict(self.weights)}


class LearnedWeights(WeightingModule):
    """One learned number a task; subclasses say what it does to the loss."""

    def __init__(self, tasks: Sequence[str], start: float) -> None:
        super().__init__(tasks)
        # One parameter a task: in one vector, AdamW would move the tasks absent from a step.
        self.learned = nn.ParameterList(
            [nn.Parameter(torch.tensor(start, dtype=torch.float32)) for _ in self.tasks])
        self._place = {task: i for i, task in enumerate(self.tasks)}

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        made = {}
        for task, loss in losses.items():
            value = self.learned[self._place[task]]
            made[task] = self.weight(task, value) * loss + self.extra(value)
        return made

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
        made: dict[str, dict[str, float]] = {"weight": {}}
        for task, value in zip(self.tasks, self.learned, strict=True):
            made["weight"][task] = float(self.weight(task, value))
            if (sigma := self.sigma(value)) is not None:
                made.setdefault("sigma", {})[task] = float(sigma)
        return made


class LinearWeights(LearnedWeights):
    def weight(self, task: str, value: Tensor) -> Tensor:
        return value


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


class AutomaticWeights(LearnedWeights):
    def weight(self, task: str, value: Tensor) -> Tensor:
        return 0.5 / value.square()

    def extra(self, value: Tensor) -> Tensor:
        return torch.log1p(value.square())

    def sigma(self, value: Tensor) -> Tensor:
        return value.abs()


@weighting
class Sum(Weighting):
    """The plain sum of the losses.

    Formula: Σ l_t.

    Inputs: 0-dim losses.

    Source: mfrr §4.2.2 (M-17), surgery §4 (G-2), triple-threat §4.3 (T-19).
    """

    def build(self, tasks: Sequence[str], kinds: Mapping[str, str]) -> WeightingModule:
        return FixedWeights(tasks, {})


@weighting
class Fixed(Weighting):
    """A weighted sum with weights that are given and stay.

    Formula: Σ w_t l_t.

    Inputs: 0-dim losses.

    Source: triple-threat §4.3 and Table 9 (T-20, T-21).
    """

    weights: dict[str, float]
    """Task = weight; a task that is not named weighs 1."""

    def __post_init__(self) -> None:
        for task, weight in self.weights.items():
            if not (isfinite(weight) and weight >= 0):
                raise refusal(f'weights of "{task}": found {weight}, expected 0 or more')

    def build(self, tasks: Sequence[str], kinds: Mapping[str, str]) -> WeightingModule:
        return FixedWeights(tasks, self.weights)

    def problem(self, tasks: Sequence[str], narrowest: int | None = None) -> str | None:
        if tasks and not any(self.weights.get(task, 1.0) for task in tasks):
            return 'weighting "fixed" weighs every task 0; give at least one a weight above 0'
        return unknown_task('weighting "fixed"', self.weights, tasks)


@weighting
class Learnable(Weighting):
    """A weighted sum whose weights are learned with the model.

    Formula: Σ w_t l_t with w_t = 1 at the start. Nothing holds the weights up: they fall while
    the losses are positive, as the report notes.

    Inputs: 0-dim losses.

    Source: swissbert §4.2, "learnable weights" (S-8).
    """

    def build(self, tasks: Sequence[str], kinds: Mapping[str, str]) -> WeightingModule:
        return LinearWeights(tasks, start=1.0)


@weighting
class Uncertainty(Weighting):
    """Losses weighed by a learned noise of each task, as mfrr prints it.

    Formula: Σ exp(−w_t) l_t + w_t with w_t = log σ_t² = 0 at the start; for a constant loss
    w_t goes to log l_t, where the weight is 1 / l_t.

    Inputs: 0-dim losses.

    Source: mfrr §4.2.2, the weighted loss (M-18).

    Departs: it is twice `kendall`'s term for regression, for every task; beside `homoscedastic`
    its extra term is doubled.
    """

    def build(self, tasks: Sequence[str], kinds: Mapping[str, str]) -> WeightingModule:
        return LogVariances(tasks, dict.fromkeys(tasks, 1.0), extra=1.0)


@weighting
class Homoscedastic(Weighting):
    """Losses weighed by a learned noise of each task, as swissbert prints it.

    Formula: Σ l_t / σ_t² + log σ_t, learned as s_t = log σ_t² = 0 at the start; for a constant
    loss σ_t² goes to 2 l_t.

    Inputs: 0-dim losses.

    Source: swissbert §4.2, homoscedastic uncertainty (S-9).

    Departs: it is `kendall`'s term for classification, for every task.
    """

    def build(self, tasks: Sequence[str], kinds: Mapping[str, str]) -> WeightingModule:
        return LogVariances(tasks, dict.fromkeys(tasks, 1.0), extra=0.5)


@weighting
class Automatic(Weighting):
    """Losses weighed by a learned noise whose extra term cannot become negative.

    Formula: Σ l_t / (2 σ_t²) + log(1 + σ_t²), with σ_t = 1 at the start; for a constant loss
    σ_t² goes to (l + √(l² + 8 l)) / 4.

    Inputs: 0-dim losses.

    Source: Liebel & Körner 2018, eq. 4; swissbert §4.2, "automatic weighted loss" (S-10).
    """

    def build(self, tasks: Sequence[str], kinds: Mapping[str, str]) -> WeightingModule:
        return AutomaticWeights(tasks, start=1.0)


@weighting
class Kendall(Weighting):
    """Losses weighed by a learned noise, regression and classification each by its likelihood.

    Formula: Σ c_t l_t / σ_t² + log σ_t with c = ½ for regression and 1 for every other kind,
    learned as s_t = log σ_t² = 0 at the start.

    Inputs: 0-dim losses.

    Source: Kendall, Gal & Cipolla 2018, eq. 7 and 10; mfrr and swissbert cite it (M-18, S-9).
    """

    def build(self, tasks: Sequence[str], kinds: Mapping[str, str]) -> WeightingModule:
        factor = {task: 0.5 if kinds[task] == "regression" else 1.0 for task in tasks}
        return LogVariances(tasks, factor, extra=0.5)
