"""Whole runs by two processes: one folder, the same scores and predictions, models that open anywhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import several_cases
from polytask.commands.train import launcher
from polytask.core.events import read_events
from polytask.core.processes import ALONE
from polytask.core.run_folder import RunFolder
from polytask.inference.predictor import load
from polytask.learn.checkpoint import load_checkpoint
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


def test_a_killed_process_ends_the_other_and_the_resumed_run_is_that_of_one(
        without_dropout: dict[str, Any], tmp_path: Path) -> None:
    table, folder = without_dropout, RunFolder(tmp_path / "two")
    for task in table["tasks"].values():
        task |= {"limit": 16, "dev_limit": 8}
    table["train"] |= {"epochs": 99, "max_steps": 12, "save_every": 2, "evaluate_every": 12,
                       "surgery": "pcgrad"}

    def kill_one() -> None:
        deadline = time.monotonic() + 100
        while not folder.checkpoint.is_dir() and time.monotonic() < deadline:
            time.sleep(0.002)
        killed.kill(1)

    killed = Group(2, tmp_path)
    said = killed.run_of(0, several_cases.whole_run, table, str(folder.path), meanwhile=kill_one)
    killed.close()
    assert said.startswith("another process of this training has ended, so all processes stop; resume it")
    (tmp_path / "again").mkdir()
    again = Group(2, tmp_path / "again")
    again.run(several_cases.whole_run, table, str(folder.path), True)
    again.close()
    steps = [event["step"] for event in read_events(folder.events) if event["event"] == "step"]
    assert steps == list(range(1, 13))
    several_cases.whole_run(ALONE, table, str(tmp_path / "one"))
    one, two = (load_checkpoint(path)["model"]
                for path in (RunFolder(tmp_path / "one").checkpoint, folder.checkpoint))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-5, msg=name)


def test_the_command_that_resumes_names_the_launcher() -> None:
    assert launcher(1, {}) == ""
    assert launcher(4, {"LOCAL_WORLD_SIZE": "4"}) == "torchrun --standalone --nproc-per-node 4 -m "
    assert launcher(8, {"LOCAL_WORLD_SIZE": "4"}) == "torchrun … -m "
