"""What attention knows of positions beside the embeddings: nothing, a bias, content, or a rotation.

A `Positions` is made once a forward pass, for sequences of at most `longest` tokens, and asked by
every layer. Shapes: T tokens, W width, L length, d width of a head, R distances.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from polytask.model.attention import PLAIN, QueriesAndKeys, Scoring
from polytask.model.dropout import fused


class Positions:
    """Positions that are in the embeddings alone (BERT)."""

    def turn(self, layer: int, qkv: Tensor) -> Tensor:
        """Return the queries, keys and values (…, 3W) that attention sees."""
        return qkv

    def scoring(self, layer: int, attention: Any) -> Scoring:
        """Return how queries meet keys in a layer whose projections are `attention`."""
        return PLAIN


def distances(length: int, device: torch.device) -> Tensor:
    """Return j - i for query i and key j: (L, L)."""
    at = torch.arange(length, device=device)
    return at - at[:, None]


class RelativeBias(Positions):
    """One bias a head and bucket of distances, the same in all layers (Raffel et al. 2020; MPNet)."""

    BUCKETS, FARTHEST = 32, 128

    def __init__(self, table: Tensor, longest: int, whole: bool = False) -> None:
        """`table`: (buckets, heads). `whole`: every bias is for `longest`, which a tracer need not know."""
        longest = longest if whole else -(-longest // 8) * 8                # blocks are padded to eight
        buckets = self.bucket(distances(longest, table.device))
        self.bias = F.embedding(buckets, table).permute(2, 0, 1)[None]      # (1, heads, L, L)
        self.cut: dict[int, Tensor] = {}
        self.whole = whole

    @classmethod
    def bucket(cls, distance: Tensor) -> Tensor:
        """Return the bucket of j - i: half of them to each side, near distances one each, far ones
        spaced by their logarithms."""
        half = cls.BUCKETS // 2
        exact = half // 2
        far = distance.abs()
        by_log = exact + (torch.log(far.float() / exact) / math.log(cls.FARTHEST / exact)
                          * (half - exact)).long()
        size = torch.where(far < exact, far, by_log.clamp(max=half - 1))
        return size + half * (distance > 0)

    def scoring(self, layer: int, attention: Any) -> Scoring:
        return Scoring(bias=self._bias)

    def _bias(self, length: int, _: QueriesAndKeys) -> Tensor:
        if self.whole:
            return self.bias
        # One piece a length for all layers: their gradients meet in it, not in the whole table.
        if length not in self.cut:
            self.cut[length] = self.bias[..., :length, :length]
        return self.cut[length]


class Disentangled(Positions):
    """Content to position and position to content (He et al. 2021; DeBERTa-v2 and v3).

    score(i, j) = (q_i · k_j + q_i · K_r(i,j) + k_j · Q_r(i,j)) / √(3d), where r(i, j) is the bucket
    of i - j and Q, K are the layer's own projections of the table of distances.
    """

    def __init__(self, table: Tensor, norm: Callable[[Tensor], Tensor], dropout: nn.Module,
                 longest: int, *, buckets: int, farthest: int, terms: tuple[str, ...],
                 whole: bool = False) -> None:
        """`table`: (2 · span, W). `whole`: keep every distance, for a tracer that does not know L."""
        span = len(table) // 2
        longest = longest if whole else -(-longest // 8) * 8                # blocks are padded to eight
        bucket = self.bucket(-distances(longest, table.device), buckets, farthest)
        index = (bucket + span).clamp(0, 2 * span - 1)
        # A bucket is never farther than the distance itself: no other row can be asked for.
        self.low = 0 if whole else max(0, span - longest)
        high = 2 * span if whole else min(2 * span, span + longest)
        self.index = index - self.low                                       # (L, L) of 0 … R - 1
        self.rows = norm(table[self.low:high])                              # (R, W)
        self.dropout, self.terms = dropout, terms

    @staticmethod
    def bucket(distance: Tensor, buckets: int, farthest: int) -> Tensor:
        """Return the bucket of i - j, signed: near distances themselves, far ones by logarithm."""
        if buckets <= 0:
            return distance
        half = buckets // 2
        size = torch.where(distance.abs() < half, half - 1, distance.abs())
        # As transformers computes it, in single precision: a last bit decides between two buckets.
        by_log = (torch.ceil(torch.log(size / half) / torch.log(torch.tensor((farthest - 1) / half))
                             * (half - 1)) + half)
        return torch.where(size <= half, distance.to(by_log.dtype), by_log * distance.sign()).long()

    def scoring(self, layer: int, attention: Any) -> Scoring:
        rows = self.dropout(self.rows)
        heads = attention.heads
        scale = 1 / math.sqrt(rows.shape[1] // heads * (1 + len(self.terms)))
        keys, queries = ((part(rows).view(len(rows), heads, -1).transpose(0, 1)
                          if term in self.terms else None)                  # (heads, R, d)
                         for term, part in (("c2p", attention.key), ("p2c", attention.query)))

        def bias(length: int, queries_and_keys: QueriesAndKeys) -> Tensor:
            q, k = queries_and_keys()                                       # (n, heads, L, d)
            index = self.index[:length, :length].expand(*q.shape[:2], -1, -1)
            parts = []
            if keys is not None:
                parts.append((q @ keys.transpose(1, 2)).gather(-1, index))
            if queries is not None:
                by_key = (k @ queries.transpose(1, 2)).gather(-1, index.transpose(-1, -2))
                parts.append(by_key.transpose(-1, -2))
            total: Tensor = parts[0] if len(parts) == 1 else parts[0] + parts[1]
            return total * scale

        return Scoring(scale=scale, bias=bias if self.terms else None)


class Rotary(Positions):
    """Queries and keys turned by their positions (Su et al. 2021), in local and in global layers."""

    def __init__(self, positions: Tensor, head_width: int, heads: int, thetas: dict[bool, float],
                 local: tuple[bool, ...], window: int) -> None:
        """`thetas`: the base of the angles in local (True) and in global layers."""
        self.local, self.heads = local, heads
        self.windows = {True: Scoring(window=window), False: PLAIN}
        steps = torch.arange(0, head_width, 2, dtype=torch.float, device=positions.device) / head_width
        self.angles = {}
        for kind in set(local):
            angle = positions[..., None].float() * (1.0 / thetas[kind]**steps)  # (…, d / 2)
            self.angles[kind] = angle.cos()[..., None, None, :], angle.sin()[..., None, None, :]

    def turn(self, layer: int, qkv: Tensor) -> Tensor:
        cos, sin = self.angles[self.local[layer]]
        by_head = qkv.view(*qkv.shape[:-1], 3, self.heads, -1)              # (…, 3, heads, d)
        if fused(qkv):
            fast: Tensor = _Turned.apply(by_head, cos, sin)  # type: ignore[no-untyped-call]
            return fast.flatten(-3)
        turned = torch.cat(turn_halves(by_head[..., :2, :, :], cos, sin), -1).to(qkv.dtype)
        return torch.cat([turned, by_head[..., 2:, :, :]], -3).flatten(-3)

    def scoring(self, layer: int, attention: Any) -> Scoring:
        return self.windows[self.local[layer]]


def turn_halves(x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Turn pairs (x_c, x_{c + d/2}) by their angles; return both halves."""
    first, second = x.chunk(2, -1)
    return first * cos - second * sin, second * cos + first * sin


class _Turned(torch.autograd.Function):
    """The rotation of queries and keys, which its inverse leads back."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn_both(qkv, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turn_both(grad, cos, -sin), None, None


def _turn_both(qkv: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return (…, 3, heads, d) with queries and keys turned and the values as they were."""
    out = torch.empty_like(qkv)
    half = qkv.shape[-1] // 2
    first, second = turn_halves(qkv[..., :2, :, :], cos, sin)
    out[..., :2, :, :half], out[..., :2, :, half:], out[..., 2, :, :] = first, second, qkv[..., 2, :, :]
    return out
