"""Heads: what a row gave → logits or a score, and what they decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from polytask.core.errors import ConfigError
from polytask.core.labels import Labels
from polytask.core.registry import Family
from polytask.core.settings import problem
from polytask.model.dropout import Dropout
from polytask.model.output import Output

Activation = Literal["relu", "leaky_relu", "gelu", "tanh"]

_ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "gelu": nn.GELU, "tanh": nn.Tanh,
}


@dataclass(frozen=True)
class Decision:
    """What a head decided for some rows.

    labels         (rows,) int64 indices of classes, (rows, classes) int64 of 0 and 1 (multi-label),
                   or (rows,) float64 values in the labels' own range (regression)
    scores         the probability of the positive class (binary), of the chosen class (classes,
                   ordinal), of each class (multi-label); the value (regression, cosine)
    probabilities  (rows, classes), where the head gives a distribution
    """

    labels: NDArray[np.generic]
    scores: NDArray[np.float64]
    probabilities: NDArray[np.float64] | None = None


class Head:
    """What every head offers. `needs`: "vector", or "pair" for u and v."""

    needs = "vector"
    if TYPE_CHECKING:  # not defined here: the decorator looks for what a component lacks
        name: ClassVar[str]

        def build(self, width: int, outputs: int, shared: nn.ModuleDict) -> nn.Module:
            """Return a module: Output -> (rows, outputs), or (rows,) where there is one output.

            A layer that tasks share is taken from `shared`, or put there.
            """
            raise NotImplementedError

    def gives(self, kind: str) -> str:
        """Return the field of `Output` that this head fills for a kind of labels."""
        return "score" if kind == "regression" else "logits"

    def sees(self, labels: Labels) -> Labels:
        """Return the labels as the objectives of this head are given them."""
        return labels

    def problem(self, labels: Labels) -> str | None:
        """Say why this head cannot answer with these labels, or None."""
        return None

    def thresholded(self, labels: Labels) -> bool:
        """Say whether `decide` wants a threshold that is fitted on the training rows."""
        return False

    def decide(self, output: Output, labels: Labels, threshold: float | None = None) -> Decision:
        """Return labels and scores of some rows (DESIGN §7)."""
        if labels.is_regression:
            return _value(labels.unscaled(_array(output.field("score"))), labels)
        return _choice(output.field("logits").detach().float(), labels, threshold)


head = Family("head", "heads", methods=("build",), base=Head)


def _array(values: Tensor) -> NDArray[np.float64]:
    return values.detach().double().cpu().numpy()


def _value(values: NDArray[np.float64], labels: Labels) -> Decision:
    clipped = np.clip(values, labels.low, labels.high)
    return Decision(clipped, clipped)


def _choice(logits: Tensor, labels: Labels, threshold: float | None) -> Decision:
    cut = 0.5 if threshold is None else threshold
    if labels.kind == "multi-label":
        each = _array(logits.sigmoid())
        return Decision((each >= cut).astype(np.int64), each, each)
    if logits.ndim == 1:
        positive = _array(logits.sigmoid())
        both = np.stack([1 - positive, positive], 1)
        return Decision((positive >= cut).astype(np.int64), positive, both)
    probabilities = _array(logits.softmax(-1))
    best = probabilities.argmax(-1)
    if labels.kind == "binary":
        positive = probabilities[:, 1]
        if threshold is not None:
            best = (positive >= threshold).astype(np.int64)
        return Decision(best, positive, probabilities)
    return Decision(best, probabilities.max(-1), probabilities)


def fit_threshold(scores: NDArray[np.floating], targets: NDArray[np.generic]) -> float:
    """Return the t for which `scores >= t` agrees best with the 0/1 `targets`.

    It lies in the middle between two neighbouring scores; of several that agree equally, it is the
    one in the widest gap.
    """
    scores = np.asarray(scores, dtype=np.float64)
    targets = np.asarray(targets).astype(bool)
    if not len(scores):
        return 0.5
    values, where = np.unique(scores, return_inverse=True)
    gained = np.bincount(where, weights=np.where(targets, -1.0, 1.0), minlength=len(values))
    # right[k]: rows that are right when the k lowest values are called negative
    right = targets.sum() + np.concatenate([[0.0], np.cumsum(gained)])
    gaps = np.concatenate([[0.0], np.diff(values), [0.0]])
    cuts = np.concatenate([values[:1], (values[:-1] + values[1:]) / 2,
                           [np.nextafter(values[-1], np.inf)]])
    best = right == right.max()
    return float(cuts[np.flatnonzero(best)[np.argmax(gaps[best])]])


class Dense(nn.Module):
    """The module of a head that sees the row's vector: layers one after the other."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, output: Output) -> Tensor:
        return _squeezed(self.layers(output.field("vector")))


def _squeezed(values: Tensor) -> Tensor:
    return values.squeeze(-1) if values.shape[-1] == 1 else values


