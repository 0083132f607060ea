"""Squared error of a score."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from polytask.data.labels import Labels
from polytask.losses.contract import Loss, LossContext, loss
from polytask.model.output import Output


@loss
class MeanSquaredError(Loss):
    """The squared distance of the score from the label.

    Formula: (s − y)²

    Inputs: score (rows,), target (rows,): the label mapped to [0, 1], or as it stands with
    label_scale = "raw". A cosine is always compared with the label in [0, 1]; of two classes the
    label is 0 or 1.

    Source: T-4, G-2; with a cosine Reimers & Gurevych 2019, Sentence-BERT, §3 (M-10, P-4, L-10).
    """

    input_field = "score"

    def outputs(self, labels: Labels) -> int:
        return 1

    def problem(self, context: LossContext) -> str | None:
        labels = context.labels
        if labels.kind in ("regression", "binary"):
            return None
        remedy = "binary_cross_entropy" if labels.kind == "multi-label" else "cross_entropy"
        return (f'loss "{self.name}" needs a score but a head for {labels.num_classes} '
                f'classes gives logits; use loss "{remedy}", or kind = "regression"')

    def __call__(self, output: Output, target: Tensor) -> Tensor:
        return functional.mse_loss(output.field("score").float(), target.float())
