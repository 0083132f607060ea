"""What a training was computed with, in words for its results."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import torch

from polytask.core.results_file import read_results
from polytask.core.run_folder import RunFolder

# Instructions that decide how fast a CPU trains, and their flags.
_INSTRUCTIONS = {"AVX2": "avx2", "AVX-512": "avx512f", "AMX": "amx_bf16"}


def machine(device: str = "cpu") -> str:
    """Return the GPU if that is the device, the processor with its instructions, the cores, and torch."""
    gpu = f"{torch.cuda.get_device_name()}, " if device == "cuda" else ""
    return f"{gpu}{processor()}, {os.cpu_count()} cores, torch {torch.__version__}"


def processor(info: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name and the best of its vector instructions, as far as they are told."""
    text = info.read_text(encoding="utf-8", errors="replace") if info.is_file() else ""
    fields = {key.strip(): value.strip() for key, _, value in
              (line.partition(":") for line in reversed(text.splitlines()))}
    name = fields.get("model name") or platform.processor() or platform.machine()
    flags = fields.get("flags", "").split()
    found = [word for word, flag in _INSTRUCTIONS.items() if flag in flags]
    found = [word for word in found if word != "AVX2" or "AVX-512" not in found]
    return f"{name} ({', '.join(found)})" if found else name


def where_and_when(folders: Iterable[Path]) -> dict[str, str]:
    """Return the machines that finished runs were trained on, and the day of the last."""
    runs = [read_results(RunFolder(folder).results) for folder in folders]
    if not runs:
        return {}
    return {"machine": together(each.get("machine", "not noted") for each in runs),
            "date": max(each["finished"] for each in runs)[:10]}


def together(machines: Iterable[str]) -> str:
    """Return the machines of several runs, each once, with its number of runs if they differ."""
    counts = Counter(machines)
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{name} ({number} {'run' if number == 1 else 'runs'})"
                     for name, number in counts.most_common())
