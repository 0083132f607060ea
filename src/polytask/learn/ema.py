"""An exponential average of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from polytask.learn.layer_shards import local, parted, placed


class EMA:
    """Keeps a = d·a + (1 − d)·w of every trainable weight w, updated after each step.

    Source: Polyak & Juditsky 1992, in its exponential form; evaluated and kept in place of w.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.averages = [weight.clone() for weight in self.weights]

    @property
    def weights(self) -> list[Tensor]:
        """The weights as they stand; of a spread one, this process's piece."""
        return [local(p.detach()) for p in self.parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Update the average with the current weights."""
        torch._foreach_lerp_(self.averages, self.weights, 1 - self.decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the model the averages while the block runs."""
        trained = [p.detach().clone() for p in self.weights]
        self._copy(self.averages)
        try:
            yield
        finally:
            self._copy(trained)

    @torch.no_grad()
    def _copy(self, values: list[Tensor]) -> None:
        torch._foreach_copy_(self.weights, values)

    def state(self) -> list[Tensor]:
        return [placed(average, p) for average, p in zip(self.averages, self.parameters, strict=True)]

    @torch.no_grad()
    def restore(self, averages: list[Tensor]) -> None:
        torch._foreach_copy_(self.averages, [
            local(parted(average, p)) for average, p in zip(averages, self.parameters, strict=True)])
