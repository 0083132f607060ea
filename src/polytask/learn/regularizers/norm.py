"""Norms of the weights as penalties, and the family that SMART belongs to as well."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from polytask.core.settings import problem
from polytask.learn.regularizers.context import RegularizerContext
from polytask.learn.regularizers.contract import Attached, Penalty, Regularizer, Scope, attach, regularizer
from polytask.learn.regularizers.smart import SMART

__all__ = ["SMART", "Attached", "Norm", "Penalty", "Regularizer", "attach", "norm", "regularizer"]


@regularizer
class Norm(Regularizer):
    """Keeps the weights small, or few, or none of them large.

    Formula: p = 1: sum |w|; p = 2: sum w^2 (squared = false: its square root); p = inf: max |w|.

    Inputs: all trained weights of the model or of its encoder, once per update; or those of a
    task's head, with that task's loss.

    Source: mfrr §4.2.2 (M-21, M-22: p = 1 and 2 over all parameters, factors 0.0001 … 0.005);
    surgery §4 (G-8, G-9: p = 1 and inf with the loss of STS, factor 0.05).

    Departs: weights that are not trained are left out, as they would add a constant. At p = inf
    the gradient goes to one of the largest weights, not to all of them in parts. Surgery does not
    say which weights its norm covers: `over = "head"` with `tasks = ["sts"]` is our reading, for a
    norm over the encoder would be no affair of one task's.
    """

    p: Annotated[float, Field(allow_inf_nan=True)] = 2
    """1, 2 or inf."""
    over: Literal["model", "encoder", "head"] = "model"
    """Whose weights: all; those of the encoder, with pooler and adapter; or those of each head, with the
    layer it shares."""
    squared: bool = True
    """Whether p = 2 is the sum of squares or its root."""
    weight: float = 1e-4
    """Factor of the penalty."""

    def __post_init__(self) -> None:
        if self.p not in (1, 2, math.inf):
            raise problem(f"p: found {self.p:g}, expected 1, 2 or inf")
        if not 0 <= self.weight < math.inf:
            raise problem(f"weight: found {self.weight}, expected a number of 0 or more")
        if self.tasks is not None and self.over != "head":
            raise problem(f'tasks: a norm over the {self.over} belongs to no task; '
                          'set over = "head", or leave tasks out')

    @property
    def scope(self) -> Scope:
        return "task" if self.over == "head" else "step"

    def problem(self, tasks: Collection[str], model: Any = None, sharded: bool = False) -> str | None:
        if mistake := super().problem(tasks, model, sharded):
            return mistake
        if sharded and self.over != "head":
            return (f'"norm" over the {self.over} reads every weight whole; '
                    'set train.parallel = "replicate"')
        if model is not None and not all(self._trained(model).values()):
            return (f'norm: over = "{self.over}" matches no trained weight; '
                    "remove the regularizer or train that part")
        return None

    def build(self, model: Any) -> Penalty:
        return NormPenalty(self, self._trained(model))

    def _trained(self, model: Any) -> dict[str | None, list[nn.Parameter]]:
        """Return the trained weights that the norm is over: by task at a head, else under None."""
        parts: dict[str | None, list[nn.Module]]
        if self.over == "head":
            heads = {task: model.task_heads[task] for task in self.tasks or model.task_heads}
            parts = {task: [head, *(model.shared[layer] for layer in head.shares)]
                     for task, head in heads.items()}
        else:
            parts = {None: [model if self.over == "model" else model.encoder]}
        return {task: [w for module in modules for w in module.parameters() if w.requires_grad]
                for task, modules in parts.items()}


class NormPenalty(Penalty):
    """A norm of weights that the model owns: they are not part of this module's state."""

    def __init__(self, settings: Norm, weights: dict[str | None, list[nn.Parameter]]) -> None:
        super().__init__()
        self.settings, self.weights = settings, weights

    def penalty(self, context: RegularizerContext) -> Tensor:
        task = context.task if self.settings.scope == "task" else None
        return norm(self.weights[task], self.settings.p, self.settings.squared)


def norm(weights: Iterable[Tensor], p: float, squared: bool = True) -> Tensor:
    """Return sum |w|, sum w^2 (or its root) or max |w| over several tensors: 0-dim, float32.

    One pass over the weights forward and one backward. The sums are exact to float32's rounding:
    torch's own norms of a long tensor are not (2.6e-3 off at p = 1 on 12 million weights).
    """
    value: Tensor = _NormFunction.apply(p, *weights)  # type: ignore[no-untyped-call]
    # The root has no slope at zero; there the subgradient 0 is taken.
    return value.clamp_min(1e-30).sqrt() if p == 2 and not squared else value


class _NormFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, p: float, *weights: Tensor) -> Tensor:
        ctx.p = p
        ctx.save_for_backward(*weights)
        parts = torch.stack([_PARTS[p](w) for w in weights])
        if p == math.inf:
            largest, ctx.which = parts.max(0)
            return largest.float()
        return parts.double().sum().float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weights = ctx.saved_tensors
        if ctx.p == math.inf:
            return None, *_one_entry(weights, int(ctx.which), grad)
        if ctx.p == 1:
            return None, *(w.sign().mul_(grad) for w in weights)
        return None, *(w * (2 * grad).to(w.dtype) for w in weights)


# Of one tensor, in the forms that are both exact and quick: rows are summed before their sums.
_PARTS: dict[float, Callable[[Tensor], Tensor]] = {
    1: lambda w: w.abs().sum(dtype=torch.float32),
    2: lambda w: torch.linalg.vector_norm(w, 2, -1, dtype=torch.float32).square().sum(),
    math.inf: lambda w: torch.stack(torch.aminmax(w)).abs().max(),
}


def _one_entry(weights: tuple[Tensor, ...], which: int, grad: Tensor) -> list[Tensor | None]:
    """Return gradients that are absent but for one entry: the largest of tensor `which`."""
    gradients: list[Tensor | None] = [None] * len(weights)
    flat = weights[which].flatten()
    at = flat.abs().argmax()
    entry = torch.zeros_like(flat)
    entry[at] = flat[at].sign() * grad
    gradients[which] = entry.view_as(weights[which])
    return gradients
