"""The cosine of a row's two vectors."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from polytask.data.decisions import Decision, Threshold, above, clipped
from polytask.data.labels import Labels
from polytask.model.heads.contract import Head, head
from polytask.model.heads.decisions import _array
from polytask.model.output import Output


class CosineHead(nn.Module):
    """The module of a `cosine` head."""

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(self, output: Output) -> Tensor:
        return cosine_similarity(output.field("u").float(), output.field("v").float(),
                                 dim=-1, eps=self.epsilon)


@head
class Cosine(Head):
    """The cosine of the two vectors of a row; nothing is trained in it.

    Formula: u·v / max(‖u‖·‖v‖, ε), in [−1, 1]

    Inputs: u, v (rows, width); gives score (rows,). A loss compares it with the unit label as
    it is. Decided for a regression: clipped to [0, 1], then mapped to the labels' range; for two
    classes: not below a threshold that is fitted on the training rows (0.5 until then).

    Source: Reimers & Gurevych 2019, Sentence-BERT, §3; M-9, M-10, P-4, S-14.

    Departs: torch bounds each norm from below by ε, not their product.
    """

    input_field = "pair"

    epsilon: float = Field(default=1e-8, gt=0)
    """The smallest norm of a vector in the denominator."""

    def build(self, width: int, outputs: int, shared: nn.ModuleDict) -> nn.Module:
        return CosineHead(self.epsilon)

    def output_field(self, kind: str) -> str:
        return "score"

    def target_labels(self, labels: Labels) -> Labels:
        return replace(labels, unit=True)

    def problem(self, labels: Labels) -> str | None:
        if labels.kind in ("regression", "binary"):
            return None
        return (f'head "cosine" gives one number, which cannot choose between {labels.num_classes} '
                'classes; use head = "linear"')

    def thresholded(self, labels: Labels) -> bool:
        return labels.kind == "binary"

    def decide(self, output: Output, labels: Labels, threshold: Threshold | None = None) -> Decision:
        score = _array(output.field("score"))
        if labels.is_regression:
            return clipped(labels.low + score * (labels.high - labels.low), labels)
        return above(score, threshold)
