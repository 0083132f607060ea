"""What an update on three tasks costs on several processes of this machine, and what it sends.

    python bench/scale.py [--data DATA] [--processes 1,2] [--steps 8] [--write]

Each number of processes is a torchrun of its own; all train the same batches. Times are medians over the
updates behind the first two. From these a second table simulates n machines: one process's update divided
by n, plus the bytes in a ring, where 2 (n - 1) / n of them go through each link. --write puts both into
docs/scale.md, which says what the simulation leaves out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from machine import heading, table
from page import placed
from steps import three
from torch import Tensor

from polytask.core.processes import Processes
from polytask.learn.torch_processes import joined
from polytask.learn.trainer import Score, Trainer
from polytask.model.memory import keep_freed_memory
from polytask.training.build import build

PAGE = Path(__file__).parent.parent / "docs" / "scale.md"
MACHINES = (2, 4, 8, 16)
NETWORKS = {"1 GB/s": 1e9, "0.1 GB/s": 1e8}
VARIANTS: dict[str, dict[str, Any]] = {"sum": {}, "pcgrad": {"surgery": "pcgrad"}}


def counted(processes: Processes, sizes: list[int]) -> Processes:
    """Let a process note the bytes of what it sums."""
    summed = processes.sum_

    def sum_(tensors: Sequence[Tensor]) -> None:
        sizes.append(sum(tensor.numel() * tensor.element_size() for tensor in tensors))
        summed(tensors)

    processes.sum_ = sum_  # type: ignore[method-assign]
    return processes


def worker(data: Path | None, steps: int) -> None:
    """Time the updates of every variant; process 0 prints them as JSON."""
    keep_freed_memory()  # as every training does
    with joined() as processes:
        sizes: list[int] = []
        counted(processes, sizes)
        found = {}
        for name, train in VARIANTS.items():
            run = three(data, 16 * (steps + 2), {}, {**train, "max_steps": steps + 2})
            built = build(run, True, processes)
            trainer = Trainer(built.model, built.training_set, run.train, 0, lambda: Score(0.0, {}),
                              lambda where: None, processes=processes)
            sizes.clear()
            seconds = [event["seconds"] for event in trainer.run() if event["event"] == "step"]
            found[name] = {"seconds": statistics.median(seconds[2:]), "bytes": sum(sizes) / len(seconds)}
        if processes.writes:
            print(json.dumps(found))


def measured(count: int, data: Path | None, steps: int) -> dict[str, Any]:
    """Return what `count` processes print, each with its share of the cores."""
    launcher = [sys.executable] if count == 1 else [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    command = [*launcher, __file__, "--worker", "--steps", str(steps)]
    command += ["--data", str(data)] if data else []
    threads = str(max(1, (os.cpu_count() or 1) // count))
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True,
                          env=os.environ | {"OMP_NUM_THREADS": threads}).stdout
    return dict(json.loads(said.strip().splitlines()[-1]))


def simulated(seconds: float, size: float, count: int, network: float) -> float:
    """Return the update of `count` machines, from one's and the bytes that are summed."""
    return seconds / count + 2 * (count - 1) / count * size / network


def measured_table(results: Mapping[int, Mapping[str, Any]], size: Mapping[str, float]) -> str:
    rows = [[name, str(count), f"{found[name]['seconds']:.3f}", f"{size[name] / 1e6 * (count > 1):.1f}"]
            for name in VARIANTS for count, found in results.items()]
    return table(["tasks' gradients", "processes", "seconds an update", "MB summed an update"], rows)


def simulated_table(seconds: Mapping[str, float], size: Mapping[str, float]) -> str:
    """Return the speedups of several machines, and the limit of what any number of them reaches."""
    rows = []
    for name in VARIANTS:
        for network, rate in NETWORKS.items():
            times = [simulated(seconds[name], size[name], count, rate) for count in MACHINES]
            speedups = [seconds[name] / each for each in (*times, 2 * size[name] / rate)]
            rows.append([name, network, *(f"{each:.1f}×" for each in speedups)])
    machines = [f"{count} machines" for count in MACHINES]
    return table(["tasks' gradients", "network", *machines, "limit"], rows)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--data", type=Path)
    words.add_argument("--processes", default="1,2")
    words.add_argument("--steps", type=int, default=8)
    words.add_argument("--write", action="store_true")
    words.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = words.parse_args()
    if given.worker:
        worker(given.data, given.steps)
        return
    began = time.perf_counter()
    results = {int(count): measured(int(count), given.data, given.steps)
               for count in given.processes.split(",")}
    size = {name: max(found[name]["bytes"] for found in results.values()) for name in VARIANTS}
    text = f"{heading()}\n\n{measured_table(results, size)}"
    if 1 in results and len(results) > 1:
        seconds = {name: results[1][name]["seconds"] for name in VARIANTS}
        text += f"\n\nSimulated, one process to a machine:\n\n{simulated_table(seconds, size)}"
    print(text, f"[{time.perf_counter() - began:.0f} s]", sep="\n")
    if given.write:
        PAGE.write_text(placed(PAGE.read_text(encoding="utf-8"), "scale", text), encoding="utf-8")


if __name__ == "__main__":
    main()