@head
class Linear(Head):
    """Dropout, then one linear layer.

    Formula: W·dropout(x) + b

    Inputs: vector (rows, width); gives (rows, outputs), or (rows,) for one output.

    Source: Devlin et al. 2019, BERT; T-1 to T-4, G-14 (sentiment and paraphrase).
    """

    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Probability that an element of the vector is dropped."""

    def build(self, width: int, outputs: int, shared: nn.ModuleDict) -> nn.Module:
        return Dense(Dropout(self.dropout), nn.Linear(width, outputs))


@head
class MLP(Head):
    """Two linear layers with an activation between, and a dropout before each.

    Formula: W₂·dropout(σ(W₁·dropout(x) + b₁)) + b₂

    Inputs: vector (rows, width); gives (rows, outputs), or (rows,) for one output.

    Source: G-10, G-12 to G-14 (an additional layer for STS), T-29 (10 to 120 hidden units).
    """

    hidden: int = Field(default=256, gt=0)
    """Width of the layer between."""
    activation: Activation = "relu"
    """The σ of the formula: relu, leaky_relu (slope 0.01), gelu or tanh."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Probability that an element of the vector is dropped, before the first layer."""
    hidden_dropout: float | None = Field(default=None, ge=0, lt=1)
    """The same before the last layer; absent: as `dropout`."""

    def build(self, width: int, outputs: int, shared: nn.ModuleDict) -> nn.Module:
        between = self.dropout if self.hidden_dropout is None else self.hidden_dropout
        return Dense(
            Dropout(self.dropout), nn.Linear(width, self.hidden), _ACTIVATIONS[self.activation](),
            Dropout(between), nn.Linear(self.hidden, outputs),
        )


class Tied(nn.Module):
    """The module of a `shared` head. Its first layer belongs to `MultiTask.shared`, not to it."""

    def __init__(self, first: nn.Module, dropout: nn.Module, rest: nn.Module) -> None:
        super().__init__()
        self.dropout, self.rest = dropout, rest
        # In a tuple, so that the layer is no submodule here: it is counted and saved once.
        self._first = (first,)

    def forward(self, output: Output) -> Tensor:
        return _squeezed(self.rest(self._first[0](self.dropout(output.field("vector")))))


@head
class Shared(Head):
    """Two linear layers, the first one and the same in every task that names it.

    Formula: W₂·dropout(σ(W₁·dropout(x) + b₁)) + b₂, W₁ and b₁ common to the tasks of one `layer`

    Inputs: vector (rows, width), equally wide in all tasks of a layer; gives (rows, outputs), or
    (rows,) for one output.

    Source: M-12 (paraphrase and STS over u, v, |u − v| and their cosine), S-15.

    Departs: M-12 prints a softmax after the last layer for every task; here the objective has it.
    """

    layer: str = "shared"
    """Name of the common layer."""
    hidden: int = Field(default=256, gt=0)
    """Width of the common layer's output."""
    activation: Activation = "leaky_relu"
    """The σ of the formula: relu, leaky_relu (slope 0.01), gelu or tanh."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Probability that an element of the vector is dropped, before the common layer."""
    hidden_dropout: float | None = Field(default=None, ge=0, lt=1)
    """The same before the task's own layer; absent: as `dropout`."""

    def __post_init__(self) -> None:
        if not self.layer.replace("-", "_").isidentifier() or hasattr(nn.ModuleDict(), self.layer):
            raise problem(f"layer: found {self.layer!r}, expected a name of letters, digits, - and _ "
                          "that torch has no use of its own for")

    def build(self, width: int, outputs: int, shared: nn.ModuleDict) -> nn.Module:
        if self.layer not in shared:
            shared[self.layer] = nn.Linear(width, self.hidden)
        first = shared[self.layer]
        assert isinstance(first, nn.Linear)
        if (first.in_features, first.out_features) != (width, self.hidden):
            raise ConfigError(
                f'head "shared": layer "{self.layer}" takes {first.in_features} numbers and gives '
                f"{first.out_features}, but this task needs {width} and {self.hidden}; give the "
                "tasks the same pairing features and hidden, or the layers different names"
            )
        between = self.dropout if self.hidden_dropout is None else self.hidden_dropout
        rest = nn.Sequential(_ACTIVATIONS[self.activation](), Dropout(between),
                             nn.Linear(self.hidden, outputs))
        return Tied(first, Dropout(self.dropout), rest)


class Angle(nn.Module):
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

    Inputs: u, v (rows, width); gives score (rows,). An objective compares it with the unit label as
    it is. Decided for a regression: clipped to [0, 1], then mapped to the labels' range; for two
    classes: not below a threshold that is fitted on the training rows (0.5 until then).

    Source: Reimers & Gurevych 2019, Sentence-BERT, §3; M-9, M-10, P-4, S-14.

    Departs: torch bounds each norm from below by ε, not their product.
    """

    needs = "pair"

    epsilon: float = Field(default=1e-8, gt=0)
    """Least norm of a vector in the denominator."""

    def build(self, width: int, outputs: int, shared: nn.ModuleDict) -> nn.Module:
        return Angle(self.epsilon)

    def gives(self, kind: str) -> str:
        return "score"

    def sees(self, labels: Labels) -> Labels:
        return replace(labels, unit=True)

    def problem(self, labels: Labels) -> str | None:
        if labels.kind in ("regression", "binary"):
            return None
        return (f'head "cosine" gives one number, which cannot choose among {labels.num_classes} '
                'classes; use head = "linear"')

    def thresholded(self, labels: Labels) -> bool:
        return labels.kind == "binary"

    def decide(self, output: Output, labels: Labels, threshold: float | None = None) -> Decision:
        score = _array(output.field("score"))
        if labels.is_regression:
            return _value(labels.low + score * (labels.high - labels.low), labels)
        cut = 0.5 if threshold is None else threshold
        return Decision((score >= cut).astype(np.int64), score)
