"""Training speed against transformers.Trainer: same model, rows, batch size and updates, alternating.

    python bench/training.py --data DATA [--steps 10] [--repeats 3]

Prints real tokens per second, their ratio repeat by repeat, and the useful share of the matmul peak. On
Quora, sentence-transformers' CrossEncoderTrainer is included. Dropout 0.1, clipping at 1, AdamW.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from machine import heading, matmul_peak, spread, table, useful_flops

import polytask as pk
from polytask.learn.trainer import Score, Trainer
from polytask.model.memory import keep_freed_memory
from polytask.training.build import build

FILES = {"sst": ("ids-sst-train.csv", "ids-sst-dev.csv", ("sentence",), "sentiment", 5),
         "quora": ("quora-train.csv", "quora-dev.csv", ("sentence1", "sentence2"), "is_duplicate", 2)}
BATCH = 16
# Warm-up updates that are not timed: until then every activation is freshly allocated.
WARM = 4


def ours(data: Path, task: str, rows: int, seed: int) -> tuple[float, list[int]]:
    """Return seconds and sequence lengths of one pass over `rows` rows, excluding the warm-up steps."""
    train, dev, text, label, classes = FILES[task]
    run = pk.Run(
        seed=seed, data=pk.Data(root=str(data)), encoder=pk.Encoder(checkpoint="minilm"),
        tasks={task: pk.Task(train=train, dev=dev, text=text, label=label, limit=rows, dev_limit=16,
                             loss=("cross_entropy",), kind="classes" if classes > 2 else None)},
        train=pk.Train(epochs=1, batch_size=BATCH, optimizer=pk.Optimizer(
            lr=5e-5, weight_decay=0.01, warmup=0.0, clip=1.0)),
    )
    built = build(run, quiet=True)
    trainer = Trainer(built.model, built.training_set, run.train, seed, lambda: Score(0.0, {}),
                      lambda where: None)
    lengths: list[int] = []
    batch_of = built.training_set.batch

    def count_by_task(draws: Any) -> Any:
        batch, targets = batch_of(draws)
        lengths.extend(batch.lengths)
        return batch, targets

    built.training_set.batch = count_by_task  # type: ignore[method-assign]
    began, seen = 0.0, 0
    for event in trainer.run():
        if event["event"] == "step":
            seen += 1
            if seen == WARM:
                lengths.clear()
                began = time.perf_counter()
            if seen == rows // BATCH:
                break
    return time.perf_counter() - began, list(lengths)


def theirs(data: Path, task: str, rows: int, seed: int, grouped: bool) -> tuple[float, int]:
    """Return seconds and real tokens of the same pass with transformers.Trainer."""
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        TrainerCallback,
        TrainingArguments,
    )
    from transformers import Trainer as Peer

    from polytask.data.reading import Columns, read_rows
    from polytask.data.splits import draw
    from polytask.model.pretrained import checkpoint_folder

    train, _, text, label, classes = FILES[task]
    held = read_rows(data / train, Columns(text, label))
    chosen = draw(len(held), rows, seed)
    folder = checkpoint_folder("minilm")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts, labels = held.texts(chosen), [int(float(held.labels[i])) for i in chosen]
    encoded = tokenizer(*[list(column) for column in zip(*texts, strict=True)], truncation=True,
                        max_length=128)
    items = [{key: encoded[key][i] for key in encoded} | {"labels": labels[i]} for i in range(rows)]
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=classes)
    clock: dict[str, Any] = {}
    # Indexed by batch number: the loader collates one batch ahead of the update being timed.
    tokens: list[int] = []

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if state.global_step == WARM:
                clock["began"] = time.perf_counter()
            clock["ended"] = time.perf_counter()

    class Counting(DataCollatorWithPadding):
        def __call__(self, features: Any) -> Any:
            tokens.append(sum(len(each["input_ids"]) for each in features))
            return super().__call__(features)

    with tempfile.TemporaryDirectory() as out:
        sampling = {"train_sampling_strategy": "group_by_length"} if grouped else {}
        settings = TrainingArguments(
            out, per_device_train_batch_size=BATCH, num_train_epochs=1, learning_rate=5e-5,
            weight_decay=0.01, report_to=[], save_strategy="no", logging_strategy="no", seed=seed,
            disable_tqdm=True, use_cpu=not torch.cuda.is_available(), **sampling)
        with redirect_stdout(sys.stderr):  # it prints its own summary
            Peer(model, settings, data_collator=Counting(tokenizer), train_dataset=items,
                 callbacks=[Clock()]).train()
    return clock["ended"] - clock["began"], sum(tokens[WARM:])


def cross_encoder(data: Path, rows: int, seed: int) -> tuple[float, int]:
    """Return seconds and real tokens of the same pass with sentence-transformers' trainer."""
    from datasets import Dataset
    from sentence_transformers import CrossEncoder
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
    from transformers import TrainerCallback

    from polytask.data.reading import Columns, read_rows
    from polytask.data.splits import draw
    from polytask.model.pretrained import checkpoint_folder

    held = read_rows(data / "quora-train.csv", Columns(("sentence1", "sentence2"), "is_duplicate"))
    chosen = draw(len(held), rows, seed)
    texts = held.texts(chosen)
    model = CrossEncoder(str(checkpoint_folder("minilm")), num_labels=1, device="cpu")
    encoded = model.tokenizer([a for a, _ in texts], [b for _, b in texts])["input_ids"]
    tokens = sum(len(ids) for ids in encoded)
    clock: dict[str, float] = {}

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if state.global_step == WARM:
                clock["began"] = time.perf_counter()
            clock["ended"] = time.perf_counter()

    given = Dataset.from_dict({"sentence1": [a for a, _ in texts], "sentence2": [b for _, b in texts],
                               "label": [float(held.labels[i]) for i in chosen]})
    with tempfile.TemporaryDirectory() as out:
        settings = CrossEncoderTrainingArguments(
            out, per_device_train_batch_size=BATCH, num_train_epochs=1, learning_rate=5e-5,
            weight_decay=0.01, report_to=[], save_strategy="no", logging_strategy="no", seed=seed,
            disable_tqdm=True, use_cpu=True)
        with redirect_stdout(sys.stderr):
            CrossEncoderTrainer(model, settings, train_dataset=given, loss=BinaryCrossEntropyLoss(model),
                                callbacks=[Clock()]).train()
    steps = rows // BATCH
    return clock["ended"] - clock["began"], round(tokens * (steps - WARM) / steps)


