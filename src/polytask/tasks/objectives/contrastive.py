"""Objectives over the two vectors of a row: pull what belongs together, push what does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from polytask.core.errors import ConfigError
from polytask.core.labels import Labels
from polytask.model.output import Output
from polytask.tasks.objectives.contract import Objective, kind_problem, objective

Rows = Literal["positive", "all"]
_UNIT = (0.0, 1.0)


def _seen(labels: Labels) -> tuple[float, float]:
    """Return the range of the labels as an objective sees them."""
    return (labels.low, labels.high) if labels.is_regression and not labels.unit else _UNIT


def _unit(target: Tensor, seen: tuple[float, float]) -> Tensor:
    return (target.float() - seen[0]) / (seen[1] - seen[0])


@objective
class CosineEmbedding(Objective):
    """Rows above a threshold are pulled together, the others pushed apart.

    Formula: 1 − cos(u, v) where the label is at least the threshold, elsewhere
    max(0, cos(u, v) − margin)

    Inputs: u, v (rows, width), target (rows,): 0 or 1, or a number.

    Source: torch.nn.CosineEmbeddingLoss (L-12); M-11 (labels of STS forced to two), S-14.

    Departs: the reports do not say where they cut; here at half of the label's range.
    """

    needs = "pair"

    threshold: float = Field(default=0.5, ge=0, le=1)
    """The least label, as a share of its range, that counts as similar."""
    margin: float = Field(default=0.0, ge=-1, le=1)
    """The cosine below which dissimilar rows are left alone."""
    range: tuple[float, float] = _UNIT
    """The range of the labels as they come; taken from the task."""

    def paired(self, pairing: Any) -> Self:
        if pairing.texts == 1 and pairing.sequences == 2:
            raise ConfigError(f'objective "{self.name}" compares two texts but pairing '
                              f'"{pairing.name}" has one; use objective "sim_cse"')
        return self

    def problem(self, labels: Labels) -> str | None:
        if labels.kind in ("binary", "regression"):
            return None
        return kind_problem(self.name, labels, "two classes or a number",
                            'use objective "cross_entropy"')

    def prepared(self, labels: Labels, counts: Sequence[int] | None) -> Self:
        return replace(self, range=_seen(labels))  # type: ignore[type-var]

    def __call__(self, output: Output, target: Tensor) -> Tensor:
        similar = _unit(target, self.range) >= self.threshold
        sign = torch.where(similar, 1.0, -1.0)
        u, v = output.field("u").float(), output.field("v").float()
        return functional.cosine_embedding_loss(u, v, sign, margin=self.margin)


class InBatch(Objective):
    """What `multiple_negatives` and `sim_cse` have in common: the positive rows, and the loss.

    The positives of the draw are one another's negatives; fewer than two have none, and the loss is
    0 with a gradient.
    """

    needs = "pair"
    positive: float
    rows: Rows | None
    range: tuple[float, float]

    def paired(self, pairing: Any) -> Self:
        if self.rows is not None:
            return self
        twin = pairing.texts == 1 and pairing.sequences == 2
        return replace(self, rows="all" if twin else "positive")  # type: ignore[type-var]

    def problem(self, labels: Labels) -> str | None:
        if self.rows == "all" or labels.kind in ("binary", "regression"):
            return None
        return kind_problem(self.name, labels, "rows that are positive",
                            'use two classes, a number, or rows = "all"')

    def prepared(self, labels: Labels, counts: Sequence[int] | None) -> Self:
        return replace(self, range=_seen(labels))  # type: ignore[type-var]

    def rows_problem(self, labels: Labels, targets: Any, batch: int) -> str | None:
        if batch < 2:
            return (f'"{self.name}" takes the other rows of a batch for negatives but batch_size is '
                    f"{batch}; use 2 or more")
        if self.rows == "all":
            return None
        seen = labels.scaled(targets) if labels.is_regression else targets
        count = int(self.positives(torch.as_tensor(seen)).sum())
        if count >= 2:
            return None
        if labels.is_regression:
            least = labels.low + self.positive * (labels.high - labels.low)
            return (f'"{self.name}" needs rows labelled {least:g} or more but of the training rows '
                    f'{count} are; lower its "positive", or use "mean_squared_error"')
        return (f'"{self.name}" needs rows of class "{labels.classes[1]}" but of the training rows '
                f'{count} are; use "binary_cross_entropy"')

    def positives(self, target: Tensor) -> Tensor:
        """Return which rows' labels make them positive: (rows,) bool."""
        if target.is_floating_point():
            return _unit(target, self.range) >= self.positive
        return target == 1

    def contrast(self, output: Output, target: Tensor, scale: float) -> Tensor:
        """Return the mean over positives i of −log softmax_j(scale·cos(u_i, v_j))_i."""
        u, v = output.field("u").float(), output.field("v").float()
        if self.rows != "all":
            chosen = self.positives(target)
            u, v = u[chosen], v[chosen]
        if len(u) < 2:
            return (u.sum() + v.sum()) * 0
        with torch.autocast(u.device.type, enabled=False):  # which would take the product in bf16
            cosines = functional.normalize(u, dim=-1) @ functional.normalize(v, dim=-1).T  # (n, n)
        return functional.cross_entropy(cosines * scale, torch.arange(len(u), device=u.device))


@objective
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
    """The least label, as a share of its range, of a positive row of a regression."""
    rows: Rows | None = None
    """Which rows are positives; absent: "all" with pairing "twin", else "positive" by label."""
    range: tuple[float, float] = _UNIT
    """The range of the labels as they come; taken from the task."""

    def __call__(self, output: Output, target: Tensor) -> Tensor:
        return self.contrast(output, target, self.scale)


@objective
class SimCSE(InBatch):
    """The two vectors of a positive row must find each other among those of the batch.

    Formula: −log(exp(cos(h_i, h_i⁺)/τ) / Σ_j exp(cos(h_i, h_j⁺)/τ)), the mean over positives i

    Inputs: u = h, v = h⁺ (rows, width), target (rows,). Positives: class 1 of two; labels of at
    least `positive` of their range; with pairing "twin" (the unsupervised variant) all rows.

    Source: Gao et al. 2021, SimCSE, eq. 1 (L-9); P-9, P-10.

    Departs: practices prints h_j for h_j⁺ in the denominator, takes τ = 0.1 for the paper's 0.05,
    and calls labelled pairs unsupervised (PX-3).
    """

    temperature: float = Field(default=0.05, gt=0)
    """The τ of the formula."""
    positive: float = Field(default=0.8, ge=0, le=1)
    """The least label, as a share of its range, of a positive row of a regression."""
    rows: Rows | None = None
    """Which rows are positives; absent: "all" with pairing "twin", else "positive" by label."""
    range: tuple[float, float] = _UNIT
    """The range of the labels as they come; taken from the task."""

    def __call__(self, output: Output, target: Tensor) -> Tensor:
        return self.contrast(output, target, 1 / self.temperature)
