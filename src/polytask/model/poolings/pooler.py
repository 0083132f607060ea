"""The [CLS] state through the encoder's pooler."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from polytask.data.batch import TokenBatch
from polytask.model.poolings.contract import Pooling, pooling


@pooling
class Pooler(Pooling):
    """The [CLS] state through the encoder's own dense layer and tanh.

    Formula: tanh(W·h₁ + b), h₁ the hidden state of the first token, W and b the encoder's pooler.

    Inputs: hidden (tokens, width); gives (sequences, width).

    Source: Devlin et al. 2019, BERT; what the five reports classify from (M-2, G-1, T-2).
    """

    trains_pooler = True

    def pool(self, hidden: Tensor, batch: TokenBatch, encoder: Any) -> Tensor:
        pooled: Tensor = encoder.pooler(hidden[batch.first])
        return pooled

    def pool_padded(self, hidden: Tensor, mask: Tensor, encoder: Any) -> Tensor:
        pooled: Tensor = encoder.pooler(hidden[:, 0])
        return pooled

    def problem(self, encoder: Any) -> str | None:
        if getattr(encoder, "pooler", None) is not None:
            return None
        return 'pooling "pooler" needs a pooler, which this encoder lacks; use "cls" or "mean"'
