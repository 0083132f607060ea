"""The world that is fuzzed and killed, built once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from fuzz_child import time_limit
from fuzz_world import World, build, prepare


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the time limit follow `--fuzz-seconds` and `--kills`."""
    usual = float(config.getini("timeout"))
    limit = time_limit(usual, config.getoption("--fuzz-seconds"), config.getoption("--kills"))
    for item in items if limit > usual else ():  # else --timeout has its say
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(limit))


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    torch.set_num_threads(1)  # a fork has no threads but its own
    before = {name: os.environ.get(name) for name in ("POLYTASK_CACHE", "TOKENIZERS_PARALLELISM")}
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # all workers use what the first one builds
        root = root.parent
    folder = root / "fuzz"
    folder.mkdir(exist_ok=True)
    os.environ |= {"POLYTASK_CACHE": str(folder / "cache"), "TOKENIZERS_PARALLELISM": "false"}
    with FileLock(folder / "lock"):
        built = World(folder / "world") if (folder / "done").exists() else build(folder / "world")
        (folder / "done").touch()
    prepare()
    yield built
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder whose neighbours are looked at after each try."""
    return tmp_path / "place"
