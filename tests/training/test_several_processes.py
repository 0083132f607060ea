"""Whole runs by two processes: one folder, the same scores and predictions, models that open anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import several_cases
from polytask.commands.train import launcher
from polytask.core.processes import ALONE
from polytask.core.run_folder import RunFolder
from polytask.inference.predictor import load
from several import Group


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    group = Group(2, tmp_path_factory.mktemp("two"))
    yield group
    group.close()


@pytest.fixture
def without_dropout(small_table: dict[str, Any]) -> dict[str, Any]:
    small_table["encoder"]["dropout"] = 0.0
    small_table["data"]["baselines"] = False
    for name in ("sst", "quora", "sts"):
        small_table["tasks"][name]["head"] = {"type": "linear", "dropout": 0.0}
    small_table["train"] |= {"epochs": 1, "optimizer": {"lr": 1e-3, "options": {"eps": 1e-4}}}
    return small_table


@pytest.mark.parametrize("parallel", ["replicate", "shard"])
def test_a_run_of_two_processes_is_that_of_one(two: Group, without_dropout: dict[str, Any], tmp_path: Path,
                                               parallel: str) -> None:
    table = without_dropout
    table["train"] |= {"parallel": parallel, "ema": 0.5}
    several_cases.whole_run(ALONE, table, str(tmp_path / "one"))
    first, second = two.run(several_cases.whole_run, table, str(tmp_path / "two"))
    assert "scores on dev" in first and "scores on dev" in second
    one, other = RunFolder(tmp_path / "one"), RunFolder(tmp_path / "two")
    assert {path.name for path in one.path.iterdir()} == {path.name for path in other.path.iterdir()}
    texts = ["A gem.", "A dull and endless film."]
    torch.testing.assert_close(torch.tensor(load(one.path).embed(texts)),
                               torch.tensor(load(other.path).embed(texts)), rtol=0, atol=1e-4)
    if parallel == "shard":
        transformers = pytest.importorskip("transformers")
        encoder = transformers.AutoModel.from_pretrained(other.model)
        assert encoder.config.hidden_size == 16


def test_the_command_that_resumes_names_the_launcher() -> None:
    assert launcher(1, {}) == ""
    assert launcher(4, {"LOCAL_WORLD_SIZE": "4"}) == "torchrun --standalone --nproc-per-node 4 -m "
    assert launcher(8, {"LOCAL_WORLD_SIZE": "4"}) == "torchrun … -m "
