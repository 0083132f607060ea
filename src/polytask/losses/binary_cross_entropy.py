"""Cross-entropy of a yes or no."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from polytask.data.labels import Labels
from polytask.losses.contract import Loss, LossContext, kind_problem, loss
from polytask.model.output import Output


@loss
class BinaryCrossEntropy(Loss):
    """The negative log-likelihood of a yes or no: one for two classes, one a class for multi-label.

    Formula: −(w·y·log σ(z) + (1 − y)·log(1 − σ(z)))

    Inputs: logits and target (rows,), 0 or 1; multi-label: logits and target (rows, classes).

    Source: M-8, T-3, G-2.
    """

    input_field = "logits"

    positive_weight: float | None = Field(default=None, gt=0)
    """The w of the formula: the weight of a positive."""

    def outputs(self, labels: Labels) -> int:
        return labels.num_classes if labels.kind == "multi-label" else 1

    def problem(self, context: LossContext) -> str | None:
        labels = context.labels
        if labels.kind in ("binary", "multi-label"):
            return None
        remedy = "mean_squared_error" if labels.is_regression else "cross_entropy"
        return kind_problem(self.name, labels, "two classes or a multi-label task",
                            f'use loss "{remedy}"')

    def __call__(self, output: Output, target: Tensor) -> Tensor:
        logits = output.field("logits").float()
        w = None if self.positive_weight is None else logits.new_tensor(self.positive_weight)
        return functional.binary_cross_entropy_with_logits(logits, target.float(), pos_weight=w)
