"""What an update on three tasks costs with surgery, with SMART and with a frozen encoder.

    python bench/steps.py [--data DATA] [--steps 12]

All variants use the same rows of SST, Quora and STS (16 per task) and take turns, update by update, in one
process; each figure is a median, each ratio the median of the per-update ratios. For comparison: torchjd's
`mtl_backward` with its PCGrad, and PCGrad as it is usually written, over flat copies of the gradients; both
train the same model on the same batches.
"""

from __future__ import annotations

import argparse
import logging
import random
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from machine import heading, spread, table

import polytask as pk
from polytask.inference.forward import encode_once
from polytask.learn.microbatch import TaskRows, count_by_task
from polytask.learn.step import StepRecord
from polytask.learn.trainer import Score, Trainer
from polytask.model.memory import keep_freed_memory
from polytask.training.build import Built, build

BATCH = 16
# Warm-up updates that are not timed: until then every activation is freshly allocated.
WARM = 4
FILES = {"sst": ("ids-sst-{}.csv", ("sentence",), "sentiment"),
         "quora": ("quora-{}.csv", ("sentence1", "sentence2"), "is_duplicate"),
         "sts": ("sts-{}.csv", ("sentence1", "sentence2"), "similarity")}
SAMPLE = {task: f"{task}-{{}}.csv" for task in FILES}


def three(data: Path | None, rows: int, encoder: dict[str, Any], train: dict[str, Any]) -> pk.Run:
    """Return a run with `rows` rows of each of the three tasks."""
    root = data or Path(pk.__file__).parent / "sample" / "data"
    tasks = {}
    for task, (file, text, label) in FILES.items():
        name = file if data else SAMPLE[task]
        tasks[task] = pk.Task(train=name.format("train"), dev=name.format("dev"), text=text, label=label,
                              limit=rows, dev_limit=8, range=(0, 5) if task == "sts" else None)
    return pk.Run(data=pk.Data(root=str(root)), encoder=pk.Encoder(checkpoint="minilm", **encoder),
                  tasks=tasks, train=pk.Train(epochs=1, batch_size=BATCH, **train))


class Updates:
    """The updates of one variant, one at a time."""

    def __init__(self, run: pk.Run, compute: Callable[[Built], Any] | None = None,
                 frozen: bool = False) -> None:
        self.built = build(run, quiet=True)
        began = time.perf_counter()
        pooled = {name: encode_once(self.built.model, task, self.built.data[name].train)
                  for name, task in self.built.tasks.items()} if frozen else None
        self.encoding = time.perf_counter() - began
        trainer = Trainer(self.built.model, self.built.training_set, run.train, run.seed,
                          lambda: Score(0.0, {}), lambda where: None, pooled)
        if compute:
            trainer.compute = compute(self.built)
        self.events: Iterator[dict[str, Any]] = trainer.run()

    def seconds(self) -> float:
        """Run an update and return its seconds."""
        return float(next(event for event in self.events if event["event"] == "step")["seconds"])


class Flat:
    """PCGrad as it is usually written: one flat gradient copy per task, projected pair by pair."""

    def __init__(self, built: Built) -> None:
        self.model, self.training_set = built.model, built.training_set
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.random = random.Random(1)

    def __call__(self, draws: list[TaskRows], number: int, want_cosines: bool = False) -> StepRecord:
        record = StepRecord(rows=count_by_task(draws))
        flat = []
        for draw in draws:
            loss = self._loss(draw)
            self.model.zero_grad()
            loss.backward()
            record.raw[draw.task] = loss.detach()
            flat.append(torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten()
                                   for p in self.parameters]))
        moved = [each.clone() for each in flat]
        for i, mine in enumerate(moved):
            others = [other for j, other in enumerate(flat) if j != i]
            self.random.shuffle(others)
            for other in others:
                if (dot := torch.dot(mine, other)) < 0:
                    mine -= dot / other.square().sum() * other
        total = torch.stack(moved).sum(0)
        pieces = total.split([p.numel() for p in self.parameters])
        for p, piece in zip(self.parameters, pieces, strict=True):
            p.grad = piece.view_as(p)
        record.losses = {task: float(loss) for task, loss in record.raw.items()}
        return record

    def _loss(self, draw: Any) -> torch.Tensor:
        batch, (target,) = self.training_set.batch([(draw.task, draw.rows)])
        (output,) = self.model(batch)
        return self.training_set.loss(draw.task, output, target)


class TorchJD(Flat):
    """torchjd: the Jacobian of the shared parameters, one row per task, aggregated by its PCGrad."""

    def __call__(self, draws: list[TaskRows], number: int, want_cosines: bool = False) -> StepRecord:
        from torchjd.aggregation import PCGrad
        from torchjd.autojac import jac_to_grad, mtl_backward

        record = StepRecord(rows=count_by_task(draws))
        batch, targets = self.training_set.batch([(draw.task, draw.rows) for draw in draws])
        features = self.model.encoder(batch)
        outputs = self.model.heads(features, batch)
        losses = [self.training_set.loss(draw.task, output, target)
                  for draw, output, target in zip(draws, outputs, targets, strict=True)]
        mtl_backward(losses, features=features, parallel_chunk_size=1)
        shared = [p for p in self.model.encoder.parameters() if getattr(p, "jac", None) is not None]
        jac_to_grad(shared, PCGrad(), optimize_gramian_computation=True)
        record.losses = {draw.task: float(loss) for draw, loss in zip(draws, losses, strict=True)}
        return record


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--data", type=Path)
    words.add_argument("--steps", type=int, default=12)
    given = words.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    keep_freed_memory()
    rows = BATCH * (given.steps + WARM + 1)

    def ways(encoder: dict[str, Any] | None = None, **train: Any) -> pk.Run:
        return three(given.data, rows, encoder or {}, train)

    made = {
        "plain joint step": Updates(ways()),
        "pcgrad": Updates(ways(surgery="pcgrad")),
        "automatic + pcgrad": Updates(ways(surgery="pcgrad", weighting="automatic")),
        "SMART on SST, one ascent step": Updates(ways(regularizers=({"type": "smart", "tasks": ["sst"]},))),
        "SMART on all three": Updates(ways(regularizers=("smart",))),
        "frozen encoder, after the first epoch": Updates(ways({"trainable": "frozen"}), frozen=True),
        "torchjd: mtl_backward, PCGrad": Updates(ways(), TorchJD),
        "PCGrad over flat copies": Updates(ways(), Flat),
    }
    times: dict[str, list[float]] = {name: [] for name in made}
    for number in range(given.steps + WARM):
        for name, updates in made.items():
            seconds = updates.seconds()
            if number >= WARM:
                times[name].append(seconds)
    plain = times["plain joint step"]
    print(heading("transformers", "torchjd"))
    print(f"\nMiniLM, SST + Quora + STS, {BATCH} rows a task, {given.steps} updates each, in turn.\n")
    print(table(["update", "ms", "over the plain joint step"],
                [[name, spread([1e3 * each for each in found]),
                  spread([a / b for a, b in zip(found, plain, strict=True)])]
                 for name, found in times.items()]))
    frozen = made["frozen encoder, after the first epoch"]
    print(f"\nThe frozen encoder read its {3 * rows} rows once, in {frozen.encoding:.1f} s; "
          f"the {given.steps} updates after that took "
          f"{sum(times['frozen encoder, after the first epoch']):.2f} s.")
    assert statistics.median(plain) > 0


if __name__ == "__main__":
    main()
