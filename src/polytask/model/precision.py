"""The precision that a network computes in: float32, or bfloat16 where a processor gains by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
Precision = Literal["auto", "fp32", "tf32", "bf16"]


def training_autocast(device: str, precision: Precision) -> AbstractContextManager[Any]:
    """Return what a pass of the training runs under: bf16 if asked for, by auto on a GPU that has it.

    A CPU that does not multiply bf16 matrices stays with float32: there bf16 would be slower.
    """
    if device == "cpu":
        rounds = precision == "bf16" and multiplies_bf16()
    else:
        rounds = precision == "bf16" or (precision == "auto" and _has_bf16(device))
    return torch.autocast(device, torch.bfloat16) if rounds else nullcontext()


@contextmanager
def exact_products(device: str) -> Iterator[None]:
    """Compute in float32 whatever is switched on: autocast, TensorFloat-32."""
    with matrix_products("fp32"), torch.autocast(device, enabled=False):
        yield


def multiplies_bf16() -> bool:
    """Tell whether this CPU has instructions for products of bf16 matrices: AMX, or those of AVX-512."""
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def inference_autocast(device: str, precision: Precision) -> AbstractContextManager[Any]:
    """Return what an evaluation or a prediction runs under: bf16 on a GPU, unless fp32 is asked for.

    On a CPU it is float32 always, so that a prediction does not depend on the processor.
    """
    if precision not in ("fp32", "tf32") and _has_bf16(device):
        return torch.autocast(device, torch.bfloat16)
    return nullcontext()


@contextmanager
def matrix_products(precision: Precision) -> Iterator[None]:
    """Let a GPU compute fp32 matrix products in TensorFloat-32, or not.

    It is a switch of the process, put back at the end.
    """
    settings = torch.backends.cuda.matmul
    before = settings.fp32_precision
    settings.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    try:
        yield
    finally:
        settings.fp32_precision = before


def rounds_on_cpu(x: Tensor) -> bool:
    """Tell whether products with x are now computed by a CPU in bf16."""
    return x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()


def widest(*tensors: Tensor) -> torch.dtype:
    """Return the precision to add tensors up in: float32, or more where one of them has more."""
    dtype = torch.float32
    for x in tensors:
        dtype = torch.promote_types(dtype, x.dtype)
    return dtype


def in_its_own_precision(function: Callable[..., T]) -> Callable[..., T]:
    """Keep autocast on a CPU out of a function, which chooses its precision itself."""
    @wraps(function)
    def apart(*args: Any) -> T:
        with torch.autocast("cpu", enabled=False):
            return function(*args)
    return apart


def _has_bf16(device: str) -> bool:
    # Older cards hold bf16 without computing in it.
    return device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
