"""The passes of kernels.c, where a C compiler with OpenMP is at hand; otherwise None.

They are compiled once, in about a second, into the user's cache. Nothing needs them: without them
(no compiler, another kind of number, a width that is no multiple of 16, `POLYTASK_KERNELS=0`)
torch's operations do the same, slower. Dropout's masks are then others, for the same seed.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from ctypes import c_float, c_int, c_int64, c_uint32, c_uint64, c_void_p
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from polytask.model.wordpiece import cache_folder

LANES, CHUNK = 16, 32  # as in kernels.c
_FLAGS = ("-O3", "-march=native", "-std=gnu11", "-fno-math-errno", "-fopenmp", "-fPIC", "-shared")

_P, _I, _DROPOUT = c_void_p, c_int64, [c_uint64, c_uint32, c_float]
_ARGUMENTS: dict[str, list[Any]] = {
    "dropout_mask": [_P, _I, _I, *_DROPOUT],
    "norm_forward": [_P] * 7 + [_I, _I, c_float, *_DROPOUT, c_int],
    "norm_backward": [_P] * 9 + [_I, _I, *_DROPOUT, c_int],
    "attention_forward": [_P] * 3 + [_I, c_int, c_int, _P, _P, c_float, *_DROPOUT, c_int, c_int],
    "attention_backward": [_P] * 5 + [_I, c_int, c_int, _P, c_float, *_DROPOUT, c_int, c_int],
}


@cache
def library() -> Any | None:
    """Return the compiled library, building it if need be, or None where there is none to be had."""
    if os.environ.get("POLYTASK_KERNELS", "1") == "0":
        return None
    compiler = shutil.which(os.environ.get("CC") or "cc") or shutil.which("gcc")
    if compiler is None:
        return None
    try:
        loaded = ctypes.CDLL(str(_built(compiler)))
        for name, kinds in _ARGUMENTS.items():
            getattr(loaded, name).argtypes = kinds
            getattr(loaded, name).restype = None
    except (OSError, AttributeError, subprocess.SubprocessError):
        return None
    return loaded


def _built(compiler: str) -> Path:
    source = Path(__file__).with_name("kernels.c")
    told = [source.read_text(encoding="utf-8"), compiler, *_FLAGS, platform.machine(), _processor()]
    name = f"{hashlib.sha256(chr(0).join(told).encode()).hexdigest()[:16]}.so"
    path = cache_folder() / "kernels" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            aside = Path(folder) / name
            subprocess.run([compiler, *_FLAGS, "-o", str(aside), str(source), "-lm"],
                           check=True, capture_output=True, timeout=60)
            aside.replace(path)
    return path


def _processor() -> str:
    """Return what tells processors apart: a home may be shared by machines of several kinds."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def usable(width: int, *tensors: Tensor) -> bool:
    """Tell whether the kernels can take these tensors, of rows (or heads) of `width` numbers."""
    return (width % LANES == 0 and all(x.dtype == torch.float32 for x in tensors)
            and library() is not None)


def _drawn(p: float) -> tuple[int, int, float]:
    """Draw a seed from torch's generator; return it with p · 2^32 and 1 / (1 - p)."""
    if p == 0:
        return 0, 0, 1.0
    seed = int(torch.empty((), dtype=torch.int64).random_(-(1 << 63), None)) & (1 << 64) - 1
    return seed, max(1, min(round(p * (1 << 32)), (1 << 32) - 1)), 1 / (1 - p) if p < 1 else 0.0


def mask(rows: int, width: int, p: float) -> Tensor:
    """Draw the mask that the kernels would use for a norm of (rows, width)."""
    out = torch.empty(rows, width)
    _call("dropout_mask", out, rows, width, *_drawn(p))
    return out


def _call(name: str, *arguments: Tensor | float | None) -> None:
    """Call a kernel with the addresses of tensors (None: no such tensor) and numbers."""
    getattr(library(), name)(*[x.data_ptr() if isinstance(x, Tensor) else x for x in arguments])


class AddedNorm(torch.autograd.Function):
    """LayerNorm(residual + dropout(x)) over rows."""

    @staticmethod
    def forward(ctx: Any, residual: Tensor, x: Tensor, weight: Tensor, bias: Tensor, eps: float,
                p: float) -> Tensor:
        residual, x = residual.contiguous(), x.contiguous()
        rows, width = x.shape
        total, out, moments = torch.empty_like(x), torch.empty_like(x), x.new_empty(rows, 2)
        ctx.drawn = _drawn(p)
        _call("norm_forward", residual, x, weight, bias, total, out, moments, rows, width, eps,
              *ctx.drawn, torch.get_num_threads())
        ctx.save_for_backward(total, weight, moments)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        total, weight, moments = ctx.saved_tensors
        rows, width = total.shape
        by_residual, by_weight, by_bias = (torch.empty_like(like) for like in (total, weight, weight))
        by_x = torch.empty_like(total) if ctx.drawn[1] else None
        partial = total.new_empty(-(-rows // CHUNK), 2, width)
        _call("norm_backward", grad.contiguous(), total, weight, moments, by_residual, by_x,
              by_weight, by_bias, partial, rows, width, *ctx.drawn, torch.get_num_threads())
        return by_residual, by_residual if by_x is None else by_x, by_weight, by_bias, None, None


class Attention(torch.autograd.Function):
    """Softmax attention with dropout inside each sequence: (T, 3W) to (T, W)."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, lengths: tuple[int, ...], heads: int, p: float) -> Tensor:
        qkv = qkv.contiguous()
        width = qkv.shape[1] // 3
        starts, places, size, longest = _places(lengths, heads)
        weights, out = qkv.new_empty(size), qkv.new_empty(len(qkv), width)
        ctx.sizes = len(lengths), heads, width // heads
        ctx.last = (width // heads) ** -0.5, *_drawn(p), longest, torch.get_num_threads()
        _call("attention_forward", qkv, starts, places, *ctx.sizes, weights, out, *ctx.last)
        ctx.save_for_backward(qkv, weights, starts, places)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        qkv, weights, starts, places = ctx.saved_tensors
        by_qkv = torch.empty_like(qkv)
        _call("attention_backward", grad.contiguous(), qkv, weights, starts, places, *ctx.sizes,
              by_qkv, *ctx.last)
        return by_qkv, None, None, None


@lru_cache(maxsize=256)
def _places(lengths: tuple[int, ...], heads: int) -> tuple[Tensor, Tensor, int, int]:
    """Return where sequences start, where their weights do, all weights' number, the longest."""
    starts, places = [0], [0]
    for length in lengths:
        starts.append(starts[-1] + length)
        places.append(places[-1] + heads * length * -(-length // LANES) * LANES)
    return torch.tensor(starts), torch.tensor(places), places[-1], max(lengths, default=0)
