"""Attention over a flat batch: sequences of like length in blocks, each block padded a little.

The plan of a batch (which sequences make a block) is made once and used by every layer. Rows move
into blocks and back by gathers only: a scatter's gradient would be a sum of atomics, whose order and
so whose bits differ from run to run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from polytask.model.dropout import dropout


@dataclass(frozen=True)
class Block:
    """Sequences that attend together, padded to the longest of them."""

    sequences: tuple[int, ...]
    longest: int
    mask: Tensor | None
    """(sequences, 1, 1, longest), True where there is a token; None: nothing is padded."""


@dataclass(frozen=True)
class Plan:
    """Where every token of a flat batch stands in the blocks, and back."""

    blocks: tuple[Block, ...]
    into: Tensor
    """(padded,) the token at each place of the blocks; at padding, the number of tokens."""
    back: Tensor
    """(tokens,) the place of each token."""


@lru_cache(maxsize=64)
def plan(lengths: tuple[int, ...], device: torch.device) -> Plan:
    """Group sequences by length."""
    starts = [0]
    for length in lengths:
        starts.append(starts[-1] + length)
    blocks, into, back, place = [], [], torch.empty(starts[-1], dtype=torch.long), 0
    for group in _groups(lengths):
        longest = lengths[group[0]]
        places = torch.arange(longest)
        own = torch.tensor([lengths[s] for s in group])
        real = places < own[:, None]                                      # (n, longest)
        tokens = torch.tensor([starts[s] for s in group])[:, None] + places
        into.append(tokens.where(real, starts[-1]).flatten())
        back[tokens[real]] = place + real.flatten().nonzero().squeeze(1)
        place += len(group) * longest
        padded = not bool(real.all())
        blocks.append(Block(tuple(group), longest,
                            real[:, None, None].to(device) if padded else None))
    none = torch.empty(0, dtype=torch.long)
    return Plan(tuple(blocks), torch.cat(into or [none]).to(device), back.to(device))


def _groups(lengths: Sequence[int]) -> list[list[int]]:
    """Split sequences, longest first, where padding would cost more than another block."""
    groups: list[list[int]] = []
    for s in sorted(range(len(lengths)), key=lambda s: -lengths[s]):
        if groups and lengths[s] >= 0.75 * lengths[groups[-1][0]]:
            groups[-1].append(s)
        elif lengths[s]:
            groups.append([s])
    return groups


class _Gathered(torch.autograd.Function):
    """Rows of x by `index` (a number past the end: a row of zeros); `inverse` is the way back."""

    @staticmethod
    def forward(ctx, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(index, inverse)
        return _rows(x, index)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[no-untyped-def]
        _, inverse = ctx.saved_tensors
        return _rows(grad.contiguous(), inverse), None, None


def _rows(x: Tensor, index: Tensor) -> Tensor:
    return torch.cat([x, x.new_zeros(1, x.shape[1])]).index_select(0, index)


def attend(qkv: Tensor, plan: Plan, heads: int, p: float) -> Tensor:
    """Return the attention's result (tokens, width) of queries, keys, values (tokens, 3 · width)."""
    width = qkv.shape[1] // 3
    padded = _Gathered.apply(qkv, plan.into, plan.back)
    results, place = [], 0
    for block in plan.blocks:
        n, length = len(block.sequences), block.longest
        rows = padded[place:place + n * length].view(n, length, 3, heads, width // heads)
        place += n * length
        q, k, v = rows.permute(2, 0, 3, 1, 4).unbind()                      # (n, heads, length, d)
        if p == 0:
            result = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=block.mask)
        else:
            result = dropout(probabilities(q, k, block.mask), p) @ v
        results.append(result.transpose(1, 2).reshape(n * length, width))
    return _Gathered.apply(torch.cat(results), plan.back, plan.into)  # type: ignore[no-any-return]


def probabilities(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    """Return the softmax over keys: (n, heads, length, length)."""
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(-1)


def attention_maps(qkv: Tensor, lengths: Sequence[int], heads: int) -> list[Tensor]:
    """Return each sequence's attention, before dropout: (heads, length, length)."""
    maps, start = [], 0
    for length in lengths:
        rows = qkv[start:start + length].view(length, 3, heads, -1)
        q, k, _ = rows.permute(1, 2, 0, 3).unbind()                         # (heads, length, d)
        maps.append(probabilities(q, k, None))
        start += length
    return maps
