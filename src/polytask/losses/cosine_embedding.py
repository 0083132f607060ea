"""Similar rows pulled together, the others pushed apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from polytask.data.labels import Labels
from polytask.losses.contract import Loss, LossContext, kind_problem, loss
from polytask.losses.label_range import _UNIT, _at_least, _seen
from polytask.model.output import Output


@loss
class CosineEmbedding(Loss):
    """Rows above a threshold are pulled together, the others pushed apart.

    Formula: 1 − cos(u, v) where the label is at least the threshold, elsewhere
    max(0, cos(u, v) − margin)

    Inputs: u, v (rows, width), target (rows,): 0 or 1, or a number.

    Source: torch.nn.CosineEmbeddingLoss (L-12); M-11 (labels of STS forced to two), S-14.

    Departs: the reports do not say where they cut; here at half of the label's range.
    """

    input_field = "pair"
    compares_texts = True

    threshold: float = Field(default=0.5, ge=0, le=1)
    """The lowest label, as a share of its range, that counts as similar."""
    margin: float = Field(default=0.0, ge=-1, le=1)
    """The cosine below which dissimilar rows have no loss."""
    range: tuple[float, float] = _UNIT
    """The range of the labels as given; filled in from the task."""

    def problem(self, context: LossContext) -> str | None:
        if context.labels.kind in ("binary", "regression"):
            return None
        return kind_problem(self.name, context.labels, "two classes or a number",
                            'use loss "cross_entropy"')

    def prepared(self, labels: Labels, counts: Sequence[int] | None) -> Self:
        return replace(self, range=_seen(labels))  # type: ignore[type-var]

    def __call__(self, output: Output, target: Tensor) -> Tensor:
        similar = _at_least(target, self.range, self.threshold)
        sign = torch.where(similar, 1.0, -1.0)
        u, v = output.field("u").float(), output.field("v").float()
        return functional.cosine_embedding_loss(u, v, sign, margin=self.margin)
