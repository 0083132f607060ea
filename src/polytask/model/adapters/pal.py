"""Projected attention layers (Stickland & Murray 2019): a small encoder per task, in parallel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import gelu

from polytask.core.settings import problem
from polytask.data.batch import TokenBatch
from polytask.model.adapters.contract import Adapter, adapter
from polytask.model.attention import attend
from polytask.model.dropout import Dropout
from polytask.model.flat_encoder import FlatEncoder


@adapter
class PAL(Adapter):
    """Gives each task a narrow attention of its own in parallel to every layer.

    Formula: h' = LN(m + FFN(m) + gelu(U · attention_k(D · h))), where h enters layer k and m leaves
    its own attention; the projections D (to `size`) and U (back) are the task's, the same in all
    layers; the queries, keys and values of attention_k are the task's in layer k.

    Inputs: h (tokens, width) of a joint flat batch: each task acts on the tokens of its spans.

    Source: Stickland & Murray 2019, §3.2, and their code (L-6): size 204, biases everywhere, no
    output matrix; practices §4.10 (P-15). 1,819,836 parameters a task for BERT-base.

    In ModernBERT, whose norms stand before: h' = m + FFN(LN(m)) + gelu(U · attention_k(D · h)).

    Departs: U starts at zero, so that attaching changes nothing; the authors start it at random.
    12 heads as the paper says; the code has 6, which changes no count of parameters.
    """

    size: Annotated[int, Field(gt=0, le=4096)] = 204
    """Width of the projected states."""
    heads: PositiveInt = 12
    """Attention heads; they divide the size."""

    def __post_init__(self) -> None:
        if self.size % self.heads:
            raise problem(f"heads: found {self.heads}, expected a divisor of size, {self.size}")

    def problem(self, encoder: Any) -> str | None:
        kind = getattr(encoder, "kind", type(encoder).__name__)
        if isinstance(encoder, FlatEncoder):
            return None
        return (f'"pal" needs the layers of an encoder on flat batches, but "{kind}" runs padded; '
                'use a checkpoint of another family, or adapter = "lora"')

    def attach(self, model: Any, tasks: Iterable[str]) -> None:
        self.refuse(model.encoder)
        encoder: FlatEncoder = model.encoder
        if not isinstance(encoder.adapter, TaskAdapters) or encoder.adapter.settings != self:
            encoder.adapter = TaskAdapters(self)
        device = encoder.embeddings.word.weight.device
        for task in tasks:
            if task not in encoder.adapter.tasks:
                encoder.adapter.tasks[task] = ProjectedAttention(self, encoder).to(device)

    def num_parameters(self, encoder: Any) -> int:
        """Return the parameters of one task."""
        width: int = encoder.width
        layers: int = encoder.num_layers
        projections = 2 * width * self.size + self.size + width
        return projections + layers * 3 * (self.size * self.size + self.size)

    def about(self) -> str:
        return (f"Each task has projected attention layers of its own (PAL, {self.size} wide), "
                "under adapters/; the encoder in this folder's root lacks them, so another library "
                "that opens this folder computes something else.")

    def describe(self, encoder: Any, tasks: Iterable[str]) -> str:
        per_task, tasks = self.num_parameters(encoder), list(tasks)
        own = sum(p.numel() for name, p in encoder.named_parameters()
                  if not name.startswith("adapter."))
        return (f"pal: {per_task:,} parameters a task, {per_task * len(tasks):,} for {len(tasks)}, "
                f"{per_task * len(tasks) / own:.2%} of the encoder's {own:,}")


class ProjectedAttention(nn.Module):
    """One task's part."""

    def __init__(self, settings: PAL, encoder: FlatEncoder) -> None:
        super().__init__()
        size, std = settings.size, encoder.config.initializer_range
        self.heads = settings.heads
        self.down = nn.Linear(encoder.width, size)
        self.up = nn.Linear(size, encoder.width)
        self.layers = nn.ModuleList(nn.Linear(size, 3 * size) for _ in range(encoder.num_layers))
        self.dropout = Dropout(encoder.config.attention_probs_dropout_prob)
        for linear in (self.down, *self.layers):
            nn.init.normal_(linear.weight, std=std)
            nn.init.zeros_(linear.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, k: int, x: Tensor, lengths: tuple[int, ...]) -> Tensor:
        """Return what layer k gains: (tokens, width) to (tokens, width)."""
        qkv = self.layers[k](self.down(x))                                  # (tokens, 3 · size)
        mixed = attend(qkv, lengths, self.heads, self.dropout.now)
        return gelu(self.up(mixed))


class TaskAdapters(nn.Module):
    """The parts of all tasks. A span of a task that has none, and what no span covers, gains 0."""

    def __init__(self, settings: PAL) -> None:
        super().__init__()
        self.settings = settings
        self.tasks = nn.ModuleDict()

    def forward(self, k: int, x: Tensor, batch: TokenBatch) -> Tensor:
        pieces, reached = [], 0
        for span in batch.spans:
            start, stop = span.tokens.start, span.tokens.stop
            if start > reached:
                pieces.append(x.new_zeros(start - reached, x.shape[1]))
            own = x[span.tokens]
            if span.task in self.tasks and len(own):
                pieces.append(self.tasks[span.task](k, own, batch.lengths[span.sequences]))
            else:
                pieces.append(torch.zeros_like(own))
            reached = stop
        if reached < len(x):
            pieces.append(x.new_zeros(len(x) - reached, x.shape[1]))
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)
