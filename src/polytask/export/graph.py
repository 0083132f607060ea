"""The whole network as one module over padded inputs, made of operations that an exporter sees.

    input_ids, attention_mask, token_type_ids ─► encoder, once ─► each pooling, once ─► every head

Padding ends at the door: tokens are picked by the mask, so that embeddings, linear layers and norms work
on real tokens (T, W) as in training; attention alone sees (S, L). Shapes: T tokens, W width, S sequences,
L longest.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polytask.core.errors import ConfigError
from polytask.data.labels import Labels
from polytask.inference.graph_info import EMBEDDING
from polytask.model.adapters.lora import merged
from polytask.model.adapters.pal import ProjectedAttention, TaskAdapters
from polytask.model.attention import PLAIN, Scoring
from polytask.model.flat_encoder import FlatEncoder, SelfAttention
from polytask.model.multitask import MultiTask
from polytask.model.output import Output
from polytask.model.poolings.contract import Pooling
from polytask.model.positions import Positions, distances
from polytask.tasks.resolved_task import ResolvedTask


@dataclass(frozen=True)
class TaskOutputs:
    """The names of a task's outputs; `logits` is None where its head gives a score."""

    logits: str | None
    activated: str

    @classmethod
    def of(cls, task: ResolvedTask) -> TaskOutputs:
        if task.head.output_field(task.labels.kind) == "score":
            return cls(None, f"{task.name}_score")
        return cls(f"{task.name}_logits", f"{task.name}_probabilities")

    @property
    def names(self) -> list[str]:
        return [self.activated] if self.logits is None else [self.logits, self.activated]


class FusedAttention(nn.Module):
    """Attention whose three projections are one layer: a product of constants that is seen as one."""

    def __init__(self, source: SelfAttention) -> None:
        super().__init__()
        # Kept: encoders of relative positions project their distances by themselves.
        self.query, self.key, self.value = parts = (source.query, source.key, source.value)
        width = source.query.in_features
        self.heads, self.output, self.dropout = source.heads, source.output, source.dropout
        self.qkv = nn.Linear(width, 3 * width)
        with torch.no_grad():
            self.qkv.weight.copy_(torch.cat([part.weight for part in parts]))
            self.qkv.bias.copy_(torch.cat([part.bias for part in parts]))


