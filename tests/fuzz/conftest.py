"""The world that is fuzzed and killed, built once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fuzz_world import World, build


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    import optuna  # noqa: F401 (imported once, before the forks)

    torch.set_num_threads(1)  # a fork has no threads but its own
    before = {name: os.environ.get(name) for name in ("POLYTASK_CACHE", "TOKENIZERS_PARALLELISM")}
    folder = tmp_path_factory.mktemp("fuzz")
    os.environ |= {"POLYTASK_CACHE": str(folder / "cache"), "TOKENIZERS_PARALLELISM": "false"}
    (folder / "world").mkdir()
    yield build(folder / "world")
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder whose neighbours are looked at after each try."""
    return tmp_path / "place"
