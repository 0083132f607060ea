"""What is mutated and killed: a tiny encoder, files of rows, and what polytask made of them.

Everything is small enough that a training takes a fraction of a second.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import tomli_w
import torch
from pyarrow import parquet

from polytask.commands.compare import compare
from polytask.commands.sweep import sweep
from polytask.commands.train import train
from polytask.config import Run
from polytask.engines import queue
from polytask.engines.contract import Engine, Execution
from polytask.engines.job import Job
from polytask.model.bert import Bert, BertConfig
from polytask.model.pretrained import save_encoder
from small_data import letters

STUDY = 'title = "Two rates"\nbase = "base.toml"\nseeds = 2\n[[rows]]\nname = "one"\n' \
        '[[rows]]\nname = "two"\nset = { "train.optimizer.lr" = 1e-2 }\n'
SWEEP = 'title = "Rates"\nbase = "base.toml"\nsampler = "grid"\nmetrics = ["overall"]\n[parameters]\n' \
        '"train.optimizer.lr" = [1e-5, 1e-2]\n'


class Inline(Engine):
    """Trains in this very process, so that no time goes into starting another."""

    workers = 1

    def start(self, job: Job) -> Ended:
        job.write_config()
        complaint = ""
        try:
            train(Run.from_toml(job.config), job.folder, resume=True, quiet=True)
        except Exception as error:
            complaint = str(error)
        return Ended(job, complaint)


class Ended(Execution):
    """A training that is over."""

    ended, seconds = True, 0.0

    def __init__(self, job: Job, said: str) -> None:
        self.job, self.said = job, said

    def stop(self) -> None: ...

    def complaint(self) -> str:
        return self.said


@dataclass(frozen=True)
class World:
    """The folder of everything that is not changed; what is tried is a copy."""

    folder: Path

    @property
    def run(self) -> Path:
        return self.folder / "run"

    def table(self, **train_settings: Any) -> dict[str, Any]:
        """Return the config of a run of two updates: classes of single texts, grades of pairs."""
        return {
            "seed": 3, "data": {"root": str(self.folder), "max_length": 24,
                                "cache": str(self.folder / "cache")},
            "encoder": {"checkpoint": str(self.folder / "encoder")},
            "tasks": {
                "moods": {"train": "moods.csv", "dev": "moods.csv", "text": "text", "label": "mood",
                          "id": "id", "limit": 12},
                "pairs": {"train": "pairs.jsonl", "dev": "pairs.jsonl", "text": ["a", "b"],
                          "label": "grade", "range": [0, 5], "pairing": "bi_encoder", "limit": 12},
            },
            "train": {"epochs": 1, "batch_size": 4, "max_steps": 2, "optimizer": {"lr": 1e-3},
                      **train_settings},
        }

    def write(self, name: str, text: str) -> Path:
        """Write a file into the folder."""
        (self.folder / name).write_text(text, encoding="utf-8")
        return self.folder / name


def sentences(rows: int, seed: int = 1) -> list[str]:
    """Return sentences of short words."""
    drawn = random.Random(seed)
    words = ["a", "bee", "sees", "no", "old", "dog", "we", "like", "tea", "is", "bad", "good", "fine"]
    return [" ".join(drawn.choice(words) for _ in range(drawn.randrange(3, 9))) for _ in range(rows)]


def build(folder: Path) -> World:
    """Write the encoder, the files, and a run, a study and a sweep of them."""
    world = World(folder)
    # Arrow reserves a gigabyte of addresses at its first use, which a try may not have.
    parquet.write_table(pyarrow.table({"a": ["b"]}), folder / "first.parquet")
    parquet.read_table(folder / "first.parquet")
    torch.manual_seed(5)
    tokenizer = letters()
    world.write("letters.json", tokenizer.to_str())
    sizes = BertConfig(vocab_size=tokenizer.get_vocab_size(), hidden_size=8, num_hidden_layers=2,
                       num_attention_heads=2, intermediate_size=16, max_position_embeddings=32)
    save_encoder(Bert(sizes), folder / "letters.json", folder / "encoder")
    texts, others, moods = sentences(24), sentences(24, 2), ("sad", "glad", "mad")
    world.write("moods.csv", "id,text,mood\n" + "".join(
        f"{n},{text},{moods[n % 3]}\n" for n, text in enumerate(texts)))
    world.write("pairs.jsonl", "".join(
        json.dumps({"a": a, "b": b, "grade": n % 6}) + "\n"
        for n, (a, b) in enumerate(zip(texts, others, strict=True))))
    world.write("base.toml", tomli_w.dumps(world.table()))
    world.write("study.toml", STUDY)
    world.write("sweep.toml", SWEEP)
    queue.POLL_SECONDS = 0.002
    train(Run.from_table(world.table(save_every=1)), world.run, quiet=True)
    compare(folder / "study.toml", folder / "study", quiet=True, engine=Inline())
    sweep(folder / "sweep.toml", folder / "sweep", quiet=True, engine=Inline())
    return world
