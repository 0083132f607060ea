"""What the figures were measured on: processor, threads, versions, and peak matrix-product speed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from polytask.training import machine


def processor() -> str:
    """Return the processor's name, its instructions and the number of threads."""
    threads = torch.get_num_threads()
    return f"{machine.processor()}, {threads} thread{'s' * (threads != 1)}"


def instructions() -> str:
    """Return which of the vector instructions that int8 depends on the processor has."""
    info = Path("/proc/cpuinfo")
    said = info.read_text() if info.exists() else ""
    flags = set(said.partition("flags")[2].partition("\n")[0].split())
    names = {"AVX2": "avx2", "AVX-512": "avx512f", "VNNI": "avx512_vnni", "AVX-VNNI": "avx_vnni"}
    found = [name for name, flag in names.items() if flag in flags]
    missing = [name for name in names if name not in found]
    return f"instructions: {', '.join(found) or 'unknown'} (not {', '.join(missing)})"


def versions(*packages: str) -> str:
    """Return the versions of packages, omitting those not installed."""
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def heading(*packages: str) -> str:
    """Return the lines that describe what a table was measured on."""
    return f"{processor()}; {versions('torch', *packages)}; {time.strftime('%Y-%m-%d')}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def matmul_peak(size: int = 1536, seconds: float = 1.0) -> float:
    """Return the peak fp32 operations per second of a square matrix product."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    out = torch.empty(size, size)
    torch.mm(a, b, out=out)
    best, until = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        torch.mm(a, b, out=out)
        best = max(best, 2 * size**3 / (time.perf_counter() - began))
    return best


def spread(values: list[float]) -> str:
    """Return "median (minimum to maximum)"."""
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def useful_flops(lengths: Sequence[float], layers: int, width: int, inner: int) -> float:
    """Return the operations of forward and backward passes over sequences, matrix products only.

    Six per linear-layer weight and token (two forward, four backward), plus the two
    attention products; padding does not count.
    """
    tokens = sum(lengths)
    weights = layers * (4 * width * width + 2 * width * inner)
    attention = layers * 4 * width * sum(n * n for n in lengths)
    return 6.0 * tokens * weights + 3.0 * attention