def compared(data: Path, task: str, steps: int, repeats: int) -> list[list[str]]:
    """Return one line per trainer, measured alternately."""
    rows = BATCH * (steps + WARM)
    peers: dict[str, Callable[[int], tuple[float, int]]] = {
        "transformers.Trainer": lambda seed: theirs(data, task, rows, seed, False),
        "the same, grouped by length": lambda seed: theirs(data, task, rows, seed, True)}
    if task == "quora":
        peers["CrossEncoderTrainer"] = lambda seed: cross_encoder(data, rows, seed)
    rates: dict[str, list[float]] = {name: [] for name in ("polytask", *peers)}
    shares: list[float] = []
    for repeat in range(repeats):
        seconds, lengths = ours(data, task, rows, 1 + repeat)
        rates["polytask"].append(sum(lengths) / seconds)
        shares.append(100 * useful_flops(lengths, 6, 384, 1536) / seconds / matmul_peak())
        for name, peer in peers.items():
            seconds, tokens = peer(1 + repeat)
            rates[name].append(tokens / seconds)
    return [[task, name, spread(values),
             spread([a / b for a, b in zip(rates["polytask"], values, strict=True)]),
             spread(shares) if name == "polytask" else ""] for name, values in rates.items()]


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--data", type=Path, required=True)
    words.add_argument("--steps", type=int, default=10)
    words.add_argument("--repeats", type=int, default=3)
    given = words.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    keep_freed_memory()
    print(heading("transformers", "accelerate", "sentence-transformers"))
    print(f"\nMiniLM, batch {BATCH}, {given.steps} updates, {given.repeats} repeats in turn; a matrix "
          f"product of 1536² reaches {matmul_peak() / 1e9:.0f} GFLOP/s.\n")
    lines = [line for task in FILES for line in compared(given.data, task, given.steps, given.repeats)]
    print(table(["task", "trained by", "real tokens/s", "polytask is faster by", "% of the matmul peak"],
                lines))


if __name__ == "__main__":
    main()
