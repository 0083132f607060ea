"""Training speed against transformers.Trainer: same model, rows, batch size and updates, alternating.

    python bench/training.py --data DATA [--repeats 3] [--sizes minilm,base] [--tasks sst,quora,long]

SST, Quora pairs, and CFIMDB's reviews cut to 200 words ("long"), for MiniLM and for random weights of
BERT-base's shape with MiniLM's vocabulary. Prints real tokens per second, their ratio repeat by repeat,
and the useful share of the matmul peak. On Quora with MiniLM, sentence-transformers' CrossEncoderTrainer
is included. Dropout 0.1, clipping at 1, AdamW.
"""

from __future__ import annotations

import argparse
import csv
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from machine import heading, instructions, matmul_peak, spread, table, useful_flops

import polytask as pk
from polytask.learn.trainer import Score, Trainer
from polytask.model.memory import keep_freed_memory
from polytask.training.build import build

BATCH = 16
WORDS, LONGEST = 200, 384
# Updates that warm up and that count: those of the large encoder take ten times as long.
UPDATES = {("minilm", "short"): (4, 10), ("minilm", "long"): (1, 3),
           ("base", "short"): (2, 4), ("base", "long"): (1, 1)}


@dataclass(frozen=True)
class Subject:
    """A task's rows and the encoder that is trained on them."""

    size: str
    checkpoint: Path
    shape: tuple[int, int, int]  # layers, width, inner width
    task: str
    train: Path
    text: tuple[str, ...]
    label: str
    classes: int
    warm: int  # updates that are not timed: until then every activation is freshly allocated
    steps: int
    batch: int = BATCH

    @property
    def rows(self) -> int:
        return self.batch * (self.warm + self.steps)


def subjects(data: Path, folder: Path, sizes: Sequence[str], tasks: Sequence[str]) -> Iterator[Subject]:
    """Yield what is measured; files that are made for it go into `folder`."""
    from polytask.model.pretrained import checkpoint_folder

    files = {"sst": (data / "ids-sst-train.csv", ("sentence",), "sentiment", 5),
             "quora": (data / "quora-train.csv", ("sentence1", "sentence2"), "is_duplicate", 2),
             "long": (long_texts(data, folder), ("sentence",), "sentiment", 2)}
    shapes = {"minilm": (6, 384, 1536), "base": (12, 768, 3072)}
    for size in sizes:
        minilm = checkpoint_folder("minilm")
        checkpoint = minilm if size == "minilm" else random_base(minilm, folder / "base", shapes["base"])
        for task in tasks:
            yield Subject(size, checkpoint, shapes[size], task, *files[task],
                          *UPDATES[size, "long" if task == "long" else "short"])


