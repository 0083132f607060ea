"""PCGrad on the Gramian."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor

from polytask.learn.surgery.contract import Surgery, surgery


@surgery
class PCGrad(Surgery):
    """Each task's gradient loses what points against another task's; the results are added up.

    Formula: for each task i, g = g_i; for the other tasks j in random order, where g · g_j < 0:
    g ← g − (g · g_j / ‖g_j‖²) g_j. The answer is Σ_i g, or its mean. With g = Σ_k c_k g_k the
    product g · g_j is (G c)_j, G the Gramian, and the projection is c_j ← c_j − (G c)_j / G_jj.

    Inputs: the Gramian (T, T) of the gradients.

    Source: Yu et al. 2020, Algorithm 1; mfrr (M-19), surgery (G-3), practices (P-11), swissbert
    (S-12).

    Departs: the reports print the projection without its condition; the others are the unprojected
    gradients, as in the paper. Some code takes the mean where the paper sums: `reduction`; and projects
    the gradient of the whole network, in which a head is zero for the other tasks: `heads`.
    """

    reduction: Literal["sum", "mean"] = "sum"
    """Whether the projected gradients are added or averaged; a task's own weights have one, which stays."""
    heads: bool = False
    """Whether each task's own weights are projected as well, as in Tseng's Pytorch-PCGrad."""

    def own_factors(self, weights: Tensor) -> Tensor:
        return weights if self.reduction == "sum" else weights * len(weights)

    def weights(self, gramian: Tensor, generator: Generator) -> Tensor:
        gram = gramian.double().tolist()
        size = len(gram)
        total = [0.0] * size
        for i in range(size):
            weights = [float(k == i) for k in range(size)]
            for j in torch.randperm(size, generator=generator).tolist():
                product = sum(weights[k] * gram[k][j] for k in range(size))
                # A gradient so small that its square underflows to 0 has nothing to project on.
                if j != i and product < 0 and gram[j][j] > 0:
                    weights[j] -= product / gram[j][j]
            total = [a + b for a, b in zip(total, weights, strict=True)]
        scale = 1.0 if self.reduction == "sum" else 1.0 / size
        return torch.tensor([scale * weight for weight in total], dtype=torch.float64)
