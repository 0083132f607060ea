"""Per-task gradients as lists: their Gramian, their cosines, and their weighted sum in place.

A gradient list has an entry for each shared parameter: a dense tensor, a `RowGradient` (word
embeddings, of which a step reaches few rows), or None where the task does not reach it. Nothing
here is concatenated: the Gramian is summed parameter by parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Elements taken at a time on the CPU: T such pieces stay in the cache while every pair is read.
PIECE = 1 << 20


@dataclass
class RowGradient:
    """The gradient of a matrix of which a step reaches some rows.

    rows (n,) int64, ascending, each once · values (n, width) · num_rows of the whole matrix
    """

    rows: Tensor
    values: Tensor
    num_rows: int

    @classmethod
    def summed(cls, indices: Tensor, values: Tensor, num_rows: int) -> RowGradient:
        """Return the gradient from one vector per token: indices (tokens,), values (tokens, width)."""
        rows, place = torch.unique(indices, return_inverse=True)
        into = values.new_zeros(len(rows), values.shape[1])
        return cls(rows, into.index_add_(0, place, values), num_rows)

    def dense(self) -> Tensor:
        """Return the whole matrix: (num_rows, width)."""
        whole = self.values.new_zeros(self.num_rows, self.values.shape[1])
        return whole.index_copy_(0, self.rows, self.values)


Gradient = Tensor | RowGradient | None
GradientList = list[Gradient]


def values_of(tasks: Sequence[GradientList]) -> list[Tensor]:
    """Return the tensors that hold the tasks' gradients, to be changed in place."""
    return [gradient.values if isinstance(gradient, RowGradient) else gradient
            for gradients in tasks for gradient in gradients if gradient is not None]


def gramian(tasks: Sequence[GradientList]) -> Tensor:
    """Return the inner products of the tasks' gradients: (T, T) float64 on the CPU.

    Dots are float32, their sum over pieces and parameters is float64. A GPU is waited for once, when the
    dots of all parameters are read.
    """
    size = len(tasks)
    total = torch.zeros(size, size, dtype=torch.float64)
    found: list[tuple[list[tuple[int, int]], Tensor]] = []
    for parameter in zip(*tasks, strict=True):
        here = [i for i, gradient in enumerate(parameter) if gradient is not None]
        pairs = [(i, j) for i in here for j in here if j <= i]
        if pairs:
            found.append((pairs, _dots(parameter, pairs)))
    if found:
        read = torch.split(torch.cat([dots for _, dots in found]).cpu(), [len(pairs) for pairs, _ in found])
        for (pairs, _), dots in zip(found, read, strict=True):
            lower = torch.tensor(pairs)
            total[lower[:, 0], lower[:, 1]] += dots
    return total.tril() + total.tril(-1).T


def cosines(gram: Tensor) -> Tensor:
    """Return the cosines between gradients from their Gramian: (T, T); 0 where one is zero."""
    norms = gram.diagonal().clamp(min=0).sqrt()
    scale = norms[:, None] * norms
    return torch.where(scale > 0, gram / scale.clamp(min=torch.finfo(gram.dtype).tiny), 0.0)


def recombine(weights: Tensor | Sequence[float], tasks: Sequence[GradientList]) -> GradientList:
    """Return Σ w_t g_t, written into the first gradient that each parameter has."""
    factors = [float(weight) for weight in weights]
    return [_combined(factors, parameter) for parameter in zip(*tasks, strict=True)]


def _dots(gradients: Sequence[Gradient], pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Return the inner product of each pair of gradients of one parameter, float64."""
    if any(isinstance(gradient, RowGradient) for gradient in gradients):
        return torch.stack([_dot(gradients[i], gradients[j]) for i, j in pairs]).double()
    flat = {i: gradient.reshape(-1) for i, gradient in enumerate(gradients)
            if isinstance(gradient, Tensor)}
    numel, device = next((vector.numel(), vector.device) for vector in flat.values())
    step = PIECE if device.type == "cpu" else max(1, numel)
    rows = []
    for start in range(0, numel, step):
        piece = {i: vector[start : start + step].float() for i, vector in flat.items()}
        rows.append(torch.stack([torch.dot(piece[i], piece[j]) for i, j in pairs]))
    if not rows:  # a piece of a spread parameter may be empty
        return torch.zeros(len(pairs), dtype=torch.float64, device=device)
    return torch.stack(rows).double().sum(0)


def _dot(a: Gradient, b: Gradient) -> Tensor:
    """Return the inner product of two gradients of one parameter, 0-dim float32."""
    assert a is not None
    assert b is not None
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return (a.float() * b.float()).sum()
    if isinstance(a, Tensor):
        return _dot(b, a)
    if isinstance(b, Tensor):
        return (a.values.float() * b[a.rows].float()).sum()
    if a.rows is b.rows:
        return (a.values.float() * b.values.float()).sum()
    if not len(a.rows) or not len(b.rows):
        return torch.zeros((), device=a.values.device)
    place = torch.searchsorted(b.rows, a.rows).clamp(max=len(b.rows) - 1)
    both = b.rows[place] == a.rows
    return (a.values[both].float() * b.values[place[both]].float()).sum()


def _combined(factors: Sequence[float], gradients: Sequence[Gradient]) -> Gradient:
    pairs = [(factor, gradient) for factor, gradient in zip(factors, gradients, strict=True)
             if gradient is not None]
    if not pairs:
        return None
    if all(isinstance(gradient, RowGradient) for _, gradient in pairs):
        return _combined_rows([(factor, gradient) for factor, gradient in pairs
                               if isinstance(gradient, RowGradient)])
    into: Tensor | None = None
    for factor, gradient in pairs:  # the first dense one takes the sum
        if isinstance(gradient, Tensor):
            into = gradient.mul_(factor) if into is None else into.add_(gradient, alpha=factor)
    assert into is not None
    for factor, gradient in pairs:
        if isinstance(gradient, RowGradient):
            into.index_add_(0, gradient.rows, gradient.values, alpha=factor)
    return into


def _combined_rows(pairs: Sequence[tuple[float, RowGradient]]) -> RowGradient:
    first = pairs[0][1]
    if all(gradient.rows is first.rows for _, gradient in pairs):  # those of one step
        values = first.values.mul_(pairs[0][0])
        for factor, gradient in pairs[1:]:
            values.add_(gradient.values, alpha=factor)
        return RowGradient(first.rows, values, first.num_rows)
    return RowGradient.summed(
        torch.cat([gradient.rows for _, gradient in pairs]),
        torch.cat([gradient.values * factor for factor, gradient in pairs]), first.num_rows)
