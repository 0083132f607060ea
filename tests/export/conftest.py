"""The exported models that several test files share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from exported_models import Exported, every_task, exported, saved

from polytask.model.poolings.mean import Mean


@pytest.fixture(scope="session")
def tokenizer(tiny_checkpoint: Path) -> Path:
    return tiny_checkpoint / "tokenizer.json"


@pytest.fixture(scope="session")
def every(tmp_path_factory: pytest.TempPathFactory, tokenizer: Path) -> Exported:
    """One model with every kind of head, pooling, pairing and labels."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("every") / "model"
    held = saved(folder, tokenizer, every_task(), Mean(), thresholds={"same": 0.9, "embedding": 0.4})
    return exported(held, folder)
