"""The contract of heads: from a row's vector (or two) to logits or a score, and on to a decision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from torch import nn

from polytask.core.registry import Family
from polytask.data.decisions import Decision, Threshold, clipped
from polytask.data.labels import Labels
from polytask.model.heads.decisions import _array, _choice
from polytask.model.output import Output


class Head:
    """The interface of a head. `input_field`: "vector", or "pair" for u and v."""

    input_field = "vector"
    if TYPE_CHECKING:  # not defined here: the decorator looks for what a component lacks
        name: ClassVar[str]

        def build(self, width: int, outputs: int, shared: nn.ModuleDict) -> nn.Module:
            """Return a module: Output -> (rows, outputs), or (rows,) where there is one output.

            A layer that tasks share is taken from `shared`, or put there.
            """
            raise NotImplementedError

    def output_field(self, kind: str) -> str:
        """Return the field of `Output` that this head fills for a kind of labels."""
        return "score" if kind == "regression" else "logits"

    def target_labels(self, labels: Labels) -> Labels:
        """Return the labels as the losses of this head are given them."""
        return labels

    def shared_layers(self, width: int) -> Mapping[str, tuple[int, ...]]:
        """Return the layers that tasks of the same layer name share, each with its size.

        `width` is that of the vector that the pairing gives.
        """
        return {}

    def problem(self, labels: Labels) -> str | None:
        """Say why this head cannot answer with these labels, or None."""
        return None

    def thresholded(self, labels: Labels) -> bool:
        """Say whether `decide` wants a threshold that is fitted on the training rows."""
        return False

    def decide(self, output: Output, labels: Labels, threshold: Threshold | None = None) -> Decision:
        """Return labels and scores of some rows: the largest logit, one logit at 1/2 (T-6) or a number."""
        if labels.is_regression:
            return clipped(labels.unscaled(_array(output.field("score"))), labels)
        return _choice(output.field("logits").detach().float(), labels, threshold)


def layer_problem(layer: str, there: tuple[int, ...], here: tuple[int, ...]) -> str | None:
    """Return why two tasks cannot share a layer that they want in these sizes, or None."""
    if there == here:
        return None
    wanted, present = (" by ".join(map(str, size)) for size in (there, here))
    return (f'layer "{layer}" is {wanted} in another task and {present} here; give both the same pairing, '
            "features and hidden, or the layers different names")


head = Family("head", "heads", methods=("build",), base=Head)
