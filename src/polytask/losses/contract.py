"""The contract of losses: the output and targets of a microbatch in, a mean over its rows out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor

from polytask.core.registry import Family
from polytask.data.labels import Labels
from polytask.model.output import Output


@dataclass(frozen=True)
class LossContext:
    """What a loss learns from: the labels of its task, and its training rows once they are read."""

    labels: Labels
    targets: Any = None
    """The training labels as the loss sees them, (rows,) or (rows, classes); None: not read yet."""
    batch: int = 0
    """The rows that the loss sees together where its full batches are smallest."""


class Loss:
    """The interface of a loss. `input_field`: the field of `Output` it reads; "pair" is u and v."""

    weight: float = Field(
        default=1.0, gt=0, description="Factor of this loss in the sum of the task's losses.")

    compares_texts = False
    """Whether it is about two different texts, so that a text and its twin give it nothing to learn."""

    if TYPE_CHECKING:  # not defined here: the decorator looks for what a component lacks
        name: ClassVar[str]
        input_field: str

        def __call__(self, output: Output, target: Tensor) -> Tensor:
            """Return the loss, 0-dim. Targets are int64 (rows,) for classes, binary and ordinal,
            float32 (rows,), scaled, for regression, float32 (rows, classes) for multi-label."""
            raise NotImplementedError

    def outputs(self, labels: Labels) -> int | None:
        """Return how many outputs the head must have, or None where it does not matter."""
        return None

    def problem(self, context: LossContext) -> str | None:
        """Return why this loss cannot learn from a task, with the remedy, or None.

        Asked of the labels alone, and again once the training rows are known.
        """
        return None

    def row_weights(self, target: Tensor) -> Tensor | None:
        """Return the weights by whose sum the loss divides: (rows,); None: it is a plain mean over rows.

        A microbatch that is cut into parts is put together again by them.
        """
        return None

    def paired(self, pairing: Any) -> Self:
        """Return the loss with what the pairing decides filled in."""
        return self

    def prepared(self, labels: Labels, counts: Sequence[int] | None) -> Self:
        """Return the loss with what the training rows decide filled in.

        `counts` are the training rows of each class, in the order of the classes.
        """
        return self


loss = Family("loss", "losses", methods=("input_field", "__call__"), base=Loss)


def total(losses: Sequence[Loss], output: Output, target: Tensor,
          shares: Sequence[float | Tensor] | None = None) -> Tensor:
    """Return the weighted sum of a task's losses, each times its share where there are `shares`: 0-dim."""
    values = [loss.weight * loss(output, target) for loss in losses]
    if shares is not None:
        values = [value * share for value, share in zip(values, shares, strict=True)]
    first, *rest = values
    return sum(rest, first)


def share_of(loss: Loss, part: Tensor, whole: Tensor) -> float | Tensor:
    """Return how much the loss of some rows counts in that of all: targets (rows,) of both."""
    weights, all_weights = loss.row_weights(part), loss.row_weights(whole)
    if weights is None or all_weights is None:
        return len(part) / len(whole)
    whole_weight = all_weights.sum()  # 0 where no row counts: then neither does the part
    return weights.sum() / torch.where(whole_weight > 0, whole_weight, 1.0)


def kind_problem(name: str, labels: Labels, needs: str, remedy: str) -> str:
    """Return that a loss needs labels of another kind: found, expected, remedy."""
    texts = {
        "regression": f"the labels are numbers from {labels.low:g} to {labels.high:g}",
        "multi-label": f"a row has any number of {labels.num_classes} labels",
        "binary": "the labels are two classes",
    }.get(labels.kind, f"the labels are {labels.num_classes} classes")
    return f'loss "{name}" needs {needs} but {texts}; {remedy}'
