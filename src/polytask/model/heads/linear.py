"""The linear head."""

from __future__ import annotations

from pydantic import Field
from torch import nn

from polytask.model.dropout import Dropout
from polytask.model.heads.contract import Head, head
from polytask.model.heads.dense import Dense


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
