"""How the tasks' gradients of the shared parameters become one: by their weights, and by surgery.

The gradient of task t is a_t g_t: g_t of the plain loss, a_t the weighting's factor. Surgery sees the
Gramian of these, or the gradients themselves, and acts on the parameters of its layers; all others get the
plain sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from polytask.core.processes import Processes
from polytask.learn.gradients import operated
from polytask.learn.gramian import Gradient, GradientList, RowGradient, gramian, recombine
from polytask.learn.layer_shards import is_shard
from polytask.learn.surgery.contract import GradientRule
from polytask.model.multitask import MultiTask


class CombinedGradients(NamedTuple):
    """One gradient of each shared parameter, and what led to it."""

    gradients: GradientList
    factors: Tensor
    """(T,) the factor of each task's own parameters."""
    inner: Tensor
    """(T, T) the Gramian of the plain gradients, over the parameters operated on."""


class GradientCombiner:
    """Combines the gradients of one update; without surgery, by the weighting's factors alone."""

    def __init__(self, surgery: GradientRule | None, model: MultiTask, shared: Sequence[nn.Parameter],
                 processes: Processes, generator: torch.Generator) -> None:
        self.surgery, self.shared, self.processes, self.generator = surgery, shared, processes, generator
        self.operated = operated(surgery, model, shared)

    def __call__(self, gradients: list[GradientList], factors: Tensor, operate: bool,
                 private: Sequence[Sequence[Tensor]]) -> CombinedGradients:
        """Return the gradient of each shared parameter, written into those of the tasks.

        factors: (T,) the weighting's a_t. private: each task's gradients of its own parameters, which a
        surgery that includes heads counts in. operate: whether surgery is due.
        """
        inner = self._inner_products(gradients)
        weights = own = factors
        combined: GradientList | None = None
        # Not for gradients that are not finite: the caller learns of them by their norm.
        if operate and self.surgery is not None and bool(inner.isfinite().all()):
            if self.surgery.uses_gramian:
                products = inner
                if self.surgery.heads:
                    products = inner + torch.diag(_squared(private))
                scaled = factors[:, None].double() * products * factors[None, :].double()
                rule = self.surgery.weights(scaled, self.generator).to(factors)
                weights = factors * rule
                own = factors * self.surgery.own_factors(rule) if self.surgery.heads else factors
            else:
                combined = self._through_matrix(gradients, factors)
        operated = set(self.operated)
        chosen = [[g if i in operated else None for i, g in enumerate(row)] for row in gradients]
        others = [[None if i in operated else g for i, g in enumerate(row)] for row in gradients]
        if combined is None:
            combined = recombine(weights, chosen)
        rest = recombine(factors, others) if len(operated) < len(self.shared) else []
        whole = [combined[i] if i in operated else rest[i] for i in range(len(self.shared))]
        return CombinedGradients(whole, own, inner)

    def _inner_products(self, gradients: list[GradientList]) -> Tensor:
        """Return the Gramian of the operated parameters; that of spread ones is a sum over processes."""
        pieces = [i for i in self.operated if is_shard(self.shared[i])]
        inner = gramian([[g[i] for i in self.operated if i not in set(pieces)] for g in gradients])
        if pieces:
            of_pieces = gramian([[g[i] for i in pieces] for g in gradients])
            self.processes.sum_([of_pieces])
            inner += of_pieces
        return inner

    def _through_matrix(self, gradients: list[GradientList], factors: Tensor) -> GradientList:
        """Combine by a rule that needs the gradients themselves: (T, P) -> (P,)."""
        assert self.surgery is not None
        shapes = [self.shared[i] for i in self.operated]
        rows = [a * torch.cat([_dense(g[i], p).flatten()
                               for i, p in zip(self.operated, shapes, strict=True)])
                for g, a in zip(gradients, factors.tolist(), strict=True)]
        flat = self.surgery.combine(torch.stack(rows), self.generator)
        pieces = torch.split(flat, [p.numel() for p in shapes])
        combined: GradientList = [None] * len(self.shared)
        for index, p, piece in zip(self.operated, shapes, pieces, strict=True):
            combined[index] = piece.view_as(p)
        return combined


def _dense(gradient: Gradient, like: Tensor) -> Tensor:
    if gradient is None:
        return torch.zeros_like(like)
    return gradient.dense() if isinstance(gradient, RowGradient) else gradient


def _squared(gradients: Sequence[Sequence[Tensor]]) -> Tensor:
    """Return each task's sum of squares: (T,) float64 on the CPU; a GPU is waited for once."""
    squares = [[gradient.square().sum(dtype=torch.float64) for gradient in own] for own in gradients]
    every = [square for own in squares for square in own]
    read = iter(torch.stack(every).tolist() if every else ())
    return torch.tensor([sum(next(read) for _ in own) for own in squares], dtype=torch.float64)
