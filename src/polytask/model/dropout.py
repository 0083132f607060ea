"""Dropout with few random bits.

Sixteen random bits decide whether an element is kept. They are drawn sixty-four at a time from
torch's global generator, which is the only source of randomness here: saving and restoring torch's
state replays every mask. The probability is exact, not rounded to sixteen bits: the threshold of a
draw is one of two neighbouring integers, taken by a coin so that an element is dropped with
probability p.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from polytask.model.precision import widest

_LEVELS = 1 << 16
_KNOWN = (torch.float32, torch.float64, torch.bfloat16)


def kept(shape: tuple[int, ...] | torch.Size, p: float, like: Tensor) -> Tensor:
    """Draw a mask that is 0 with probability p and else 1 / (1 - p), of `like`'s dtype, there."""
    mask = torch.empty(shape, dtype=like.dtype, device=like.device)
    if p >= 1:
        return mask.zero_()
    if mask.device.type != "cpu":
        return mask.bernoulli_(1 - p).div_(1 - p)
    words = -(-mask.numel() // 4)
    bits = torch.empty(words + 1, dtype=torch.int64).random_(-(1 << 63), None)
    # The last word is the coin that rounds p · 2^16 up or down.
    coin = (int(bits[words]) & ((1 << 53) - 1)) / (1 << 53)
    whole = math.floor(p * _LEVELS)
    dropped = whole + (coin < p * _LEVELS - whole)
    if dropped == _LEVELS:
        return mask.zero_()
    drawn = bits.view(torch.int16)[: mask.numel()].view(shape)
    # Into the mask itself: a comparison that makes booleans needs two more passes.
    return torch.ge(drawn, dropped - _LEVELS // 2, out=mask).mul_(1 / (1 - p))


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        mask = kept(x.shape, p, x.new_empty(0, dtype=widest(x)))
        ctx.save_for_backward(mask)
        return (x * mask).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return (grad * mask).to(grad.dtype), None


def dropout(x: Tensor, p: float, training: bool = True) -> Tensor:
    """Return x with each element zeroed with probability p and the others divided by 1 - p."""
    if not training or p == 0:
        return x
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return nn.functional.dropout(x, p)
    return _Dropped.apply(x, p)  # type: ignore[no-any-return, no-untyped-call]


class Dropout(nn.Module):
    """Dropout as a module; `p` may be changed at any time."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    @property
    def now(self) -> float:
        """The probability that applies: 0 outside training."""
        return self.p if self.training else 0.0

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.now)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class _AddedNorm(torch.autograd.Function):
    """LayerNorm(residual + dropout(x)), keeping what its backward needs and nothing else."""

    @staticmethod
    def forward(ctx: Any, residual: Tensor, x: Tensor, weight: Tensor, bias: Tensor, eps: float,
                p: float) -> Tensor:
        wide = widest(residual, x)
        residual, x = residual.to(wide), x.to(wide)
        mask = kept(x.shape, p, x) if p else None
        total = residual + x if mask is None else torch.addcmul(residual, x, mask)
        out, mean, rstd = torch.native_layer_norm(total, weight.shape, weight, bias, eps)
        ctx.save_for_backward(total, mean, rstd, weight, bias, mask)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        total, mean, rstd, weight, bias, mask = ctx.saved_tensors
        needed = [any(ctx.needs_input_grad[:2]), *ctx.needs_input_grad[2:4]]
        inner, by_weight, by_bias = torch.ops.aten.native_layer_norm_backward(
            grad.contiguous(), total, weight.shape, mean, rstd, weight, bias, needed)
        outer = inner if mask is None or not ctx.needs_input_grad[1] else inner * mask
        return inner, outer, by_weight, by_bias, None, None


def added_norm(residual: Tensor, x: Tensor, norm: nn.LayerNorm, p: float) -> Tensor:
    """Return norm(residual + dropout(x, p)), in one piece where that pays."""
    if fused(residual, x):
        return _AddedNorm.apply(  # type: ignore[no-any-return, no-untyped-call]
            residual, x, norm.weight, norm.bias, norm.eps, p)
    return norm(residual + dropout(x, p))  # type: ignore[no-any-return]


def fused(*tensors: Tensor) -> bool:
    """Tell whether the hand-written gradients apply: training on CPU.

    Elsewhere the plain operations do, which a tracer sees through.
    """
    return torch.is_grad_enabled() and not torch.compiler.is_compiling() and all(
        x.device.type == "cpu" and x.dtype in _KNOWN for x in tensors)
