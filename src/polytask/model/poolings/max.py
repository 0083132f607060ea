"""The largest value of each dimension."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from polytask.data.batch import TokenBatch, on_device
from polytask.model.poolings.contract import Pooling, pooling


@pooling
class Max(Pooling):
    """The largest value of each dimension over the tokens of a sequence.

    Formula: max(h₁, …, h_n), each dimension by itself

    Inputs: hidden (tokens, width); gives (sequences, width).

    Source: Reimers & Gurevych 2019, Sentence-BERT, §3 (MAX strategy).
    """

    def pool(self, hidden: Tensor, batch: TokenBatch, encoder: Any) -> Tensor:
        lengths = on_device(torch.tensor(batch.lengths), hidden.device)
        # unsafe: checking the lengths would wait for the device.
        return torch.segment_reduce(hidden, "max", lengths=lengths, axis=0, unsafe=True)

    def pool_padded(self, hidden: Tensor, mask: Tensor, encoder: Any) -> Tensor:
        return hidden.masked_fill(~mask[:, :, None], -3e38).amax(1)
