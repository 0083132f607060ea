"""The precision that a network computes in: float32, or bfloat16 where a processor gains by it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch

Precision = Literal["auto", "fp32", "tf32", "bf16"]


def training_autocast(device: str, precision: Precision) -> AbstractContextManager[Any]:
    """Return what a pass of the training runs under: on a GPU bf16, if it is asked for or the GPU has it.

    A CPU gets `rounded_products` instead.
    """
    if device != "cpu" and (precision == "bf16" or (precision == "auto" and _has_bf16(device))):
        return torch.autocast(device, torch.bfloat16)
    return nullcontext()


@contextmanager
def rounded_products(device: str, precision: Precision) -> Iterator[None]:
    """Let a CPU that multiplies bf16 matrices round the factors of its fp32 matrix products to bf16.

    Sums, weights and states stay fp32. It is a switch of the process, put back at the end; on any other
    CPU nothing changes.
    """
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    if device == "cpu" and precision == "bf16" and multiplies_bf16():
        settings.fp32_precision = "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = before


@contextmanager
def exact_products(device: str) -> Iterator[None]:
    """Compute in float32 whatever is switched on: autocast, rounded products, TensorFloat-32."""
    switches = (torch.backends.mkldnn.matmul, torch.backends.cuda.matmul)  # type: ignore[attr-defined]
    before = [each.fp32_precision for each in switches]
    for each in switches:
        each.fp32_precision = "ieee"
    try:
        with torch.autocast(device, enabled=False):
            yield
    finally:
        for each, precision in zip(switches, before, strict=True):
            each.fp32_precision = precision


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


def _has_bf16(device: str) -> bool:
    # Older cards hold bf16 without computing in it.
    return device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