def random_base(minilm: Path, folder: Path, shape: tuple[int, int, int]) -> Path:
    """Write random weights of a BERT of some shape, beside MiniLM's tokenizer."""
    from transformers import AutoTokenizer, BertConfig, BertModel

    layers, width, inner = shape
    torch.manual_seed(0)
    BertModel(BertConfig(num_hidden_layers=layers, hidden_size=width, intermediate_size=inner,
                         num_attention_heads=max(12, width // 64))).save_pretrained(folder)
    AutoTokenizer.from_pretrained(minilm).save_pretrained(folder)
    return folder


def long_texts(data: Path, folder: Path) -> Path:
    """Write the reviews of at least 200 words, cut to 200."""
    from polytask.data.cache import Cache
    from polytask.data.reading import Columns, read_file, select

    reviews = select(read_file(data / "ids-cfimdb-train.csv", Cache()),
                     Columns(("sentence",), "sentiment"))
    with (folder / "long.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("sentence", "sentiment"))
        for (text,), label in zip(reviews.texts(range(len(reviews))), reviews.labels, strict=True):
            if len(words := text.split()) >= WORDS:
                writer.writerow((" ".join(words[:WORDS]), label))
    return folder / "long.csv"


def our_run(subject: Subject, seed: int, compiled: bool = False) -> pk.Run:
    """Return the settings of our training on a subject."""
    classes, train = subject.classes, str(subject.train)
    return pk.Run(
        seed=seed, data=pk.Data(max_length=LONGEST), encoder=pk.Encoder(checkpoint=str(subject.checkpoint)),
        tasks={subject.task: pk.Task(train=train, dev=train, text=subject.text, label=subject.label,
                             limit=subject.rows, dev_limit=16,
                             loss=("cross_entropy",), kind="classes" if classes > 2 else None)},
        train=pk.Train(epochs=1, batch_size=subject.batch, compile=compiled, optimizer=pk.Optimizer(
            lr=5e-5, weight_decay=0.01, warmup=0.0, clip=1.0)),
    )


def ours(subject: Subject, seed: int, compiled: bool = False) -> tuple[float, list[int]]:
    """Return seconds and sequence lengths of one pass over the rows, excluding the warm-up steps."""
    run, rows = our_run(subject, seed, compiled), subject.rows
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
            if seen == subject.warm:
                lengths.clear()
                began = time.perf_counter()
            if seen == rows // subject.batch:
                break
    return time.perf_counter() - began, list(lengths)


def theirs(subject: Subject, seed: int, grouped: bool, **arguments: Any) -> tuple[float, int]:
    """Return seconds and real tokens of the same pass with transformers.Trainer."""
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        TrainerCallback,
        TrainingArguments,
    )
    from transformers import Trainer as Peer

    from polytask.data.cache import Cache
    from polytask.data.reading import Columns, read_file, select
    from polytask.data.splits import draw

    rows, folder = subject.rows, subject.checkpoint
    held = select(read_file(subject.train, Cache()), Columns(subject.text, subject.label))
    chosen = draw(len(held), rows, seed)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts, labels = held.texts(chosen), [int(float(held.labels[i])) for i in chosen]
    encoded = tokenizer(*[list(column) for column in zip(*texts, strict=True)], truncation=True,
                        max_length=LONGEST)
    items = [{key: encoded[key][i] for key in encoded} | {"labels": labels[i]} for i in range(rows)]
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=subject.classes)
    clock: dict[str, Any] = {}
    # Indexed by batch number: the loader collates one batch ahead of the update being timed.
    tokens: list[int] = []

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if state.global_step == subject.warm:
                clock["began"] = time.perf_counter()
            clock["ended"] = time.perf_counter()

    class Counting(DataCollatorWithPadding):
        def __call__(self, features: Any) -> Any:
            tokens.append(sum(len(each["input_ids"]) for each in features))
            return super().__call__(features)

    with tempfile.TemporaryDirectory() as out:
        sampling = {"train_sampling_strategy": "group_by_length"} if grouped else {}
        settings = TrainingArguments(
            out, per_device_train_batch_size=subject.batch, num_train_epochs=1, learning_rate=5e-5,
            weight_decay=0.01, report_to=[], save_strategy="no", logging_strategy="no", seed=seed,
            disable_tqdm=True, use_cpu=not torch.cuda.is_available(), **sampling, **arguments)
        with redirect_stdout(sys.stderr):  # it prints its own summary
            Peer(model, settings, data_collator=Counting(tokenizer), train_dataset=items,
                 callbacks=[Clock()]).train()
    return clock["ended"] - clock["began"], sum(tokens[subject.warm:])


def cross_encoder(subject: Subject, seed: int) -> tuple[float, int]:
    """Return seconds and real tokens of the same pass with sentence-transformers' trainer."""
    from datasets import Dataset
    from sentence_transformers import CrossEncoder
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
    from transformers import TrainerCallback

    from polytask.data.cache import Cache
    from polytask.data.reading import Columns, read_file, select
    from polytask.data.splits import draw

    held = select(read_file(subject.train, Cache()), Columns(subject.text, subject.label))
    chosen = draw(len(held), subject.rows, seed)
    texts = held.texts(chosen)
    model = CrossEncoder(str(subject.checkpoint), num_labels=1, device="cpu")
    encoded = model.tokenizer([a for a, _ in texts], [b for _, b in texts])["input_ids"]
    tokens = sum(len(ids) for ids in encoded)
    clock: dict[str, float] = {}

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if state.global_step == subject.warm:
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
    return clock["ended"] - clock["began"], round(tokens * subject.steps / (subject.steps + subject.warm))


def compared(subject: Subject, repeats: int) -> list[list[str]]:
    """Return one line per trainer, measured alternately."""
    peers: dict[str, Callable[[int], tuple[float, int]]] = {
        "transformers.Trainer": lambda seed: theirs(subject, seed, False)}
    if subject.task != "long":  # texts of one length have nothing to group
        peers["the same, grouped by length"] = lambda seed: theirs(subject, seed, True)
    if (subject.size, subject.task) == ("minilm", "quora") and find_spec("datasets"):
        peers["CrossEncoderTrainer"] = lambda seed: cross_encoder(subject, seed)
    rates: dict[str, list[float]] = {name: [] for name in ("polytask", *peers)}
    shares: list[float] = []
    for repeat in range(repeats):
        seconds, lengths = ours(subject, 1 + repeat)
        rates["polytask"].append(sum(lengths) / seconds)
        shares.append(100 * useful_flops(lengths, *subject.shape) / seconds / matmul_peak())
        for name, peer in peers.items():
            seconds, tokens = peer(1 + repeat)
            rates[name].append(tokens / seconds)
    return [[subject.size, subject.task, name, spread(values),
             spread([a / b for a, b in zip(rates["polytask"], values, strict=True)]),
             spread(shares) if name == "polytask" else ""] for name, values in rates.items()]


def fewer(repeats: int) -> int:
    """Return the repeats of the base size, whose updates take six times as long."""
    return max(2, repeats - 1)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--data", type=Path, required=True)
    words.add_argument("--repeats", type=int, default=3, help="of base size one less, at least 2")
    words.add_argument("--sizes", default="minilm,base")
    words.add_argument("--tasks", default="sst,quora,long")
    given = words.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    keep_freed_memory()
    print(heading("transformers", "accelerate", "sentence-transformers"))
    updates = ", ".join(f"{warm} + {steps} for {size} on {length} texts"
                        for (size, length), (warm, steps) in UPDATES.items())
    print(f"\n{instructions()}. Batch {BATCH}; updates that warm up and that count: {updates}; "
          f"{given.repeats} repeats in turn, of base size {fewer(given.repeats)}; a matrix product of "
          f"1536² reaches {matmul_peak() / 1e9:.0f} GFLOP/s.\n")
    with tempfile.TemporaryDirectory() as folder:
        lines = [line for subject in subjects(given.data, Path(folder), given.sizes.split(","),
                                              given.tasks.split(","))
                 for line in compared(subject, given.repeats if subject.size == "minilm"
                                      else fewer(given.repeats))]
    print(table(["size", "task", "trained by", "real tokens/s", "polytask is faster by",
                 "% of the matmul peak"], lines))


if __name__ == "__main__":
    main()
