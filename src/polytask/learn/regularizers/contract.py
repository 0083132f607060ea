"""The contract of regularizers: their family, what all of them have, and how one is put to work."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from polytask.core.errors import ConfigError, listed, nearest
from polytask.core.registry import Family
from polytask.learn.regularizers.context import RegularizerContext

Scope = Literal["task", "step"]


class Penalty(nn.Module):
    """The module that a regularizer builds. Its state, if any, is in its `state_dict`."""

    def penalty(self, context: RegularizerContext) -> Tensor:
        """Return the penalty, 0-dim and not yet multiplied by the regularizer's weight."""
        raise NotImplementedError

    def after_step(self) -> None:
        """Follow the model after an update."""


class Regularizer:
    """The interface of a regularizer: a weight, and the tasks whose losses it joins."""

    perturbs = False
    """Whether it repeats the pass of a task, and so needs one of that task alone."""
    if TYPE_CHECKING:  # not defined here: the decorator gives the name and looks for `build`
        name: ClassVar[str]

        def build(self, model: Any) -> Penalty:
            """Return the module that computes the penalty for this model."""

    weight: float = Field(
        1.0, ge=0, allow_inf_nan=False, description="Factor of the penalty."
    )
    tasks: tuple[str, ...] | None = Field(
        None, description="The tasks whose loss it joins; absent: every task."
    )

    @property
    def scope(self) -> Scope:
        """Return "task" for a penalty of a task's loss, "step" for one of the whole update."""
        return "task"

    def acts_on(self, task: str) -> bool:
        """Return whether the penalty joins the loss of `task`."""
        return self.scope == "task" and (self.tasks is None or task in self.tasks)

    def problem(self, tasks: Collection[str], model: Any = None, sharded: bool = False) -> str | None:
        """Return why it cannot serve a run of these tasks, or None; a wrong `tasks` is named first.

        model: the network, once it is built. sharded: whether several processes each hold a part of it.
        """
        if self.tasks is not None and not self.tasks:
            return "tasks: is an empty list; name a task, or leave it out for all"
        if unknown := [name for name in self.tasks or () if name not in tasks]:
            near = nearest(unknown[0], tasks) if len(unknown) == 1 else ""
            hint = near or f" ({listed(tasks)})"
            return f"tasks: found {listed(unknown)}, expected tasks of this run{hint}"
        return None


regularizer = Family("regularizer", "regularizers", methods=("build",), base=Regularizer)


@dataclass(frozen=True)
class Attached:
    """A regularizer at work on one model."""

    settings: Regularizer
    module: Penalty

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def weight(self) -> float:
        return self.settings.weight

    @property
    def scope(self) -> Scope:
        return self.settings.scope

    @property
    def perturbs(self) -> bool:
        return self.settings.perturbs

    def acts_on(self, task: str) -> bool:
        return self.settings.acts_on(task)


def attach(settings: Regularizer, model: Any) -> Attached:
    """Build a regularizer for a model; raise `ConfigError` where the two do not fit."""
    if mistake := settings.problem(list(model.task_heads), model):
        raise ConfigError(f"regularizer {settings.name}: {mistake}")
    return Attached(settings, settings.build(model))
