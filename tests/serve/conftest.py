"""A trained run with a task of every kind, and a service over it."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from polytask.commands.train import train
from polytask.config import Run
from polytask.serve.app import create_app
from polytask.serve.service import Service
from polytask.serve.settings import ServeSettings
from polytask.serve.torch_engine import TorchEngine, load_torch


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
    train(Run.from_table(table), folder / "run", quiet=True)
    return folder / "run"


@pytest.fixture(scope="session")
def engine(served_run: Path) -> TorchEngine:
    return load_torch(served_run, "run", threads=None)


@pytest.fixture
def service(engine: TorchEngine) -> Iterator[Service]:
    made = Service([engine], ServeSettings(max_inputs=8, max_bytes=20_000, max_characters=500, log="none",
                                           timeout=10.0))
    yield made
    made.close()


@pytest.fixture
def client(service: Service) -> Iterator[TestClient]:
    with TestClient(create_app(service), raise_server_exceptions=False) as made:
        yield made
