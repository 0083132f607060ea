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

# Elements taken at a time on the CPU: T such pieces stay in the cache while all T² dots read them.
PIECE = 1 << 15


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
        """Return the gradient from a vector a token: indices (tokens,), values (tokens, width)."""
        rows, place = torch.unique(indices, return_inverse=True)
        into = values.new_zeros(len(rows), values.shape[1])
        return cls(rows, into.index_add_(0, place, values), num_rows)

    def dense(self) -> Tensor:
        """Return the whole matrix: (num_rows, width)."""
        whole = self.values.new_zeros(self.num_rows, self.values.shape[1])
        return whole.index_copy_(0, self.rows, self.values)


Gradient = Tensor | RowGradient | None
Gradients = list[Gradient]


def gramian(tasks: Sequence[Gradients]) -> Tensor:
    """Return the inner products of the tasks' gradients: (T, T) float64 on the CPU.

    Dots are float32, their sum over pieces and parameters is float64.
    """
    total = torch.zeros(len(tasks), len(tasks), dtype=torch.float64)
    for parameter in zip(*tasks, strict=True):
        present = [i for i, gradient in enumerate(parameter) if gradient is not None]
        if not present:
            continue
        dots = _gramian([parameter[i] for i in present]).to("cpu")
        total[torch.tensor(present)[:, None], torch.tensor(present)] += dots
    return total


def cosines(gram: Tensor) -> Tensor:
    """Return the cosines between gradients from their Gramian: (T, T); 0 where one is zero."""
    norms = gram.diagonal().clamp(min=0).sqrt()
    scale = norms[:, None] * norms
    return torch.where(scale > 0, gram / scale.clamp(min=torch.finfo(gram.dtype).tiny), 0.0)


def recombine(weights: Tensor | Sequence[float], tasks: Sequence[Gradients]) -> Gradients:
    """Return Σ w_t g_t, written into the first gradient that each parameter has."""
    factors = [float(weight) for weight in weights]
    return [_combined(factors, parameter) for parameter in zip(*tasks, strict=True)]


def _gramian(gradients: Sequence[Gradient]) -> Tensor:
    """Return the Gramian of one parameter, (T, T) float64 on its device."""
    if any(isinstance(gradient, RowGradient) for gradient in gradients):
        return _pairwise(gradients)
    flat = [gradient.reshape(-1) for gradient in gradients if isinstance(gradient, Tensor)]
    step = PIECE if flat[0].device.type == "cpu" else max(1, flat[0].numel())
    total = torch.zeros(len(flat), len(flat), dtype=torch.float64, device=flat[0].device)
    for start in range(0, flat[0].numel(), step):
        piece = torch.stack([one[start : start + step] for one in flat]).float()  # (T, piece)
        total += piece @ piece.T
    return total


def _pairwise(gradients: Sequence[Gradient]) -> Tensor:
    entries = [[_dot(a, b) for b in gradients[: i + 1]] for i, a in enumerate(gradients)]
    size = range(len(entries))
    return torch.stack([torch.stack([entries[max(i, j)][min(i, j)] for j in size]) for i in size])


def _dot(a: Gradient, b: Gradient) -> Tensor:
    """Return the inner product of two gradients of one parameter, 0-dim float64."""
    assert a is not None
    assert b is not None
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return (a.float() * b.float()).sum().double()
    if isinstance(a, Tensor):
        return _dot(b, a)
    if isinstance(b, Tensor):
        return (a.values.float() * b[a.rows].float()).sum().double()
    if not len(a.rows) or not len(b.rows):
        return torch.zeros((), dtype=torch.float64, device=a.values.device)
    place = torch.searchsorted(b.rows, a.rows).clamp(max=len(b.rows) - 1)
    both = b.rows[place] == a.rows
    return (a.values[both].float() * b.values[place[both]].float()).sum().double()


def _combined(factors: Sequence[float], gradients: Sequence[Gradient]) -> Gradient:
    pairs = [(factor, gradient) for factor, gradient in zip(factors, gradients, strict=True)
             if gradient is not None]
    if not pairs:
        return None
    if all(isinstance(gradient, RowGradient) for _, gradient in pairs):
        rows = [gradient for _, gradient in pairs if isinstance(gradient, RowGradient)]
        return RowGradient.summed(
            torch.cat([gradient.rows for gradient in rows]),
            torch.cat([gradient.values * factor
                       for (factor, _), gradient in zip(pairs, rows, strict=True)]),
            rows[0].num_rows)
    into: Tensor | None = None
    for factor, gradient in pairs:  # the first dense one takes the sum
        if isinstance(gradient, Tensor):
            into = gradient.mul_(factor) if into is None else into.add_(gradient, alpha=factor)
    assert into is not None
    for factor, gradient in pairs:
        if isinstance(gradient, RowGradient):
            into.index_add_(0, gradient.rows, gradient.values, alpha=factor)
    return into
