"""SimCSE's contrastive loss."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from polytask.losses.contract import loss
from polytask.losses.in_batch import InBatch, PositiveRows
from polytask.losses.label_range import _UNIT
from polytask.model.output import Output


@loss
class SimCSE(InBatch):
    """The two vectors of a positive row must find each other among those of the batch.

    Formula: −log(exp(cos(h_i, h_i⁺)/τ) / Σ_j exp(cos(h_i, h_j⁺)/τ)), the mean over positives i

    Inputs: u = h, v = h⁺ (rows, width), target (rows,). Positives: class 1 of two; labels of at
    least `positive` of their range; with pairing "twin" (the unsupervised variant) all rows.

    Source: Gao et al. 2021, SimCSE, eq. 1 (L-9); P-9, P-10.

    Departs: practices prints h_j for h_j⁺ in the denominator, takes τ = 0.1 for the paper's 0.05,
    and calls labelled pairs unsupervised.
    """

    temperature: float = Field(default=0.05, gt=0)
    """The τ of the formula."""
    positive: float = Field(default=0.8, ge=0, le=1)
    """The lowest label, as a share of its range, of a positive row of a regression."""
    rows: PositiveRows | None = None
    """Which rows are positives; absent: "all" with pairing "twin", else "positive" by label."""
    range: tuple[float, float] = _UNIT
    """The range of the labels as given; filled in from the task."""

    def __call__(self, output: Output, target: Tensor) -> Tensor:
        return self.contrast(output, target, 1 / self.temperature)
