"""Whole runs by two processes: one folder, the same updates, scores, answers; models that open anywhere."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from safetensors.torch import load_file

import several_cases
from polytask import sample
from polytask.commands.train import launcher
from polytask.core.events import read_events
from polytask.core.processes import ALONE
from polytask.core.results_file import read_results
from polytask.core.run_folder import RunFolder
from polytask.inference.predictor import load
from polytask.learn.checkpoint import load_checkpoint
from several import Group, same

TEXTS = ["A gem.", "A dull and endless film."]


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


@pytest.fixture
def one_task(without_dropout: dict[str, Any]) -> dict[str, Any]:
    without_dropout["tasks"] = {"sst": without_dropout["tasks"]["sst"]}
    return without_dropout


def events(folder: RunFolder, kind: str) -> list[dict[str, Any]]:
    return [event for event in read_events(folder.events) if event["event"] == kind]


def same_run(found: RunFolder, expected: RunFolder) -> None:
    """Assert that a run made the updates of another, ends with its model, and wrote the same files."""
    assert {path.name for path in found.path.iterdir()} == {path.name for path in expected.path.iterdir()}
    for kind in ("step", "evaluation"):
        ours, theirs = events(found, kind), events(expected, kind)
        assert [event["step"] for event in ours] == [event["step"] for event in theirs]
        for one, other in zip(ours, theirs, strict=True):
            assert (one.get("rows"), one.get("tokens")) == (other.get("rows"), other.get("tokens"))
            assert one.get("losses", {}) == pytest.approx(other.get("losses", {}), rel=1e-3, abs=1e-5)
    for task, scores in read_results(expected.results)["dev"]["scores"].items():
        numbers = {name: value for name, value in scores.items() if isinstance(value, float)}
        ours = read_results(found.results)["dev"]["scores"][task]
        assert {name: ours[name] for name in numbers} == pytest.approx(numbers, abs=1e-4)
    files = sorted(path.relative_to(expected.model) for path in expected.model.rglob("*.safetensors"))
    assert files
    for file in files:
        same(load_file(found.model / file), load_file(expected.model / file))
    ours, theirs = load(found.path).predict("sst", TEXTS), load(expected.path).predict("sst", TEXTS)
    assert [answer.label for answer in ours] == [answer.label for answer in theirs]


@pytest.mark.parametrize("parallel", ["replicate", "shard"])
def test_a_run_of_two_processes_is_that_of_one(two: Group, without_dropout: dict[str, Any], tmp_path: Path,
                                               parallel: str) -> None:
    table = without_dropout
    table["train"] |= {"parallel": parallel, "ema": 0.5}
    several_cases.whole_run(ALONE, table, str(tmp_path / "one"))
    first, second = two.run(several_cases.whole_run, table, str(tmp_path / "two"))
    assert "scores on dev" in first
    assert first.partition("of training")[0].split("\n")[:-1] == second.partition(
        "of training")[0].split("\n")[:-1], "both processes return the scores of all rows"
    one, other = RunFolder(tmp_path / "one"), RunFolder(tmp_path / "two")
    same_run(other, one)
    if parallel == "shard":
        transformers = pytest.importorskip("transformers")
        ids = torch.tensor([[101, 1037, 17070, 1012, 102]])
        states = [transformers.AutoModel.from_pretrained(run.model).eval()(ids).last_hidden_state
                  for run in (one, other)]
        assert states[0].shape == (1, 5, 16)
        torch.testing.assert_close(states[1], states[0], rtol=0, atol=1e-4)


def test_early_stopping_and_balanced_class_weights_mean_what_they_mean_in_one(
        two: Group, one_task: dict[str, Any], tmp_path: Path) -> None:
    one, other, plain = (RunFolder(tmp_path / name) for name in ("one", "two", "plain"))
    table = one_task
    table["train"] |= {"epochs": 30, "evaluate_every": 3, "early_stopping": 3}
    stopped_at = {"max_steps": 1}
    several_cases.whole_run(ALONE, table | {"train": table["train"] | stopped_at}, str(plain.path))
    table["tasks"]["sst"]["loss"] = {"type": "cross_entropy", "class_weights": "balanced"}
    several_cases.whole_run(ALONE, table, str(one.path))
    two.run(several_cases.whole_run, table, str(other.path))
    same_run(other, one)
    planned = events(one, "start")[0]["steps"]
    scores = [event["dev"]["sst"]["accuracy"] for event in events(other, "evaluation")]
    assert len(events(other, "step")) < planned, "it ends early"
    assert max(scores[-3:]) <= max(scores[:-3]), "after three evaluations without a better score"
    first, unweighted = (events(run, "step")[0]["losses"]["sst"] for run in (other, plain))
    assert abs(first - unweighted) > 1e-3, "the weights of the classes count"


def test_a_killed_process_ends_the_other_and_the_resumed_run_is_that_of_one(
        without_dropout: dict[str, Any], tmp_path: Path) -> None:
    table, folder, config = without_dropout, RunFolder(tmp_path / "two"), tmp_path / "three.toml"
    for task in table["tasks"].values():
        task |= {"limit": 16, "dev_limit": 8}
    table["train"] |= {"epochs": 99, "max_steps": 12, "save_every": 2, "evaluate_every": 12,
                       "surgery": "pcgrad"}
    config.write_text(tomli_w.dumps(table), encoding="utf-8")
    killed_at = 0.0

    def kill_one() -> None:
        nonlocal killed_at
        deadline = time.monotonic() + 100
        while not folder.checkpoint.is_dir() and time.monotonic() < deadline:
            time.sleep(0.002)
        killed.kill(1)
        killed_at = time.monotonic()

    killed = Group(2, tmp_path)
    complaint = killed.run_of(0, several_cases.command, str(config), str(folder.path), meanwhile=kill_one)
    assert time.monotonic() - killed_at < 60
    killed.close()
    assert complaint == (
        "another process of this training has ended, so all processes stop; resume it from the last "
        "checkpoint with: torchrun --standalone --nproc-per-node 2 -m polytask train "
        f"{config} --out {folder.path} --resume")
    assert load_checkpoint(folder.checkpoint)["position"]["total"] < 12
    (tmp_path / "again").mkdir()
    again = Group(2, tmp_path / "again")
    first, second = again.run(several_cases.command, str(config), str(folder.path), True)
    again.close()
    assert "scores on dev" in first and second == "None", "one process speaks"
    assert [event["step"] for event in events(folder, "step")] == list(range(1, 13))
    several_cases.whole_run(ALONE, table, str(tmp_path / "one"))
    one = RunFolder(tmp_path / "one")
    same(load_checkpoint(folder.checkpoint)["model"], load_checkpoint(one.checkpoint)["model"])
    same_run(folder, one)


@pytest.fixture
def disks(one_task: dict[str, Any], tmp_path: Path) -> list[str]:
    """Two folders with the data and the encoder of a run, which stand for the disks of two machines."""
    for name in ("first", "second"):
        (tmp_path / name / "data").mkdir(parents=True)
        shutil.copytree(one_task["encoder"]["checkpoint"], tmp_path / name / "tiny")
        for split in ("train", "dev"):
            file = one_task["tasks"]["sst"][split]
            shutil.copy(sample.root() / file, tmp_path / name / "data" / file)
    one_task["data"]["root"], one_task["encoder"]["checkpoint"] = "data", "tiny"
    return [str(tmp_path / "first"), str(tmp_path / "second")]


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_processes_whose_files_differ_are_told_which_file(two: Group, one_task: dict[str, Any],
                                                          disks: list[str]) -> None:
    assert two.run(several_cases.on_machines, one_task, disks) == ["", ""]
    file = Path(disks[1]) / "data" / one_task["tasks"]["sst"]["train"]
    change(file, " the ", " teh ")
    first, said = two.run(several_cases.on_machines, one_task, disks)
    assert first == "" and said.startswith("process 1 on ") and "\n" not in said
    assert 'disagrees with process 0 about the files: tasks.sst.train is "40 rows, hash ' in said
    assert said.count(file.name) == 2 and "start every process with the same command, config, data" in said


def test_processes_whose_tokenizers_differ_are_refused(two: Group, one_task: dict[str, Any],
                                                       disks: list[str]) -> None:
    change(Path(disks[1]) / "tiny" / "tokenizer.json", '"film"', '"film.x"')
    _, said = two.run(several_cases.on_machines, one_task, disks)
    assert 'about the files: encoder.tokenizer is "tokenizer.json, hash ' in said and "\n" not in said


def test_the_command_that_resumes_names_the_launcher() -> None:
    assert launcher(1, {}) == ""
    assert launcher(4, {"LOCAL_WORLD_SIZE": "4"}) == "torchrun --standalone --nproc-per-node 4 -m "
    assert launcher(8, {"LOCAL_WORLD_SIZE": "4"}) == "torchrun … -m "
