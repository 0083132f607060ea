"""How cost grows with batch size, text length, number of tasks and number of rows.

    python bench/growth.py [--steps 6] [--plot docs/growth.svg]

Texts are random words of MiniLM's vocabulary; the first updates of each run are timed.
"""

from __future__ import annotations

import argparse
import csv
import logging
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import heading, table

import polytask as pk
from polytask.learn.trainer import Score, Trainer
from polytask.model.memory import keep_freed_memory
from polytask.model.pretrained import checkpoint_folder
from polytask.training.build import build


def vocabulary() -> list[str]:
    """Return the whole words of MiniLM's vocabulary."""
    lines = (checkpoint_folder("minilm") / "vocab.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.isascii() and line.isalpha()]


def made_up(path: Path, rows: int, length: int) -> None:
    """Write texts of `length` words, each with a label."""
    words, chance = vocabulary(), np.random.default_rng(1)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for start in range(0, rows, 1000):
            places = chance.integers(0, len(words), (min(1000, rows - start), length))
            writer.writerows([" ".join(words[i] for i in row), ("no", "yes")[row[0] % 2]] for row in places)


def measured(folder: Path, rows: int = 600, length: int = 20, batch: int = 16, tasks: int = 1,
             steps: int = 6) -> tuple[float, float, float]:
    """Return tokens per second, milliseconds per update, and seconds to the end of the first update."""
    path = folder / f"{rows}-{length}.csv"
    if not path.exists():
        made_up(path, rows, length)
    each = pk.Task(train=path.name, dev="8-4.csv", text=("text",), label="label")
    run = pk.Run(data=pk.Data(root=str(folder), max_length=512), encoder=pk.Encoder(checkpoint="minilm"),
                 tasks={f"task{n}": each for n in range(tasks)},
                 train=pk.Train(epochs=1, batch_size=batch, max_steps=steps + 2))
    began = time.perf_counter()
    built = build(run, quiet=True)
    trainer = Trainer(built.model, built.training_set, run.train, 1, lambda: Score(0.0, {}),
                      lambda where: None)
    found: list[tuple[float, int]] = []
    first = 0.0
    for event in trainer.run():
        if event["event"] == "step":
            first = first or time.perf_counter() - began
            found.append((event["seconds"], event["tokens"]))
    rates = [tokens / seconds for seconds, tokens in found[2:]]
    return statistics.median(rates), 1e3 * statistics.median(s for s, _ in found[2:]), first


GROWTHS: dict[str, tuple[str, Sequence[int], dict[str, Any]]] = {
    "rows a batch": ("batch", (1, 2, 4, 8, 16, 32, 64, 128), {"rows": 2000}),
    "words a text": ("length", (5, 10, 20, 40, 80, 160, 320), {}),
    "tasks, a head each, 60 rows an update in all": ("tasks", (1, 3, 10, 30), {}),
    "rows of data": ("rows", (1_000, 10_000, 100_000, 1_000_000), {}),
}


def drawn(curves: dict[str, list[tuple[int, float]]], path: Path) -> None:
    """Plot tokens per second against each quantity."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "growth"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(curves), figsize=(3.2 * len(curves), 2.8), sharey=True)
    for axis, (name, points) in zip(axes, curves.items(), strict=True):
        axis.plot(*zip(*points, strict=True), marker="o", color="#0072b2")
        axis.set_xscale("log")
        axis.set_ylim(bottom=0)
        axis.set_xlabel(name.split(",")[0])
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("tokens a second")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--steps", type=int, default=6)
    words.add_argument("--plot", type=Path)
    given = words.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    keep_freed_memory()
    print(heading())
    curves: dict[str, list[tuple[int, float]]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["POLYTASK_CACHE"] = str(folder / "cache")  # every start is a cold one
        made_up(folder / "8-4.csv", 8, 4)
        for name, (key, values, more) in GROWTHS.items():
            lines = []
            curves[name] = []
            for value in values:
                fixed = {**more, key: value}
                if key == "tasks":
                    fixed["batch"] = 60 // value
                if key == "batch":
                    fixed["rows"] = max(600, value * (given.steps + 2))
                rate, update, first = measured(folder, steps=given.steps, **fixed)
                curves[name].append((value, rate))
                lines.append([f"{value:,}", f"{rate:,.0f}", f"{update:.0f}", f"{first:.1f}"])
            print("\n" + table([name, "tokens/s", "ms an update", "s to the first update"], lines))
    if given.plot:
        drawn(curves, given.plot)


if __name__ == "__main__":
    main()
