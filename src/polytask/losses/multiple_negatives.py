"""Multiple negatives ranking loss."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from polytask.losses.contract import loss
from polytask.losses.in_batch import InBatch, PositiveRows
from polytask.losses.label_range import _UNIT
from polytask.model.output import Output


@loss
class MultipleNegatives(InBatch):
    """Each positive's second text must be nearer to its first than every other positive's second.

    Formula: −log(exp(s·cos(u_i, v_i)) / Σ_j exp(s·cos(u_i, v_j))), the mean over positives i

    Inputs: u, v (rows, width), target (rows,). Positives: class 1 of two; labels of at least
    `positive` of their range; with pairing "twin" all rows.

    Source: Henderson et al. 2017, Efficient Natural Language Response Suggestion for Smart Reply
    (L-8), with the scaled cosine of sentence-transformers; P-8.
    """

    scale: float = Field(default=20.0, gt=0)
    """The s of the formula; 1 / scale is SimCSE's temperature."""
    positive: float = Field(default=0.8, ge=0, le=1)
    """The lowest label, as a share of its range, of a positive row of a regression."""
    rows: PositiveRows | None = None
    """Which rows are positives; absent: "all" with pairing "twin", else "positive" by label."""
    range: tuple[float, float] = _UNIT
    """The range of the labels as given; filled in from the task."""

    def __call__(self, output: Output, target: Tensor) -> Tensor:
        return self.contrast(output, target, self.scale)
