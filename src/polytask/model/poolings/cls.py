"""The [CLS] state as it is."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from polytask.data.batch import TokenBatch
from polytask.model.poolings.contract import Pooling, pooling


@pooling
class Cls(Pooling):
    """The hidden state of the first token, as it is.

    Formula: h₁

    Inputs: hidden (tokens, width); gives (sequences, width).

    Source: Devlin et al. 2019, BERT, without the pooler (P-3).
    """

    def pool(self, hidden: Tensor, batch: TokenBatch, encoder: Any) -> Tensor:
        return hidden[batch.first]

    def pool_padded(self, hidden: Tensor, mask: Tensor, encoder: Any) -> Tensor:
        return hidden[:, 0]
