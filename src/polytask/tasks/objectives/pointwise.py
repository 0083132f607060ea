"""Objectives over single rows: what the head gave against the label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from polytask.core.labels import Labels
from polytask.core.settings import problem
from polytask.model.output import Output
from polytask.tasks.objectives.contract import Objective, kind_problem, objective


@objective
class CrossEntropy(Objective):
    """The negative log-probability of the right class.

    Formula: −w_y·log softmax(z)_y, the mean weighted by w_y; with smoothing s the target is
    (1 − s) on y plus s / C on every class

    Inputs: logits (rows, classes), target (rows,) int64.

    Source: M-3, T-2, G-2, P-7; the weights W_i = TC / (C·C_i) are G-11, the "balanced" of
    scikit-learn.

    Departs: with class weights the mean divides by the sum of the rows' weights, as torch's does.
    """

    needs = "logits"

    class_weights: Literal["balanced"] | tuple[float, ...] | None = None
    """A weight for each class, in the order of the classes, or "balanced"."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target spread over all classes."""

    def __post_init__(self) -> None:
        if isinstance(self.class_weights, tuple) and not all(0 < w < math.inf for w in self.class_weights):
            raise problem(f"class_weights: found {list(self.class_weights)}, expected all above 0")

    def outputs(self, labels: Labels) -> int:
        return labels.num_classes

    def problem(self, labels: Labels) -> str | None:
        if labels.kind == "regression":
            return kind_problem(self.name, labels, "classes",
                                'use objective "mean_squared_error", or kind = "ordinal"')
        if labels.kind == "multi-label":
            return kind_problem(self.name, labels, "one class a row",
                                'use objective "binary_cross_entropy"')
        if isinstance(self.class_weights, tuple) and len(self.class_weights) != labels.num_classes:
            return (f"class_weights: found {len(self.class_weights)} weights, expected "
                    f"{labels.num_classes}, one for each of {', '.join(labels.classes)}")
        return None

    def prepared(self, labels: Labels, counts: Sequence[int] | None) -> Self:
        if self.class_weights != "balanced":
            return self
        return replace(self, class_weights=balanced_weights(counts or ()))  # type: ignore[type-var]

    def __call__(self, output: Output, target: Tensor) -> Tensor:
        logits = output.field("logits").float()
        assert self.class_weights != "balanced", "class weights are filled in by `prepared`"
        weights = None if self.class_weights is None else logits.new_tensor(self.class_weights)
        return functional.cross_entropy(logits, target, weights,
                                        label_smoothing=self.label_smoothing)


def balanced_weights(counts: Sequence[int]) -> tuple[float, ...]:
    """Return W_i = TC / (C·C_i); a class without a row weighs as if it had one."""
    rows, classes = sum(counts), len(counts)
    return tuple(rows / (classes * max(count, 1)) for count in counts)


@objective
class OrdinalLogLoss(Objective):
    """Probability on a wrong class costs the more, the farther that class is from the right one.

    Formula: −Σ_i log(max(1 − p_i, ε))·|y − i|^α, p = softmax(z)

    Inputs: logits (rows, classes), the classes in their order; target (rows,) int64.

    Source: Castagnos et al. 2022, A Simple Log-based Loss Function for Ordinal Text Classification
    (L-7); P-5. Its sum with cross-entropy (P-6) is the list of the two objectives.

    Departs: 1 − p is bounded from below by ε, where the loss would be infinite.
    """

    needs = "logits"

    alpha: float = Field(default=1.5, gt=0)
    """Power of the distance between classes."""
    epsilon: float = Field(default=1e-7, gt=0, lt=1)
    """Least 1 − p."""

    def outputs(self, labels: Labels) -> int:
        return labels.num_classes

    def problem(self, labels: Labels) -> str | None:
        if labels.kind == "regression":
            return kind_problem(self.name, labels, "classes in their order",
                                'use objective "mean_squared_error", or kind = "ordinal"')
        if labels.kind == "multi-label":
            return kind_problem(self.name, labels, "one class a row",
                                'use objective "binary_cross_entropy"')
        if labels.kind == "classes" and not all(map(_is_number, labels.classes)):
            return (f'objective "{self.name}" needs classes in their order but '
                    f'{", ".join(labels.classes[:3])} have none; set kind = "ordinal" and '
                    "classes = [...] from the lowest to the highest")
        return None

    def __call__(self, output: Output, target: Tensor) -> Tensor:
        p = output.field("logits").float().softmax(-1)  # (rows, classes)
        classes = torch.arange(p.shape[1], device=p.device)
        distance = (classes - target[:, None]).abs().float() ** self.alpha
        return -((1 - p).clamp_min(self.epsilon).log() * distance).sum(-1).mean()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@objective
class BinaryCrossEntropy(Objective):
    """The negative log-likelihood of a yes or no: one for two classes, one a class for multi-label.

    Formula: −(w·y·log σ(z) + (1 − y)·log(1 − σ(z)))

    Inputs: logits and target (rows,), 0 or 1; multi-label: logits and target (rows, classes).

    Source: M-8, T-3, G-2.
    """

    needs = "logits"

    positive_weight: float | None = Field(default=None, gt=0)
    """The w of the formula: how much a positive counts."""

    def outputs(self, labels: Labels) -> int:
        return labels.num_classes if labels.kind == "multi-label" else 1

    def problem(self, labels: Labels) -> str | None:
        if labels.kind in ("binary", "multi-label"):
            return None
        remedy = "mean_squared_error" if labels.is_regression else "cross_entropy"
        return kind_problem(self.name, labels, "two classes or a multi-label task",
                            f'use objective "{remedy}"')

    def __call__(self, output: Output, target: Tensor) -> Tensor:
        logits = output.field("logits").float()
        w = None if self.positive_weight is None else logits.new_tensor(self.positive_weight)
        return functional.binary_cross_entropy_with_logits(logits, target.float(), pos_weight=w)


@objective
class MeanSquaredError(Objective):
    """The squared distance of the score from the label.

    Formula: (s − y)²

    Inputs: score (rows,), target (rows,): the label mapped to [0, 1], or as it stands with
    label_scale = "raw". A cosine is always compared with the label in [0, 1]; of two classes the
    label is 0 or 1.

    Source: T-4, G-2; with a cosine Reimers & Gurevych 2019, Sentence-BERT, §3 (M-10, P-4, L-10).
    """

    needs = "score"

    def outputs(self, labels: Labels) -> int:
        return 1

    def problem(self, labels: Labels) -> str | None:
        if labels.kind in ("regression", "binary"):
            return None
        remedy = "binary_cross_entropy" if labels.kind == "multi-label" else "cross_entropy"
        return (f'objective "{self.name}" needs a score but a head for {labels.num_classes} '
                f'classes gives logits; use objective "{remedy}", or kind = "regression"')

    def __call__(self, output: Output, target: Tensor) -> Tensor:
        return functional.mse_loss(output.field("score").float(), target.float())
