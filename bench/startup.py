"""How long start-up takes, and how much memory training uses.

    python bench/startup.py [--data DATA] [--rows 1000000]

`polytask --help` and a training run on the three tasks, each in its own process. The first start of
training reads and tokenizes the files; the second finds the tokens in the cache. Then the same of one
file of --rows rows of twenty words, with the peak memory until the first update is done.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import heading, spread, table

ROOT = Path(__file__).parent.parent
START = """
import json, sys, time
import torch
imported = time.perf_counter()
from polytask.training.build import build
from polytask.learn.trainer import Score, Trainer
from polytask.model.memory import keep_freed_memory
from polytask.config import Run
from polytask.training.session import peak_memory
import polytask as pk
data, rows = sys.argv[1:]
text = dict(sst=("sentence",), quora=("sentence1", "sentence2"), sts=("sentence1", "sentence2"))
label = dict(sst="sentiment", quora="is_duplicate", sts="similarity")
files = dict(sst="ids-sst-{}.csv" if rows else "sst-{}.csv", quora="quora-{}.csv", sts="sts-{}.csv")
tasks = {task: pk.Task(train=files[task].format("train"), dev=files[task].format("dev"), text=text[task],
                       label=label[task], range=(0, 5) if task == "sts" else None) for task in files}
run = Run(data=pk.Data(root=data), encoder=pk.Encoder(checkpoint="minilm"), tasks=tasks,
          train=pk.Train(epochs=1, batch_size=16, max_steps=30))
keep_freed_memory()
built = build(run, quiet=True)
trainer = Trainer(built.model, built.training_set, run.train, 1, lambda: Score(0.0, {}), lambda where: None)
events = trainer.run()
next(events)
first = time.perf_counter() - imported
for event in events:
    pass
held = 4 * 4 * sum(p.numel() for p in built.model.parameters()) / 2**20
print(json.dumps([first, sum(built.training_set.rows.values()), held, peak_memory()]))
"""


LARGE = """
import json, sys, time
import torch
imported = time.perf_counter()
from polytask.training.build import build
from polytask.learn.trainer import Score, Trainer
from polytask.config import Run
from polytask.training.session import peak_memory
import polytask as pk
file = sys.argv[1]
run = Run(encoder=pk.Encoder(checkpoint="minilm"), train=pk.Train(epochs=1, batch_size=16),
          tasks={"large": pk.Task(train=file, text="text", label="label", dev_limit=200)})
built = build(run, quiet=True)
trainer = Trainer(built.model, built.training_set, run.train, 1, lambda: Score(0.0, {}), lambda where: None)
next(trainer.run())
print(json.dumps([time.perf_counter() - imported, peak_memory()]))
"""


def large_file(path: Path, rows: int) -> None:
    """Write rows of twenty words that are drawn from the sample's questions."""
    from polytask.data.cache import Cache
    from polytask.data.reading import Columns, read_file, select

    sample = ROOT / "src" / "polytask" / "sample" / "data" / "quora-train.csv"
    held = select(read_file(sample, Cache()), Columns(("sentence1", "sentence2"), "is_duplicate"))
    texts = (text for pair in held.texts(range(len(held))) for text in pair)
    words = sorted({word for text in texts for word in text.split()})
    drawn = random.Random(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows((" ".join(drawn.choices(words, k=20)), drawn.choice("ab")) for _ in range(rows))


def large_starts(rows: int) -> str:
    """Return the line of seconds and memory of both starts on a large file."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "large.csv"
        large_file(file, rows)
        found = [json.loads(subprocess.run(
            [sys.executable, "-c", LARGE, str(file)], check=True, capture_output=True, text=True,
            env=os.environ | {"POLYTASK_CACHE": str(Path(place) / "cache")}).stdout.splitlines()[-1])
            for _ in range(2)]
    (first, peak), (second, peak_again) = found
    return (f"{rows:,} rows of twenty words in one file, MiniLM: {first:.1f} s to the first update and "
            f"{peak:.0f} MB at most the first time, {second:.1f} s and {peak_again:.0f} MB the second.")


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def started(data: str, real: bool, cache: Path) -> tuple[float, int, float, float]:
    """Return seconds from the torch import to the first update, rows, and MB needed and used."""
    said = subprocess.run([sys.executable, "-c", START, data, "rows" if real else ""], check=True,
                          capture_output=True, text=True, env=os.environ | {"POLYTASK_CACHE": str(cache)})
    first, rows, held, peak = json.loads(said.stdout.splitlines()[-1])
    return first, rows, held, peak


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--data", type=Path)
    words.add_argument("--rows", type=int, default=1_000_000)
    given = words.parse_args()
    data = "sample" if given.data is None else str(given.data.resolve())
    helped = [seconds([sys.executable, "-m", "polytask", "--help"]) for _ in range(5)]
    with tempfile.TemporaryDirectory() as cache:
        first, rows, held, peak = started(data, given.data is not None, Path(cache))
        again = [started(data, given.data is not None, Path(cache))[0] for _ in range(3)]
    print(heading())
    print(f"\n{rows:,} training rows and their dev sets, MiniLM; seconds from torch imported to the first "
          "update done.\n")
    print(table(["start", "s"], [["`polytask --help`, all of it", spread(helped)],
                                 ["first start: reads, checks and tokenizes", f"{first:.1f}"],
                                 ["second start", spread(again)]]))
    print(f"\nPeak memory of thirty updates of all tasks: {peak:.0f} MB; weights, gradients and moments "
          f"are {held:.0f} MB of it.")
    print("\n" + large_starts(given.rows))


if __name__ == "__main__":
    main()
