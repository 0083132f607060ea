"""Cross-entropy over classes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from polytask.core.errors import listed, nearest
from polytask.core.settings import problem
from polytask.data.labels import Labels
from polytask.losses.contract import Loss, LossContext, kind_problem, loss
from polytask.model.output import Output


@loss
class CrossEntropy(Loss):
    """The negative log-probability of the right class.

    Formula: −Σ_c w_c·q_c·log softmax(z)_c, summed over the rows and divided by the sum of their w_y;
    q is 1 on y and 0 elsewhere, with smoothing s (1 − s) on y plus s / C on every class

    Inputs: logits (rows, classes), target (rows,) int64.

    Source: M-3, T-2, G-2, P-7; the weights W_i = TC / (C·C_i) are G-11, the "balanced" of
    scikit-learn.

    Departs: with class weights the mean divides by the sum of the rows' weights, as torch's does.
    """

    input_field = "logits"

    class_weights: Literal["balanced"] | tuple[float, ...] | dict[str, float] | None = None
    """A weight for each class, by name ({ spam = 4 }; others have 1) or in their order, or "balanced"."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target spread over all classes."""

    def __post_init__(self) -> None:
        weights: Iterable[float] = ()
        if isinstance(self.class_weights, dict):
            weights = self.class_weights.values()
        elif isinstance(self.class_weights, tuple):
            weights = self.class_weights
        if not all(0 < w < math.inf for w in weights):
            raise problem(f"class_weights: found {list(weights)}, expected all above 0")

    def outputs(self, labels: Labels) -> int:
        return labels.num_classes

    def problem(self, context: LossContext) -> str | None:
        labels = context.labels
        if labels.kind == "regression":
            return kind_problem(self.name, labels, "classes",
                                'use loss "mean_squared_error", or kind = "ordinal"')
        if labels.kind == "multi-label":
            return kind_problem(self.name, labels, "one class a row",
                                'use loss "binary_cross_entropy"')
        if isinstance(self.class_weights, tuple) and len(self.class_weights) != labels.num_classes:
            return (f"class_weights: found {len(self.class_weights)} weights, expected "
                    f"{labels.num_classes}, one for each of {', '.join(labels.classes)}")
        if isinstance(self.class_weights, dict):
            for name in self.class_weights:
                if name not in labels.classes:
                    return (f'class_weights: "{name}" is not a class{nearest(name, labels.classes)} '
                            f"(expected one of {listed(labels.classes)})")
        return None

    def prepared(self, labels: Labels, counts: Sequence[int] | None) -> Self:
        if isinstance(self.class_weights, dict):
            return replace(self, class_weights=tuple(  # type: ignore[type-var]
                self.class_weights.get(name, 1.0) for name in labels.classes))
        if self.class_weights != "balanced":
            return self
        return replace(self, class_weights=balanced_weights(counts or ()))  # type: ignore[type-var]

    def row_weights(self, target: Tensor) -> Tensor | None:
        weights = self._class_weights(target)
        return None if weights is None else weights[target]

    def _class_weights(self, like: Tensor) -> Tensor | None:
        assert not isinstance(self.class_weights, str | dict), "class weights are filled in by `prepared`"
        if self.class_weights is None:
            return None
        return torch.tensor(self.class_weights, dtype=torch.float32, device=like.device)

    def __call__(self, output: Output, target: Tensor) -> Tensor:
        logits = output.field("logits").float()
        weights = self._class_weights(logits)
        return functional.cross_entropy(logits, target, weights,
                                        label_smoothing=self.label_smoothing)


def balanced_weights(counts: Sequence[int]) -> tuple[float, ...]:
    """Return W_i = TC / (C·C_i); a class without a row weighs as if it had one."""
    rows, classes = sum(counts), len(counts)
    return tuple(rows / (classes * max(count, 1)) for count in counts)
