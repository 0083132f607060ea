"""The table of word embeddings, of which a step reads a hundredth.

Its plain gradient is as large as the table and zero nearly everywhere: making it, taking its norm,
scaling it and throwing it away costs more than a layer does. Between `narrow` and `widen` the table
is a small leaf of the rows that are needed, and so is its gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SparseEmbedding(nn.Embedding):
    """A table of embeddings that can stand for some of its rows.

        words.narrow(ids)     # before a step's forward passes: the ids of all of them
        …                     # backward, surgery and clipping see words.leaf, not words.weight
        words.widen()         # leaf.grad becomes weight.grad
        optimizer.step()      # any optimizer over weight, as ever
        words.weight.grad = None

    The optimizer meets the gradient that the whole table would have had. What else has a gradient
    for the table (a penalty on all weights) gives it before `widen`.
    """

    def __init__(self, rows: int, width: int) -> None:
        super().__init__(rows, width)
        # No parameter: it is neither saved nor counted.
        self.leaf = torch.empty(0, width, requires_grad=True)
        self.rows: Tensor | None = None
        """The rows that the leaf stands for, ascending, each once; None between steps."""
        self._places = torch.empty(0, dtype=torch.long)
        self._whole: Tensor | None = None
        self._filled: Tensor | None = None

    @property
    def narrowed(self) -> bool:
        """Whether the table stands for some of its rows now."""
        return self.rows is not None

    def forward(self, ids: Tensor) -> Tensor:
        if self.rows is None:
            return F.embedding(ids, self.weight)
        # An id that was not announced is at place -1, which F.embedding refuses.
        return F.embedding(self._places[ids], self.leaf)

    @torch.no_grad()
    def narrow(self, ids: Tensor) -> None:
        """Stand for the rows of `ids` (any shape, any order, repeated or not) until `widen`.

        On a GPU the table stays whole: counting the rows would wait for the device, and what they
        save is little there.
        """
        assert not self.narrowed, "narrow() twice without widen()"
        if not self.weight.requires_grad or self.weight.is_cuda:
            return
        if len(self._places) != len(self.weight) or self._places.device != self.weight.device:
            self._places = torch.full((len(self.weight),), -1, device=self.weight.device)
        self.rows = torch.unique(ids)
        self._places[self.rows] = torch.arange(len(self.rows), device=ids.device)
        # A new leaf each time: a graph of an earlier step that is still alive keeps its own.
        self.leaf = self.weight.index_select(0, self.rows).requires_grad_()

    @torch.no_grad()
    def widen(self) -> None:
        """Stand for the whole table again; what the leaf gathered is in `weight.grad`."""
        if self.rows is None:
            return
        rows, self.rows = self.rows, None
        self._places[rows] = -1
        if self.leaf.grad is None:
            return
        if self.weight.grad is None:
            if self._whole is None or self._whole.shape != self.weight.shape:
                self._whole = torch.zeros_like(self.weight)
            elif self._filled is not None:  # the memory is kept; what the last step wrote is zeroed
                self._whole.index_fill_(0, self._filled, 0)
            self.weight.grad, self._filled = self._whole, rows
        self.weight.grad.index_add_(0, rows, self.leaf.grad)
        self.leaf.grad = None
