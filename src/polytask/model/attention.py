"""Attention over a flat batch, block by block of the plan in `attention_plan.py`.

Rows move into blocks and back by gathers only: the gradient of a scatter would be a sum whose
order, and so whose bits, may differ from run to run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from polytask.model.attention_plan import Block, Plan, planned, seen_mask
from polytask.model.dropout import fused, kept
from polytask.model.precision import in_its_own_precision, widest
from polytask.model.varlen_attention import attend_varlen, has_varlen

QueriesAndKeys = Callable[[], tuple[Tensor, Tensor]]
"""Gives the queries and the keys of n sequences, (n, heads, L, d) each; called only by a bias that
depends on them, since gathering them costs a pass."""


@dataclass(frozen=True)
class Scoring:
    """How queries meet keys: softmax(scale · q kᵀ + bias), each query within its window."""

    scale: float | None = None
    """None: 1 / √d, with d the width of a head."""
    bias: Callable[[int, QueriesAndKeys], Tensor] | None = None
    """From a length L to what is added to the scores: (n or 1, heads, L, L)."""
    window: int | None = None
    """A query sees the keys at most this many tokens away; None: all of its sequence."""

    def scale_for(self, head_width: int) -> float:
        """Return the factor of the products."""
        return head_width**-0.5 if self.scale is None else self.scale


PLAIN = Scoring()


def attend(qkv: Tensor, lengths: tuple[int, ...], heads: int, p: float,
           scoring: Scoring = PLAIN) -> Tensor:
    """Mix the tokens of each sequence: (T, 3W) of queries, keys and values to (T, W).

    `p` is the probability of dropping an attention weight.
    """
    longest = max(lengths, default=0)
    # A window that every sequence fits into is none, and its plan that of the other layers.
    window = scoring.window if scoring.window is not None and scoring.window < longest - 1 else None
    head_width = qkv.shape[1] // (3 * heads)
    scale = scoring.scale_for(head_width)
    if scoring.bias is None and has_varlen(qkv, head_width, window, p):
        return attend_varlen(qkv, lengths, heads, p, scale, window)
    plan = planned(lengths, qkv.device, window)
    rows: Tensor | None = None
    biases: list[Tensor] = []
    if scoring.bias is not None:
        for block in plan.blocks:
            def queries_and_keys(block: Block = block) -> tuple[Tensor, Tensor]:
                nonlocal rows
                rows = qkv.index_select(0, plan.into) if rows is None else rows
                q, k, _ = _by_head(rows[block.rows], block, heads).unbind()
                return q, k

            biases.append(scoring.bias(block.length, queries_and_keys))
    if fused(qkv):
        return _Attention.apply(  # type: ignore[no-any-return, no-untyped-call]
            qkv, plan, heads, p, scale, *biases)
    # Padding has no influence and its gradient is zero, so index_select's own gradient adds zeros
    # to the one number that counts: the order of its sums does not matter.
    rows = qkv.index_select(0, plan.into) if rows is None else rows
    results = []
    for at, block in enumerate(plan.blocks):
        q, k, v = _by_head(rows[block.rows], block, heads).unbind()
        bias = None if block.mask is None else block.mask.to(q.dtype)
        if biases:
            bias = biases[at].to(q.dtype) if bias is None else biases[at].to(q.dtype) + bias
        with _kernels(q):
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=p, scale=scale)
        results.append(mixed.transpose(1, 2).reshape(len(rows[block.rows]), -1))
    return torch.cat([qkv.new_empty(0, qkv.shape[1] // 3), *results]).index_select(0, plan.back)


def _kernels(q: Tensor) -> AbstractContextManager[Any]:
    """Leave out cuDNN's attention, which compiles a plan for every new shape of a block."""
    if not q.is_cuda:
        return nullcontext()
    return sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH])


