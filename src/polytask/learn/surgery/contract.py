"""The contract of surgeries: the tasks' gradients of the shared parameters in, one gradient out.

Most rules need only the inner products of the gradients, so they are functions from the (T, T)
Gramian to T weights and know nothing of networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field
from torch import Generator, Tensor

from polytask.core.registry import Family


class GradientRule:
    """Turns the tasks' gradients into one, during one training."""

    every: int
    """Steps from one surgery to the next; those between sum the gradients."""
    layers: tuple[int, ...] | None
    """Layers operated on, or None for every shared parameter."""
    uses_gramian = True
    """Whether `weights` serves; else `combine` needs the gradients themselves."""
    heads = False
    """Whether a task's own weights are part of its gradient, and take its weight."""

    def own_factors(self, weights: Tensor) -> Tensor:
        """Return what multiplies the tasks' own weights' gradients, if `heads`: (T,) -> (T,)."""
        return weights

    def weights(self, gramian: Tensor, generator: Generator) -> Tensor:
        """Return a weight for each task's gradient: (T, T) -> (T,)."""
        raise NotImplementedError

    def combine(self, matrix: Tensor, generator: Generator) -> Tensor:
        """Return the gradient that is stepped with: (T, P) -> (P,)."""
        gramian = matrix.double() @ matrix.double().T
        return self.weights(gramian, generator).to(matrix) @ matrix

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered between steps: plain data and tensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what was remembered."""


class Surgery(GradientRule):
    """The interface of a surgery. One without a state is its own rule."""

    every: int = Field(default=1, ge=1, description="Steps from one surgery to the next; "
                       "those between sum the gradients.")
    layers: tuple[int, ...] | None = Field(
        default=None, description="Layers operated on, counted from 0 (-1: the embeddings); "
        "absent: every shared parameter.")

    name = ""

    def build(self, tasks: Sequence[str]) -> GradientRule:
        """Return what operates on these tasks' gradients: itself, or a rule that remembers."""
        return self

    def problem(self, tasks: Sequence[str], min_tasks_per_step: int | None = None) -> str | None:
        """Return why the surgery cannot serve these tasks, in one sentence, or None.

        `min_tasks_per_step` is the smallest number of tasks that a step of the schedule holds.
        """
        return None


surgery = Family("surgery", "surgeries", methods=(("weights", "combine", "build"),), base=Surgery)
