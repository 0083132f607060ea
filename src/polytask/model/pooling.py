"""Poolings: the hidden states of a sequence → one vector.

A flat batch has no padding, so no pooling can see any. What is computed does not depend on the
other sequences of the batch or on the number of threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from polytask.core.registry import Family
from polytask.model.batch import TokenBatch


class Pooling:
    """What every pooling offers."""

    trains_pooler = False
    if TYPE_CHECKING:  # not defined here: the decorator looks for what a component lacks
        name: ClassVar[str]

        def pool(self, hidden: Tensor, batch: TokenBatch, encoder: Any) -> Tensor:
            """Return the vector of each sequence: (tokens, width) -> (sequences, width)."""
            raise NotImplementedError

    def problem(self, encoder: Any) -> str | None:
        """Say why this encoder cannot be pooled so, or None."""
        return None


pooling = Family("pooling", "poolings", methods=("pool",), base=Pooling)


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

    def problem(self, encoder: Any) -> str | None:
        if getattr(encoder, "pooler", None) is not None:
            return None
        return 'pooling "pooler" needs a pooler, which this encoder lacks; use "cls" or "mean"'


@pooling
class Cls(Pooling):
    """The hidden state of the first token, as it is.

    Formula: h₁

    Inputs: hidden (tokens, width); gives (sequences, width).

    Source: Devlin et al. 2019, BERT, without the pooler (P-3).
    """

    def pool(self, hidden: Tensor, batch: TokenBatch, encoder: Any) -> Tensor:
        return hidden[batch.first]


@pooling
class Mean(Pooling):
    """The mean of the hidden states of a sequence, [CLS] and [SEP] among them.

    Formula: (h₁ + … + h_n) / n

    Inputs: hidden (tokens, width); gives (sequences, width).

    Source: Reimers & Gurevych 2019, Sentence-BERT, §3; P-4 ("weighted by the attention mask": here
    no token is padding, so that there is nothing to weigh).
    """

    def pool(self, hidden: Tensor, batch: TokenBatch, encoder: Any) -> Tensor:
        lengths = torch.tensor(batch.lengths, device=hidden.device)
        # Sums of many bf16 numbers would lose their last digits.
        wide = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
        if hidden.device.type == "cpu":
            # Adds the tokens of a sequence in their order, whatever the threads: measured at an
            # eighth of segment_reduce's time.
            sums = wide.new_zeros(len(batch.lengths), wide.shape[1]).index_add(0, batch.owner, wide)
            return (sums / lengths[:, None]).to(hidden.dtype)
        # On a GPU index_add is atomic, so that two runs would differ; segment_reduce is not.
        return torch.segment_reduce(wide, "mean", lengths=lengths, axis=0).to(hidden.dtype)


@pooling
class Max(Pooling):
    """The largest value of each dimension over the tokens of a sequence.

    Formula: max(h₁, …, h_n), each dimension by itself

    Inputs: hidden (tokens, width); gives (sequences, width).

    Source: Reimers & Gurevych 2019, Sentence-BERT, §3 (MAX strategy).
    """

    def pool(self, hidden: Tensor, batch: TokenBatch, encoder: Any) -> Tensor:
        lengths = torch.tensor(batch.lengths, device=hidden.device)
        return torch.segment_reduce(hidden, "max", lengths=lengths, axis=0)
