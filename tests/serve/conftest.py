"""A trained run with a task of every kind, and a service over it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from polytask.serve.app import create_app
from polytask.serve.service import Service
from polytask.serve.settings import ServeSettings
from polytask.serve.torch_engine import TorchEngine, load_torch


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
