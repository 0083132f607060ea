"""What a regularizer sees of a task's microbatch or, at step scope, of the whole update."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from polytask.data.batch import TokenBatch
from polytask.data.labels import Labels
from polytask.learn.checkpoint import random_state, set_random_state
from polytask.model.output import Output


class Forward(Protocol):
    """The clean pass once more, with the same dropout masks."""

    def __call__(self, embeddings: Tensor | None, model: nn.Module | None = None) -> Output:
        """Return the microbatch's output from other word embeddings (None: the model's own).

        `model` answers in the place of the trained one: an averaged copy of it.
        """


@dataclass(frozen=True)
class RegularizerContext:
    """A microbatch of a task, after its clean pass.

    At step scope all but `model` are None. `embeddings` are the word embeddings of the clean pass
    (tokens, width) and `forward` repeats it; both are there for regularizers that perturb. `share` is
    the part of the microbatch's rows that the context holds: below 1 where a step is cut by `accumulate` or
    several processes share it. `normal` draws noise that does not depend on who computes which rows.
    """

    model: nn.Module
    task: str | None = None
    labels: Labels | None = None
    batch: TokenBatch | None = None
    embeddings: Tensor | None = None
    output: Output | None = None
    target: Tensor | None = None
    forward: Forward | None = None
    share: float = 1.0
    normal: Callable[[Tensor], Tensor] = torch.randn_like
    """Standard normal noise of the shape of the given embeddings."""


def repeat(trained: nn.Module, batch: TokenBatch, before: dict[str, Any]) -> Forward:
    """Return the `forward` of a context whose clean pass began at the random state `before`.

    Dropout draws from torch's generators alone, so putting their state back draws the same masks,
    as long as gradients are recorded in both passes or in neither (their kernels differ).
    Afterwards they stand where they stood: repeating a pass changes no later random number.
    """

    def forward(embeddings: Tensor | None, model: nn.Module | None = None) -> Output:
        after = random_state()
        set_random_state(before)
        try:
            (output,) = (model or trained)(batch, embeddings)
        finally:
            set_random_state(after)
        return output  # type: ignore[no-any-return]

    return forward
