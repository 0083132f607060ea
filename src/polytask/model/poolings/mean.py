"""The mean of a sequence's hidden states."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from polytask.data.batch import TokenBatch, on_device
from polytask.model.poolings.contract import Pooling, pooling
from polytask.model.precision import widest


@pooling
class Mean(Pooling):
    """The mean of the hidden states of a sequence, [CLS] and [SEP] among them.

    Formula: (h₁ + … + h_n) / n

    Inputs: hidden (tokens, width); gives (sequences, width).

    Source: Reimers & Gurevych 2019, Sentence-BERT, §3; P-4 ("weighted by the attention mask": here
    no token is padding, so that there is nothing to weigh).
    """

    def pool(self, hidden: Tensor, batch: TokenBatch, encoder: Any) -> Tensor:
        lengths = on_device(torch.tensor(batch.lengths), hidden.device)
        # Sums of many bf16 numbers would lose their last digits.
        wide = hidden.to(widest(hidden))
        if hidden.device.type == "cpu":
            # Adds the tokens of a sequence in their order, whatever the threads: measured at an
            # eighth of segment_reduce's time.
            sums = wide.new_zeros(len(batch.lengths), wide.shape[1]).index_add(0, batch.owner, wide)
            return (sums / lengths[:, None]).to(hidden.dtype)
        # On a GPU index_add is atomic, so that two runs would differ; segment_reduce is not.
        # unsafe: checking the lengths would wait for the device.
        return torch.segment_reduce(wide, "mean", lengths=lengths, axis=0, unsafe=True).to(hidden.dtype)

    def pool_padded(self, hidden: Tensor, mask: Tensor, encoder: Any) -> Tensor:
        # A product a sequence, whose sum has the same order whatever else is in the batch.
        real = mask.to(hidden.dtype)[:, None, :]                            # (sequences, 1, longest)
        return (real @ hidden)[:, 0] / real.sum(-1).clamp(min=1)
