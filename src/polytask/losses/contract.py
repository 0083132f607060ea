"""The contract of losses: the output and targets of a microbatch in, a mean over its rows out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

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
    """The training labels as numbers: (rows,), or (rows, classes) for multi-label; None: not read yet."""
    batch: int = 0
    """The rows of the smallest batch that the training will draw."""


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

    def paired(self, pairing: Any) -> Self:
        """Return the loss with what the pairing decides filled in."""
        return self

    def prepared(self, labels: Labels, counts: Sequence[int] | None) -> Self:
        """Return the loss with what the training rows decide filled in.

        `counts` are the training rows of each class, in the order of the classes.
        """
        return self


loss = Family("loss", "losses", methods=("input_field", "__call__"), base=Loss)


def total(losses: Sequence[Loss], output: Output, target: Tensor) -> Tensor:
    """Return the weighted sum of a task's losses: 0-dim."""
    first, *rest = (loss.weight * loss(output, target) for loss in losses)
    return sum(rest, first)


def kind_problem(name: str, labels: Labels, needs: str, remedy: str) -> str:
    """Return that a loss needs labels of another kind: found, expected, remedy."""
    texts = {
        "regression": f"the labels are numbers from {labels.low:g} to {labels.high:g}",
        "multi-label": f"a row has any number of {labels.num_classes} labels",
        "binary": "the labels are two classes",
    }.get(labels.kind, f"the labels are {labels.num_classes} classes")
    return f'loss "{name}" needs {needs} but {texts}; {remedy}'
