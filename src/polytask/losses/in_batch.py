"""The base of losses with in-batch negatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, Self

import torch
from torch import Tensor
from torch.nn import functional

from polytask.data.labels import Labels
from polytask.losses.contract import Loss, LossContext, kind_problem
from polytask.losses.label_range import _at_least, _seen
from polytask.model.output import Output

PositiveRows = Literal["positive", "all"]


class InBatch(Loss):
    """What `multiple_negatives` and `sim_cse` share: the choice of positive rows, and the loss.

    The positives of a microbatch are one another's negatives; where it has fewer than two, the loss is 0,
    with a gradient.
    """

    input_field = "pair"
    positive: float
    rows: PositiveRows | None
    range: tuple[float, float]

    def paired(self, pairing: Any) -> Self:
        if self.rows is not None:
            return self
        twin = pairing.texts == 1 and pairing.sequences == 2
        return replace(self, rows="all" if twin else "positive")  # type: ignore[type-var]

    def problem(self, context: LossContext) -> str | None:
        if self.rows != "all" and context.labels.kind not in ("binary", "regression"):
            return kind_problem(self.name, context.labels, "rows that are positive",
                                'use two classes, a number, or rows = "all"')
        return None if context.targets is None else self._rows_problem(context)

    def prepared(self, labels: Labels, counts: Sequence[int] | None) -> Self:
        return replace(self, range=_seen(labels))  # type: ignore[type-var]

    def _rows_problem(self, context: LossContext) -> str | None:
        labels, targets, batch = context.labels, context.targets, context.batch
        if batch < 2:
            rows = "1 row" if batch == 1 else "no row"
            return (f'"{self.name}" uses the other rows of a batch as negatives, but the smallest batch '
                    f"(batch_size, schedule, accumulate) has {rows}; use 2 or more")
        if self.rows == "all":
            return None
        count = int(self.positives(torch.as_tensor(targets)).sum())
        if count >= 2:
            return None
        if labels.is_regression:
            least = labels.low + self.positive * (labels.high - labels.low)
            return (f'"{self.name}" needs rows labelled {least:g} or more, but of the training rows '
                    f'{count} are; lower its "positive", or use "mean_squared_error"')
        return (f'"{self.name}" needs rows of class "{labels.classes[1]}" but of the training rows '
                f'{count} are; use "binary_cross_entropy"')

    def positives(self, target: Tensor) -> Tensor:
        """Return which rows' labels make them positive: (rows,) bool."""
        if target.is_floating_point():
            return _at_least(target, self.range, self.positive)
        return target == 1

    def row_weights(self, target: Tensor) -> Tensor | None:
        return None if self.rows == "all" else self.positives(target).float()

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
