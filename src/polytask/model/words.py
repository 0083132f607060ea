"""The table of word embeddings, of which a step reads a hundredth.

Its plain gradient is as large as the table and zero nearly everywhere: making it, taking its norm,
scaling it and throwing it away costs more than a layer does. Between `narrow` and `widen` the table
is a small leaf of the rows that are needed, and so is its gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Words(nn.Embedding):
    """A table of embeddings that can stand for some of its rows.

        words.narrow(ids)     # before a step's forward passes: the ids of all of them
        …                     # backward, surgery and clipping see words.leaf, not words.weight
        words.widen()         # leaf.grad becomes weight.grad
        optimizer.step()      # any optimizer over weight, as ever
        words.clear()         # in place of weight.grad = None

    The optimizer meets the gradient that the whole table would have had. What else has a gradient
    for the table (a penalty on all weights) gives it before `widen`.
    """

    def __init__(self, rows: int, width: int) -> None:
        super().__init__(rows, width)
        # No parameter: it is neither saved nor counted. One object for all steps, so that lists of
        # what is differentiated stay valid.
        self.leaf = torch.empty(0, width, requires_grad=True)
        self._rows: Tensor | None = None
        self._places = torch.empty(0, dtype=torch.long)
        self._whole: Tensor | None = None
        self._filled: Tensor | None = None

    def forward(self, ids: Tensor) -> Tensor:
        if self._rows is None:
            return F.embedding(ids, self.weight)
        # An id that was not announced is at place -1, which F.embedding refuses.
        return F.embedding(self._places[ids], self.leaf)

    @torch.no_grad()
    def narrow(self, ids: Tensor) -> None:
        """Stand for the rows of `ids` (any shape, any order, repeated or not) until `widen`."""
        assert self._rows is None, "narrow() twice without widen()"
        if not self.weight.requires_grad:
            return
        if len(self._places) != len(self.weight) or self._places.device != self.weight.device:
            self._places = torch.full((len(self.weight),), -1, device=self.weight.device)
        self._rows = torch.unique(ids)
        self._places[self._rows] = torch.arange(len(self._rows), device=ids.device)
        self.leaf.data = self.weight.index_select(0, self._rows)
        self.leaf.grad = None

    @torch.no_grad()
    def widen(self) -> None:
        """Stand for the whole table again; what the leaf gathered is in `weight.grad`."""
        if self._rows is None:
            return
        rows, self._rows = self._rows, None
        self._places[rows] = -1
        if self.leaf.grad is None:
            return
        if self.weight.grad is None:
            if self._whole is None or self._whole.shape != self.weight.shape:
                self._whole = torch.zeros_like(self.weight)
            self.weight.grad, self._filled = self._whole, rows
        self.weight.grad.index_add_(0, rows, self.leaf.grad)
        self.leaf.grad = None

    @torch.no_grad()
    def clear(self) -> None:
        """Drop the gradient; the memory is kept, and only the rows that were filled are zeroed."""
        if self._whole is not None and self._filled is not None:
            self._whole.index_fill_(0, self._filled, 0)
            self._filled = None
        self.weight.grad = None
