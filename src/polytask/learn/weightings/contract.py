"""The contract of weightings: losses of the tasks in, weighted losses out, each with its own extra term.

The component holds the settings; `build` makes the module that holds what is learned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import Field
from torch import Tensor, nn

from polytask.core.errors import nearest
from polytask.core.registry import Family


class WeightingModule(nn.Module):
    """The state of a weighting during training.

    Its parameters are float32 and train with the run's optimizer at the weighting's own rate and
    without weight decay. A task that is absent from a step is left as it is.
    """

    affine = True
    """A task's term is a t + b of its own loss t alone, with a and b the same all through a step."""
    wants_new_losses = False
    """`after_step` needs the losses of the same rows under the updated weights of the model."""

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weighted loss of each task given; their sum is what is minimised."""
        raise NotImplementedError

    def after_step(self, losses: Mapping[str, Tensor]) -> None:
        """Learn from the losses of the step (see `wants_new_losses`)."""

    def after_epoch(self) -> None:
        """Learn from the epoch that ended."""

    def report(self) -> dict[str, dict[str, float]]:
        """Return the present weight of each task, and what else is worth seeing."""
        return {"weight": dict.fromkeys(self.tasks, 1.0)}


class Weighting:
    """The interface of a weighting."""

    lr: float | None = Field(
        default=None, gt=0, description="Learning rate of the weights, if they are "
        "learned; absent: the run's.")

    name = ""

    if TYPE_CHECKING:  # not given: a weighting without `build` is refused

        def build(self, tasks: Sequence[str], kinds: Mapping[str, str]) -> WeightingModule:
            """Return the module for these tasks; `kinds` says what labels each has."""
            ...

    def problem(self, tasks: Sequence[str], min_tasks_per_step: int | None = None) -> str | None:
        """Return why the weighting cannot serve these tasks, in one sentence, or None.

        `min_tasks_per_step` is the smallest number of tasks that a step of the schedule holds.
        """
        return None


weighting = Family("weighting", "weightings", methods=("build",), base=Weighting)


def unknown_task(what: str, named: Mapping[str, object], tasks: Sequence[str]) -> str | None:
    """Return which of the named tasks is none of these, or None."""
    for task in named:
        if task not in tasks:
            return f'{what} names "{task}", which is not a task here{nearest(task, tasks)}'
    return None
