"""Training speed on a GPU against transformers.Trainer: tokens a second and the share of the card's peak.

    python bench/gpu.py --data DATA [--sizes minilm,base,large] [--batches 16,128] [--repeats 3] [--profile]

Quora pairs through random weights of MiniLM's, BERT-base's and BERT-large's shape, dropout 0.1, AdamW,
clipping at 1, the trainers in turn. The peak is that of a bf16 product of 8192². Only real tokens count.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from machine import spread, table, useful_flops, versions

from polytask.learn.trainer import Score, Trainer
from polytask.training.build import build
from training import Subject, our_run, ours, random_base, theirs

SHAPES = {"minilm": (6, 384, 1536), "base": (12, 768, 3072), "large": (24, 1024, 4096)}
# Updates that warm up and that count.
UPDATES = {16: (10, 40), 128: (6, 20)}


def bf16_peak(size: int = 8192, products: int = 20) -> float:
    """Return the operations a second of a square bf16 matrix product."""
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(5):
        a @ b
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(products):
        a @ b
    torch.cuda.synchronize()
    return 2 * size**3 * products / (time.perf_counter() - began)


def measured(subject: Subject, repeats: int, peak: float, compiled: bool) -> list[list[str]]:
    """Return one line per trainer, measured alternately."""
    trainers: dict[str, Callable[[int], tuple[float, Sequence[float]]]] = {
        "polytask": lambda seed: ours(subject, seed)}
    if compiled:
        trainers["polytask, train.compile"] = lambda seed: ours(subject, seed, compiled=True)

    def peer(**arguments: bool) -> Callable[[int], tuple[float, Sequence[float]]]:
        def timed(seed: int) -> tuple[float, Sequence[float]]:
            seconds, tokens = theirs(subject, seed, False, **arguments)
            rows = subject.batch * subject.steps
            return seconds, [tokens / rows] * rows  # it tells no lengths: their mean

        return timed

    trainers |= {"transformers.Trainer, bf16": peer(bf16=True), "transformers.Trainer as it comes": peer()}
    rates: dict[str, list[float]] = {name: [] for name in trainers}
    shares: dict[str, list[float]] = {name: [] for name in trainers}
    for repeat in range(repeats):
        for name, trainer in trainers.items():
            seconds, lengths = trainer(1 + repeat)
            rates[name].append(sum(lengths) / seconds)
            shares[name].append(100 * useful_flops(lengths, *SHAPES[subject.size]) / seconds / peak)
            print(subject.size, subject.batch, name, f"{rates[name][-1]:,.0f}", file=sys.stderr, flush=True)
    return [[subject.size, str(subject.batch), name, spread(values),
             spread([a / b for a, b in zip(rates["polytask"], values, strict=True)]),
             spread(shares[name])] for name, values in rates.items()]


def profiled(subject: Subject, updates: int = 5) -> str:
    """Return where the time of our updates goes: of the whole, of the card, and by operation."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    times: list[float] = []

    def update() -> None:
        began = time.perf_counter()
        next(steps)
        torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - began))

    steps = updates_of(subject)
    for _ in range(subject.warm + updates):
        update()
    whole = statistics.median(times[subject.warm:])
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        for _ in range(updates):
            update()
    averages = profiler.key_averages()
    kernels = [each for each in averages
               if each.device_type != DeviceType.CPU and not each.is_user_annotation]
    card = sum(each.self_device_time_total for each in kernels) / updates / 1000
    launches = sum(each.count for each in averages if "LaunchKernel" in each.key) / updates
    head = (f"{subject.size}, batch {subject.batch}: {whole:.1f} ms an update; the card computes "
            f"{card:.1f} ms of them, in {launches:.0f} kernels")
    return f"{head}\n{averages.table(sort_by='self_cuda_time_total', row_limit=15)}"


def updates_of(subject: Subject) -> Iterator[Any]:
    """Yield after each of our updates on a subject."""
    built = build(our_run(subject, 1), quiet=True)
    trainer = Trainer(built.model, built.training_set, built.run.train, 1, lambda: Score(0.0, {}),
                      lambda where: None)
    return (event for event in trainer.run() if event["event"] == "step")


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--data", type=Path, required=True)
    words.add_argument("--sizes", default="minilm,base,large")
    words.add_argument("--batches", default="16,128")
    words.add_argument("--repeats", type=int, default=3)
    words.add_argument("--profile", action="store_true", help="only where the time of our updates goes")
    words.add_argument("--compiled", action="store_true", help="train.compile as well")
    words.add_argument("--tokenizer", type=Path, help="a folder with MiniLM's (default: the extra's)")
    given = words.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("bench/gpu.py: torch sees no CUDA device")
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    from polytask.model.pretrained import checkpoint_folder

    tokenizer = given.tokenizer or checkpoint_folder("minilm")
    peak = bf16_peak()
    print(f"{torch.cuda.get_device_name()}; {versions('torch', 'transformers', 'accelerate')}; "
          f"{time.strftime('%Y-%m-%d')}\n")
    print(f"Quora pairs; {given.repeats} repeats in turn; updates that warm up and that count: {UPDATES}; "
          f"a bf16 product of 8192² reaches {peak / 1e12:.0f} TFLOP/s.\n")
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for size in given.sizes.split(","):
            checkpoint = random_base(tokenizer, Path(folder) / size, SHAPES[size])
            for batch in map(int, given.batches.split(",")):
                subject = Subject(size, checkpoint, SHAPES[size], "quora", given.data / "quora-train.csv",
                                  ("sentence1", "sentence2"), "is_duplicate", 2, *UPDATES[batch], batch)
                if given.profile:
                    print(profiled(subject))
                    continue
                lines += measured(subject, given.repeats, peak, given.compiled)
    if lines:
        print(table(["size", "batch", "trained by", "real tokens/s", "polytask is faster by",
                     "% of the bf16 peak"], lines))


if __name__ == "__main__":
    main()
