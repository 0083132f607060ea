"""What all tests share: one thread, a fixed seed, the real data where they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(autouse=True)
def _settled(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cache = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("POLYTASK_CACHE", str(cache))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data sets; tests that need them are skipped without it."""
    folder = os.environ.get("POLYTASK_DATA")
    if not folder:
        pytest.skip("POLYTASK_DATA does not name the folder of the real data sets")
    return Path(folder).resolve()
