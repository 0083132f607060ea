"""The table of word embeddings, of which a step reads a hundredth.

Its plain gradient is as large as the table and zero nearly everywhere: filling it with zeros, taking
its norm, scaling it and throwing it away costs more than a layer. Between `narrow` and `widen` the
table is a small leaf of the rows that are needed, and so is its gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Words(nn.Embedding):
    """A table of embeddings that can stand for some of its rows.

        leaf = words.narrow(ids)      # before the forward passes of a step
        ...                           # backward, surgery and clipping see leaf, not words.weight
        words.widen()                 # leaf.grad becomes words.weight.grad
        optimizer.step()              # as ever: any optimizer, over words.weight
        words.clear()                 # in place of words.weight.grad = None

    The result is that of the whole table: the gradient that the optimizer meets is the same.
    """

    def __init__(self, rows: int, width: int) -> None:
        super().__init__(rows, width)
        self.leaf: nn.Parameter | None = None
        # Attributes of the object, not of the module: the leaf is no weight to save or to count.
        self._rows: Tensor | None = None
        self._places: Tensor | None = None
        self._whole: Tensor | None = None

    def forward(self, ids: Tensor) -> Tensor:
        if self._rows is None or self._places is None or self.leaf is None:
            return F.embedding(ids, self.weight)
        # An id that was not announced has place -1, which F.embedding refuses.
        return F.embedding(self._places[ids], self.leaf)
