"""Exported graphs against the torch path: size, speed at batch sizes 1, 8 and 32, labels kept, drift.

    python bench/export.py RUN [--rows 500]      # a run whose model was exported with --int8

The engines take turns on the same real rows, in one process and one thread; speeds are rows per CPU second.
Read the ratios: the machine may be busy.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from polytask.commands.export import check_rows
from polytask.core.paths import ModelPaths, RunPaths
from polytask.data.dataset import Split
from polytask.export.check import check_graph
from polytask.inference.forward import forward_rows
from polytask.inference.onnx_model import OnnxModel
from polytask.inference.predictor import load
from polytask.tasks.model_folder import load_model

BATCHES = (1, 8, 32)
REPEATS = 5


def rows_a_second(run: Callable[[np.ndarray], object], rows: np.ndarray, batch: int) -> float:
    """Return the rows per CPU second over rows split into batches."""
    began = time.process_time()
    for start in range(0, len(rows), batch):
        run(rows[start:start + batch])
    return len(rows) / (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rows", type=int, default=500)
    given = parser.parse_args()
    torch.set_num_threads(1)
    held, model = load_model(given.run), load(given.run)
    splits = check_rows(given.run, held, None, quiet=True)
    paths = ModelPaths(RunPaths(given.run).model)
    engines = {name: OnnxModel(paths.graph(name == "int8"), held.tokenizer, threads=1)
               for name in ("onnx", "int8") if paths.graph(name == "int8").is_file()}
    for name, engine in engines.items():
        path = paths.graph(name == "int8")
        size = path.stat().st_size / 1e6
        print(*check_graph(path.name, size, model, engine, splits, given.rows).lines(), sep="\n")
    print("\n| task | batch | " + " | ".join(["torch", *engines]) + " |", "|---" * (3 + len(engines)) + "|",
          sep="\n")
    for task, split in splits.items():
        for batch in BATCHES:
            print(f"| {task} | {batch} | " + " | ".join(_speeds(model, engines, task, split, batch)) + " |")


def _speeds(model: object, engines: dict[str, OnnxModel], task: str, split: Split, batch: int) -> list[str]:
    rows = np.arange(min(len(split), 64 if batch == 1 else 256))
    spec = model.tasks[task]  # type: ignore[attr-defined]
    ways: dict[str, Callable[[np.ndarray], object]] = {
        "torch": lambda part: forward_rows(model.network, spec, split, part)}  # type: ignore[attr-defined]
    for name, engine in engines.items():
        exported = engine.task(task)
        ways[name] = lambda part, engine=engine, exported=exported: engine.run(
            exported.layout, [exported.activated], split, part)
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, way in ways.items():
            found[name].append(rows_a_second(way, rows, batch))
    first = found["torch"]
    return [f"{np.median(values):.0f} ({np.median(np.array(values) / np.array(first)):.2f}×)"
            for values in found.values()]


if __name__ == "__main__":
    main()
