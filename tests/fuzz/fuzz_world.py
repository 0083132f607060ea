"""What is mutated and killed: a tiny encoder, files of rows, and what polytask made of them.

Everything is small enough that a training takes a fraction of a second.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow
import tomli_w
import torch
from filelock import FileLock
from pyarrow import parquet

from polytask.commands.compare import compare
from polytask.commands.export import export
from polytask.commands.predict_shards import predict_shards
from polytask.commands.sweep import sweep
from polytask.commands.train import train
from polytask.config import Run
from polytask.engines import queue
from polytask.engines.contract import Engine, Execution
from polytask.engines.job import Job
from polytask.engines.shards import Report, ShardEngine
from polytask.export import int8
from polytask.inference.shard_worker import ShardWorker
from polytask.learn import torch_processes  # noqa: F401 (once, before the forks)
from polytask.model.bert import Bert, BertConfig
from polytask.model.pretrained import save_encoder
from polytask.report import plots
from small_data import letters

HUB_NAME, COMMIT = "me/small", "0" * 40
"""A model that the hub's cache holds."""
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


class InlineShards(ShardEngine):
    """Computes the shards of a folder of predictions in this very process."""

    workers, free = 1, True

    def __init__(self, folder: Path) -> None:
        self.worker, self.waiting = ShardWorker(folder), list[int]()

    def start(self, number: int) -> None:
        self.waiting.append(number)

    def reports(self, seconds: float) -> list[Report]:
        number = self.waiting.pop(0)
        self.worker.compute(number)
        return [Report(number, done=True)]

    def stop(self) -> None: ...


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

    @cached_property
    def graphs(self) -> Path:
        """The folder of the run's graphs, exported at first use: before the forks that are to have it."""
        import onnxruntime  # noqa: F401 (before the forks)
        import transformers.models.bert.modeling_bert  # noqa: F401

        place = self.folder / "graphs"
        with FileLock(self.folder / "graphs.lock"):
            if place.is_dir():
                return place
            least, int8.LEAST_OUTPUTS = int8.LEAST_OUTPUTS, 8  # or none of its products would be in int8
            try:
                export(self.run, out=place, int8=True, rows=4)
            finally:
                int8.LEAST_OUTPUTS = least
        return place

    def predict_shards(self, out: Path) -> None:
        """Predict the run's training rows in shards of a few, or go on with that."""
        predict_shards(str(self.run), ["moods"], [self.folder / "moods.csv"], out, rows=6, quiet=True,
                       shard_engine=InlineShards)

    def write(self, name: str, text: str) -> Path:
        """Write a file into the folder."""
        (self.folder / name).write_text(text, encoding="utf-8")
        return self.folder / name


def sentences(rows: int, seed: int = 1) -> list[str]:
    """Return sentences of short words."""
    drawn = random.Random(seed)
    words = ["a", "bee", "sees", "no", "old", "dog", "we", "like", "tea", "is", "bad", "good", "fine"]
    return [" ".join(drawn.choice(words) for _ in range(drawn.randrange(3, 9))) for _ in range(rows)]


def prepare() -> None:
    """Do once, before the forks, what each of them would do: import, start Arrow, speed up what is slow."""
    import optuna  # noqa: F401
    import resvg_py  # noqa: F401
    import sklearn.decomposition
    import sklearn.feature_extraction.text
    import sklearn.linear_model  # noqa: F401

    queue.POLL_SECONDS = 0.002
    plots.ZOOM = 0.2  # the same files, of fewer pixels
    # Arrow reserves a gigabyte of addresses at its first use, which a try may not have.
    content = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.table({"a": ["b"]}), content)
    parquet.read_table(pyarrow.BufferReader(content.getvalue()))


def in_fresh_process(function: Callable[..., Any], *given: Any) -> Any:
    """Return what a module's function returns in a process started anew, prepared like this one.

    A fork has only the thread that forked: it can inherit a lock that another thread held, and waits for it
    for ever, as may the next fork. What hangs is tried once more in a process that ran nothing before: what
    the input makes hang hangs again.
    """
    with ProcessPoolExecutor(1, get_context("spawn"), _begin) as pool:
        return pool.submit(function, *given).result()


def _begin() -> None:
    torch.set_num_threads(1)
    prepare()


def build(folder: Path) -> World:
    """Write the encoder, the files, and a run, a study, a sweep and predictions of them."""
    prepare()
    folder.mkdir()
    world = World(folder)
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
    train(Run.from_table(world.table(save_every=1)), world.run, quiet=True)
    compare(folder / "study.toml", folder / "study", quiet=True, engine=Inline())
    sweep(folder / "sweep.toml", folder / "sweep", quiet=True, engine=Inline())
    world.predict_shards(folder / "predicted")
    downloaded = folder / "hub" / f"models--{HUB_NAME.replace('/', '--')}"
    shutil.copytree(world.run / "model", downloaded / "snapshots" / COMMIT)
    (downloaded / "refs").mkdir()
    (downloaded / "refs" / "main").write_text(COMMIT)
    return world


def lead_out(place: Path, outside: Path) -> None:
    """Put a link in the place of a file or a folder."""
    if place.is_dir():
        shutil.rmtree(place)
        place.symlink_to(outside)
    else:
        place.unlink(missing_ok=True)
        place.symlink_to(outside / "file")
