"""Dropout with few random bits.

Sixteen random bits decide whether an element is kept, drawn sixty-four at a time from torch's global
generator, which is the only source of randomness here: saving and restoring torch's state replays
every mask. The probability is exact, not rounded to sixteen bits: the threshold of a draw is one of
the two neighbouring integers, taken at random so that an element is dropped with probability p.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_LEVELS = 1 << 16


def keep(shape: tuple[int, ...] | torch.Size, p: float, like: Tensor) -> Tensor:
    """Draw a mask of ones (probability 1 - p) and zeros, of `like`'s dtype and device."""
    mask = torch.empty(shape, dtype=like.dtype, device=like.device)
    if mask.device.type != "cpu":
        return mask.bernoulli_(1 - p)
    words = -(-mask.numel() // 4)
    bits = torch.empty(words + 1, dtype=torch.int64).random_(-(1 << 63), None)
    # The last word is the coin that rounds p · 2^16 up or down.
    coin = (int(bits[words]) >> 11 & ((1 << 53) - 1)) / (1 << 53)
    whole = math.floor(p * _LEVELS)
    dropped = whole + (coin < p * _LEVELS - whole)
    if dropped >= _LEVELS:
        return mask.zero_()
    drawn = bits.view(torch.int16)[: mask.numel()].view(shape)
    # `out` of the mask's own dtype spares a pass that would turn booleans into numbers.
    return torch.ge(drawn, dropped - _LEVELS // 2, out=mask)


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        mask = keep(x.shape, p, x)
        ctx.save_for_backward(mask)
        ctx.scale = 1 / (1 - p)
        return mask.mul(x).mul_(ctx.scale)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return mask.mul(grad).mul_(ctx.scale), None


def dropout(x: Tensor, p: float, training: bool = True) -> Tensor:
    """Return x with each element zeroed with probability p and the others divided by 1 - p."""
    if not training or p == 0:
        return x
    if p >= 1:
        return x * 0
    return _Dropped.apply(x, p)  # type: ignore[no-any-return]


class Dropout(nn.Module):
    """Dropout as a module; `p` may be changed at any time."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"
