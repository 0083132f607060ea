"""A loss for classes in an order."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from polytask.data.labels import Labels
from polytask.losses.contract import Loss, LossContext, kind_problem, loss
from polytask.model.output import Output


@loss
class OrdinalLogLoss(Loss):
    """Probability on a wrong class costs the more, the farther that class is from the right one.

    Formula: −Σ_i log(1 − p_i)·|y − i|^α, p = softmax(z), where −log(1 − p_i) is computed as
    log(1 + exp(z_i − log Σ_{j≠i} exp z_j)): exact, and with a gradient, however sure the network is

    Inputs: logits (rows, classes), the ordered classes; target (rows,) int64.

    Source: Castagnos et al. 2022, A Simple Log-based Loss Function for Ordinal Text Classification
    (L-7); P-5. Its sum with cross-entropy (P-6) is the list of the two losses.
    """

    input_field = "logits"

    alpha: float = Field(default=1.5, gt=0)
    """Power of the distance between classes."""

    def outputs(self, labels: Labels) -> int:
        return labels.num_classes

    def problem(self, context: LossContext) -> str | None:
        labels = context.labels
        if labels.kind == "regression":
            return kind_problem(self.name, labels, "ordered classes",
                                'use loss "mean_squared_error", or kind = "ordinal"')
        if labels.kind == "multi-label":
            return kind_problem(self.name, labels, "one class a row",
                                'use loss "binary_cross_entropy"')
        if labels.kind == "classes" and not all(map(_is_number, labels.classes)):
            return (f'loss "{self.name}" needs ordered classes but '
                    f'{", ".join(labels.classes[:3])} have none; set kind = "ordinal" and '
                    "classes = [...] from the lowest to the highest")
        return None

    def __call__(self, output: Output, target: Tensor) -> Tensor:
        z = output.field("logits").float()  # (rows, classes)
        classes = torch.arange(z.shape[1], device=z.device)
        distance = (classes - target[:, None]).abs().float() ** self.alpha
        return (improbability(z) * distance).sum(-1).mean()


def improbability(logits: Tensor) -> Tensor:
    """Return −log(1 − softmax(z)_i) of each class: (rows, classes) -> (rows, classes)."""
    itself = torch.eye(logits.shape[-1], dtype=torch.bool, device=logits.device)
    others = logits[..., None, :].masked_fill(itself, -torch.inf).logsumexp(-1)
    return functional.softplus(logits - others)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