@dataclass
class Unpadded:
    """Where the real tokens of a padded batch are, and how they go back to (S, L)."""

    rows: Tensor
    positions: Tensor
    back: Tensor
    mask: Tensor
    bias: Tensor

    @classmethod
    def of(cls, attention_mask: Tensor) -> Unpadded:
        """Read them off a mask; padding may stand on either side."""
        present = attention_mask != 0
        places = present.to(torch.int64).cumsum(1) - 1
        lengths = places[:, -1:] + 1                                        # (S, 1)
        starts = lengths.cumsum(0) - lengths
        column = torch.arange(attention_mask.shape[1], device=attention_mask.device)[None]
        mask = column < lengths
        # Beyond its end a sequence repeats its last token, which the mask hides.
        back = starts + torch.minimum(column.expand_as(mask), (lengths - 1).clamp(min=0))
        rows, columns = present.nonzero(as_tuple=True)
        bias = torch.where(mask, 0.0, -3e38)[:, None, None, :]              # (S, 1, 1, L)
        return cls(rows, places[rows, columns], back, mask, bias)

    def attend(self, qkv: Tensor, heads: int, scoring: Scoring = PLAIN) -> Tensor:
        """Mix the tokens of each sequence: (T, 3W) of queries, keys and values to (T, W)."""
        shape = (3, heads, qkv.shape[-1] // (3 * heads))
        parts = torch.unflatten(qkv[self.back], -1, shape)                  # (S, L, 3, heads, d)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)                    # (S, heads, L, d)
        # Written out: the exporter's own form of scaled_dot_product_attention looks for NaN at every turn.
        scale, length = scoring.scale_for(q.shape[-1]), self.mask.shape[1]
        scores = (q * scale) @ k.transpose(2, 3) + self.bias                # (S, heads, L, L)
        if scoring.bias is not None:
            scores = scores + scoring.bias(length, lambda: (q, k))
        if scoring.window is not None:
            near = distances(length, qkv.device).abs() <= scoring.window
            # A query at padding sees all keys; its result is never read.
            scores = scores + torch.where(near | ~self.mask[:, None, :, None], 0.0, -3e38)
        mixed = scores.softmax(-1) @ v
        flat: Tensor = mixed.transpose(1, 2).flatten(2)[self.rows, self.positions]
        return flat


class ExportedNetwork(nn.Module):
    """Returns every task's outputs and the sentence embedding, in the order of `output_names`."""

    def __init__(self, model: MultiTask, tasks: Mapping[str, ResolvedTask], pooling: Pooling) -> None:
        super().__init__()
        self.network = copy.deepcopy(model).float().cpu().eval().requires_grad_(False)
        self.network.encoder = merged(self.network.encoder).requires_grad_(False)
        self.tasks, self.pooling = dict(tasks), pooling
        encoder = self.network.encoder
        self.adapters: TaskAdapters | None = getattr(encoder, "adapter", None)
        self.flat = isinstance(encoder, FlatEncoder)
        for layer in encoder.layers if isinstance(encoder, FlatEncoder) else ():
            if isinstance(layer.attention, SelfAttention):
                layer.attention = FusedAttention(layer.attention)
        self.check()

    def check(self) -> None:
        """Raise `ConfigError` for a part that a graph cannot express."""
        encoder = self.network.encoder
        hidden, mask = torch.zeros(1, 2, encoder.width), torch.ones(1, 2, dtype=torch.bool)
        for pooling in [self.pooling, *(self._pooling(name) for name in self.tasks)]:
            if pooling.pool_padded(hidden, mask, encoder) is None:
                raise ConfigError(f'pooling "{pooling.name}" has no pool_padded, so no graph can be '
                                  "written; give it one, or serve the run with torch")
        if self.adapters is not None and not isinstance(self.adapters, TaskAdapters):
            raise ConfigError("encoder.adapter: this adapter cannot be exported to ONNX; serve the run "
                              "with torch")

    @property
    def output_names(self) -> list[str]:
        return [EMBEDDING, *(name for task in self.tasks.values() for name in TaskOutputs.of(task).names)]

    def forward(self, input_ids: Tensor, attention_mask: Tensor,
                token_type_ids: Tensor) -> tuple[Tensor, ...]:
        places = Unpadded.of(attention_mask)
        base = self.hidden(input_ids, attention_mask, token_type_ids, places, None)
        pooled = {self.pooling: self.pool(self.pooling, base, places)}
        outputs = [pooled[self.pooling]]
        for name, task in self.tasks.items():
            pooling = self._pooling(name)
            if self.adapters is not None and name in self.adapters.tasks:
                own = self.hidden(input_ids, attention_mask, token_type_ids, places, name)
                vectors = self.pool(pooling, own, places)
            else:
                if pooling not in pooled:
                    pooled[pooling] = self.pool(pooling, base, places)
                vectors = pooled[pooling]
            outputs += self.outputs(task, vectors)
        return tuple(outputs)

    def hidden(self, ids: Tensor, attention_mask: Tensor, segments: Tensor, places: Unpadded,
               task: str | None) -> Tensor:
        """Return the last hidden states as (S, L, W), the tokens of a sequence first."""
        encoder = self.network.encoder
        if not self.flat:
            padded: Tensor = encoder.padded(ids, attention_mask, segments)
            return padded
        present = (attention_mask != 0).nonzero(as_tuple=True)
        x = encoder.embeddings(encoder.embeddings.word(ids[present]), segments[present], places.positions)
        positions = encoder.positions(places.positions, ids.shape[1], whole=True)
        for k in range(encoder.num_layers):
            layer = encoder.layer(k)
            x = layer(x, _attending(places, k, layer.attention, positions), self._added(k, places, task))
        return encoder.final(x)[places.back]  # type: ignore[no-any-return]

    def _added(self, k: int, places: Unpadded, task: str | None) -> Callable[[Tensor], Tensor] | None:
        """Return what a task's own adapter adds in layer k."""
        if task is None or self.adapters is None:
            return None
        part = self.adapters.tasks[task]
        assert isinstance(part, ProjectedAttention)
        return lambda x: F.gelu(part.up(places.attend(part.layers[k](part.down(x)), part.heads)))

    def pool(self, pooling: Pooling, hidden: Tensor, places: Unpadded) -> Tensor:
        """Return the vector of each sequence: (S, W)."""
        pooled = pooling.pool_padded(hidden, places.mask, self.network.encoder)
        assert pooled is not None
        return pooled

    def outputs(self, task: ResolvedTask, pooled: Tensor) -> list[Tensor]:
        """Return a task's logits, where it has some, and what is activated of them."""
        task_head = self.network.task_head(task.name)
        if (each := task.pairing.sequences) > 1:
            # Sequences at the end that are no whole row are left out: every head must take every batch,
            # since ONNX Runtime computes all outputs whichever are asked for.
            rows = pooled.shape[0] // each
            pooled = pooled[: each * rows].reshape(rows, each, pooled.shape[-1])
        output: Output = task_head(pooled)
        values = output.field(task_head.output_field)
        if task_head.output_field == "score":
            return [scaled_score(values, task)]
        return [values, activated(values, task.labels)]

    def _pooling(self, task: str) -> Pooling:
        return self.network.task_head(task).pooling


def _attending(places: Unpadded, k: int, attention: Any,
               positions: Positions) -> Callable[[Tensor], Tensor]:
    scoring = positions.scoring(k, attention)
    return lambda qkv: places.attend(positions.turn(k, qkv), attention.heads, scoring)


def activated(logits: Tensor, labels: Labels) -> Tensor:
    """Return probabilities (rows, classes) of a head's logits."""
    if labels.kind == "multi-label":
        return logits.sigmoid()
    if logits.ndim == 1:
        positive = logits.sigmoid()
        return torch.stack([1 - positive, positive], 1)
    return logits.softmax(-1)


def scaled_score(score: Tensor, task: ResolvedTask) -> Tensor:
    """Return a regression in the labels' own range, not cut off; a cosine of classes as it is."""
    if not task.labels.is_regression:
        return score
    seen = task.head.target_labels(task.labels)
    unscaled: Tensor = seen.unscaled(score)
    return unscaled
