"""The head of two layers."""

from __future__ import annotations

from pydantic import Field
from torch import nn

from polytask.model.dropout import Dropout
from polytask.model.heads.contract import Head, head
from polytask.model.heads.dense import _ACTIVATIONS, Activation, Dense


@head
class MLP(Head):
    """Two linear layers with an activation between, and a dropout before each.

    Formula: W₂·dropout(σ(W₁·dropout(x) + b₁)) + b₂

    Inputs: vector (rows, width); gives (rows, outputs), or (rows,) for one output.

    Source: G-10, G-12 to G-14 (an additional layer for STS), T-29 (10 to 120 hidden units).
    """

    hidden: int = Field(default=256, gt=0, le=65_536)
    """Width of the hidden layer."""
    activation: Activation = "relu"
    """The σ of the formula: relu, leaky_relu (slope 0.01), gelu or tanh."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Probability that an element of the vector is dropped, before the first layer."""
    hidden_dropout: float | None = Field(default=None, ge=0, lt=1)
    """The same, before the last layer; absent: as `dropout`."""

    def build(self, width: int, outputs: int, shared: nn.ModuleDict) -> nn.Module:
        between = self.dropout if self.hidden_dropout is None else self.hidden_dropout
        return Dense(
            Dropout(self.dropout), nn.Linear(width, self.hidden), _ACTIVATIONS[self.activation](),
            Dropout(between), nn.Linear(self.hidden, outputs),
        )
