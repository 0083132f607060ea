"""Attention over a flat batch: sequences of like length in blocks, each block padded a little.

The plan of a batch (which sequences make a block, and where) is made once and used by every layer.
Rows move into blocks and back by gathers only: the gradient of a scatter would be a sum whose
order, and so whose bits, may differ from run to run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from polytask.model.dropout import fused, kept


@dataclass(frozen=True)
class Block:
    """Sequences that attend together, padded to one length."""

    sequences: int
    length: int
    rows: slice
    """Its places among the places of all blocks: sequences · length of them."""
    bias: Tensor | None
    """(sequences, 1, 1, length): 0 at a token, -inf at padding; None: nothing is padded."""


@dataclass(frozen=True)
class Plan:
    """Where every token of a flat batch stands in the blocks, and back."""

    blocks: tuple[Block, ...]
    into: Tensor
    """(places,) the token at each place; at padding, the first token of the same sequence."""
    back: Tensor
    """(tokens,) the place of each token."""
    padding: Tensor
    """The places that are padding."""

    @property
    def places(self) -> int:
        return int(self.into.shape[0])


@lru_cache(maxsize=256)
def planned(lengths: tuple[int, ...], device: torch.device) -> Plan:
    """Group sequences by length; the same lengths give the same plan object."""
    starts = [0]
    for length in lengths:
        starts.append(starts[-1] + length)
    blocks: list[Block] = []
    into, padding, place = [], [], 0
    back = torch.empty(starts[-1], dtype=torch.long)
    for group in _groups(lengths):
        # Vector units take eight keys at a time, so a length of 25 costs more than one of 32.
        longest = -(-lengths[group[0]] // 8) * 8
        first = torch.tensor([starts[s] for s in group])[:, None]
        real = torch.arange(longest) < torch.tensor([lengths[s] for s in group])[:, None]
        tokens = torch.where(real, first + torch.arange(longest), first)    # (n, longest)
        places = place + torch.arange(tokens.numel()).view_as(tokens)
        back[tokens[real]] = places[real]
        into.append(tokens.flatten())
        padding.append(places[~real])
        bias = torch.zeros(len(group), 1, 1, longest).masked_fill_(~real[:, None, None], -math.inf)
        stop = place + tokens.numel()
        blocks.append(Block(len(group), longest, slice(place, stop),
                            None if bool(real.all()) else bias.to(device)))
        place = stop
    none = torch.empty(0, dtype=torch.long)
    return Plan(tuple(blocks), torch.cat([none, *into]).to(device), back.to(device),
                torch.cat([none, *padding]).to(device))


def _groups(lengths: Sequence[int]) -> list[list[int]]:
    """Split sequences, longest first, where padding would cost more than another block."""
    groups: list[list[int]] = []
    for s in sorted(range(len(lengths)), key=lambda s: -lengths[s]):
        if groups and lengths[s] >= 0.75 * lengths[groups[-1][0]] - 2:
            groups[-1].append(s)
        elif lengths[s]:
            groups.append([s])
    return groups


def attend(qkv: Tensor, lengths: tuple[int, ...], heads: int, p: float) -> Tensor:
    """Mix the tokens of each sequence: (T, 3W) of queries, keys and values to (T, W).

    `p` is the probability of dropping an attention weight.
    """
    plan = planned(lengths, qkv.device)
    if fused(qkv):
        return _Attention.apply(qkv, plan, heads, p)  # type: ignore[no-any-return, no-untyped-call]
    # Padding has no influence and its gradient is zero, so index_select's own gradient adds zeros
    # to the one number that counts: the order of its sums does not matter.
    rows = qkv.index_select(0, plan.into)
    results = []
    for block in plan.blocks:
        q, k, v = _by_head(rows[block.rows], block, heads).unbind()
        bias = None if block.bias is None else block.bias.to(q.dtype)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=p)
        results.append(mixed.transpose(1, 2).reshape(len(rows[block.rows]), -1))
    return torch.cat([qkv.new_empty(0, qkv.shape[1] // 3), *results]).index_select(0, plan.back)


def _by_head(rows: Tensor, block: Block, heads: int) -> Tensor:
    """Return a block's queries, keys and values: (3, sequences, heads, length, d)."""
    shape = (block.sequences, block.length, 3, heads, rows.shape[1] // (3 * heads))
    return rows.view(shape).permute(2, 0, 3, 1, 4)


class _Attention(torch.autograd.Function):
    """Softmax attention with dropout, block by block; random bits are drawn once for all blocks.

    With S = q kᵀ / √d, P = softmax(S), D = P ∘ mask, O = D v, the gradients are dv = Dᵀ dO,
    dP = mask ∘ dO vᵀ, dS = P ∘ (dP − rowsum(dP ∘ P)), dq = dS k / √d, dk = dSᵀ q / √d.
    """

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, plan: Plan, heads: int, p: float) -> Tensor:
        width = qkv.shape[1] // 3
        scale = (width // heads) ** -0.5
        rows = qkv.index_select(0, plan.into)                               # (places, 3W)
        weights = qkv.new_empty(sum(_sizes(plan, heads)))
        inputs = []
        for block, weight in _split(weights, plan, heads):
            # A copy, so that (n, heads) is one dimension for the products: (3, n · heads, L, d).
            qkv_ = _by_head(rows[block.rows], block, heads).contiguous().flatten(1, 2)
            inputs.append(qkv_)
            _scores(qkv_[0], qkv_[1], block, heads, scale, weight)
            torch.softmax(weight, -1, out=weight)
        mask = kept(weights.shape, p, weights) if p else None
        dropped = weights if mask is None else weights * mask
        out = qkv.new_empty(plan.places, width)
        for (block, weight), qkv_ in zip(_split(dropped, plan, heads), inputs, strict=True):
            _as_heads(out, block, heads).copy_(_four(torch.bmm(weight, qkv_[2]), block, heads))
        ctx.save_for_backward(weights, mask, None if mask is None else dropped, *inputs)
        ctx.plan, ctx.heads, ctx.scale = plan, heads, scale
        return out.index_select(0, plan.back)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        weights, mask, dropped, *inputs = ctx.saved_tensors
        plan, heads = ctx.plan, ctx.heads
        by_out = grad.index_select(0, plan.into).index_fill_(0, plan.padding, 0)
        by_weights = torch.empty_like(weights)
        by_rows = grad.new_empty(plan.places, 3, grad.shape[1])
        used = weights if dropped is None else dropped
        pieces = list(zip(_split(by_weights, plan, heads), _split(used, plan, heads),
                          _split(weights, plan, heads), inputs, strict=True))
        for (block, by_weight), (_, weight), _, qkv_ in pieces:
            by_mixed = _as_heads(by_out, block, heads).reshape(weight.shape[0], block.length, -1)
            torch.bmm(by_mixed, qkv_[2].transpose(1, 2), out=by_weight)
            by_value = torch.bmm(weight.transpose(1, 2), by_mixed)
            _as_heads(by_rows[:, 2], block, heads).copy_(_four(by_value, block, heads))
        if mask is not None:
            by_weights.mul_(mask)
        for (block, by_weight), _, (_, weight), qkv_ in pieces:
            by_score = torch._softmax_backward_data(by_weight, weight, -1, weight.dtype)
            by_score.mul_(ctx.scale)
            by_query = torch.bmm(by_score, qkv_[1])
            by_key = torch.bmm(by_score.transpose(1, 2), qkv_[0])
            _as_heads(by_rows[:, 0], block, heads).copy_(_four(by_query, block, heads))
            _as_heads(by_rows[:, 1], block, heads).copy_(_four(by_key, block, heads))
        return by_rows.flatten(1).index_select(0, plan.back), None, None, None


def _sizes(plan: Plan, heads: int) -> list[int]:
    return [block.sequences * heads * block.length**2 for block in plan.blocks]


def _split(flat: Tensor, plan: Plan, heads: int) -> list[tuple[Block, Tensor]]:
    """Cut the attention weights of all blocks into each block's (n · heads, L, L)."""
    pieces = flat.split_with_sizes(_sizes(plan, heads))
    return [(block, piece.view(-1, block.length, block.length))
            for block, piece in zip(plan.blocks, pieces, strict=True)]


def _as_heads(rows: Tensor, block: Block, heads: int) -> Tensor:
    """View a block's rows (places, W) as (sequences, heads, length, d)."""
    shape = (block.sequences, block.length, heads, rows.shape[1] // heads)
    return rows[block.rows].view(shape).transpose(1, 2)


def _four(x: Tensor, block: Block, heads: int) -> Tensor:
    return x.view(block.sequences, heads, block.length, -1)


def _scores(q: Tensor, k: Tensor, block: Block, heads: int, scale: float, out: Tensor) -> None:
    """Write q kᵀ · scale, -inf at padded keys, into `out`: (n · heads, L, L)."""
    if block.bias is None:
        torch.baddbmm(out, q, k.transpose(1, 2), beta=0, alpha=scale, out=out)
        return
    bias = block.bias.to(out.dtype).expand(-1, heads, 1, -1).reshape(len(out), 1, -1)
    torch.baddbmm(bias, q, k.transpose(1, 2), alpha=scale, out=out)


def attention_maps(qkv: Tensor, lengths: Sequence[int], heads: int) -> list[Tensor]:
    """Return each sequence's attention, before dropout: (heads, length, length)."""
    maps, start = [], 0
    for length in lengths:
        rows = qkv[start:start + length].view(length, 3, heads, -1)
        q, k, _ = rows.permute(1, 2, 0, 3).unbind()                         # (heads, length, d)
        maps.append((q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])).softmax(-1))
        start += length
    return maps