def _by_head(rows: Tensor, block: Block, heads: int) -> Tensor:
    """Return a block's queries, keys and values: (3, sequences, heads, length, d)."""
    shape = (block.sequences, block.length, 3, heads, rows.shape[1] // (3 * heads))
    return rows.view(shape).permute(2, 0, 3, 1, 4)


class _Attention(torch.autograd.Function):
    """Softmax attention with dropout, block by block; random bits are drawn once for all blocks.

    All in float32, also of a bf16 input, whose output and gradient are bf16 again.

    With S = scale · q kᵀ + B, P = softmax(S), D = P ∘ mask, O = D v, the gradients are dv = Dᵀ dO,
    dP = mask ∘ dO vᵀ, dS = P ∘ (dP − rowsum(dP ∘ P)), dq = scale · dS k, dk = scale · dSᵀ q, and
    dB = dS, summed over the sequences that share B.
    """

    @staticmethod
    @in_its_own_precision
    def forward(ctx: Any, qkv: Tensor, plan: Plan, heads: int, p: float, scale: float,
                *biases: Tensor) -> Tensor:
        width = qkv.shape[1] // 3
        rows = qkv.index_select(0, plan.into)                               # (places, 3W)
        weights = qkv.new_empty(sum(_sizes(plan, heads)), dtype=widest(qkv))
        inputs = []
        for at, (block, weight) in enumerate(_split(weights, plan, heads)):
            # A copy, so that (n, heads) is one dimension for the products: (3, n · heads, L, d).
            qkv_ = _dense(_by_head(rows[block.rows], block, heads), weights.dtype).flatten(1, 2)
            inputs.append(qkv_)
            _scores(qkv_[0], qkv_[1], block, heads, scale, weight, biases[at] if biases else None)
            torch.softmax(weight, -1, out=weight)
        mask = kept(weights.shape, p, weights) if p else None
        dropped = weights if mask is None else weights * mask
        out = qkv.new_empty(plan.places, width)
        for (block, weight), qkv_ in zip(_split(dropped, plan, heads), inputs, strict=True):
            _as_heads(out, block, heads).copy_(_four(torch.bmm(weight, qkv_[2]), block, heads))
        ctx.save_for_backward(weights, mask, None if mask is None else dropped, *inputs)
        ctx.plan, ctx.heads, ctx.scale = plan, heads, scale
        ctx.shared = [len(bias) == 1 for bias in biases]
        return out.index_select(0, plan.back)

    @staticmethod
    @once_differentiable
    @in_its_own_precision
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        weights, mask, dropped, *inputs = ctx.saved_tensors
        plan, heads = ctx.plan, ctx.heads
        by_out = grad.index_select(0, plan.into).index_fill_(0, plan.padding, 0)
        by_weights = torch.empty_like(weights)
        by_rows = grad.new_empty(plan.places, 3, grad.shape[1])
        used = weights if dropped is None else dropped
        pieces = list(zip(_split(by_weights, plan, heads), _split(used, plan, heads),
                          _split(weights, plan, heads), inputs, strict=True))
        for (block, by_weight), (_, weight), _, qkv_ in pieces:
            by_mixed = _dense(_as_heads(by_out, block, heads), weight.dtype).flatten(0, 1)
            torch.bmm(by_mixed, qkv_[2].transpose(1, 2), out=by_weight)
            by_value = torch.bmm(weight.transpose(1, 2), by_mixed)
            _as_heads(by_rows[:, 2], block, heads).copy_(_four(by_value, block, heads))
        if mask is not None:
            by_weights.mul_(mask)
        by_biases: list[Tensor] = []
        for (block, by_weight), _, (_, weight), qkv_ in pieces:
            by_score = torch._softmax_backward_data(by_weight, weight, -1, weight.dtype)
            if ctx.shared:
                by_bias = _four(by_score, block, heads)
                by_biases.append(by_bias.sum(0, keepdim=True) if ctx.shared[len(by_biases)]
                                 else by_bias.clone())
            by_score.mul_(ctx.scale)
            by_query = torch.bmm(by_score, qkv_[1])
            by_key = torch.bmm(by_score.transpose(1, 2), qkv_[0])
            _as_heads(by_rows[:, 0], block, heads).copy_(_four(by_query, block, heads))
            _as_heads(by_rows[:, 1], block, heads).copy_(_four(by_key, block, heads))
        return by_rows.flatten(1).index_select(0, plan.back), None, None, None, None, *by_biases


def _dense(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a contiguous copy in another precision, in one pass."""
    return torch.empty(x.shape, dtype=dtype, device=x.device).copy_(x)


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


def _scores(q: Tensor, k: Tensor, block: Block, heads: int, scale: float, out: Tensor,
            bias: Tensor | None) -> None:
    """Write scale · q kᵀ + bias, -inf where a query sees no key, into `out`: (n · heads, L, L)."""
    if bias is not None:
        added = _four(out, block, heads).copy_(bias)
        if block.mask is not None:
            added.add_(block.mask.to(out.dtype))
        torch.baddbmm(out, q, k.transpose(1, 2), alpha=scale, out=out)
    elif block.mask is None:
        torch.baddbmm(out, q, k.transpose(1, 2), beta=0, alpha=scale, out=out)
    else:
        rows = block.mask.shape[2]
        mask = block.mask.to(out.dtype).expand(-1, heads, -1, -1).reshape(len(out), rows, -1)
        torch.baddbmm(mask, q, k.transpose(1, 2), alpha=scale, out=out)


def attention_maps(qkv: Tensor, lengths: Sequence[int], heads: int,
                   scoring: Scoring = PLAIN) -> list[Tensor]:
    """Return each sequence's attention, before dropout: (heads, length, length)."""
    maps, start = [], 0
    for length in lengths:
        rows = qkv[start:start + length].view(length, 3, heads, -1)
        q, k, _ = rows.permute(1, 2, 0, 3).unbind()                         # (heads, length, d)
        scores = q @ k.transpose(1, 2) * scoring.scale_for(q.shape[-1])
        if scoring.bias is not None:
            scores = scores + scoring.bias(length, lambda q=q, k=k: (q[None], k[None]))[0]  # type: ignore[misc]
        mask = seen_mask(torch.ones(1, length, dtype=torch.bool), scoring.window)
        maps.append((scores if mask is None else scores + mask[0].to(scores)).softmax(-1))
        start += length
    return maps
