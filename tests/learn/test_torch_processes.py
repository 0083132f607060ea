"""Several processes train what one does: every schedule, weighting and surgery, to rounding.

By default every schedule is trained once, and a part of the weightings; POLYTASK_PROCESSES=1 has the whole
matrix, in minutes.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import several_cases
from polytask.core.errors import RunError
from polytask.core.processes import ALONE
from polytask.learn.checkpoint import load_checkpoint
from polytask.learn.schedules import schedule
from polytask.learn.torch_processes import TorchProcesses, joined
from polytask.learn.weightings import weighting
from several import Group, same

WHOLE = bool(os.environ.get("POLYTASK_PROCESSES"))


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    group = Group(4, tmp_path_factory.mktemp("four"))
    yield group
    group.close()


def as_one(group: Group, table: dict[str, Any], **options: Any) -> None:
    """Train in the group and alone; the weights are the same, and so is what the events say."""
    expected, events = several_cases.alone(table, **options)
    answers = group.run(several_cases.trained, table, *options.values())
    for found, seen in answers:
        same(found, expected)
        assert len(seen) == len(events)
        for one, other in zip(seen, events, strict=True):
            assert one.keys() == other.keys()
            assert one.get("tokens") == other.get("tokens") and one.get("rows") == other.get("rows")
            for key in ("losses", "penalties", "cosines", "weight"):
                assert one.get(key, {}) == pytest.approx(other.get(key, {}), rel=1e-3, abs=1e-5)
    first, *others = [found for found, _ in answers]
    for found in others:
        assert all(torch.equal(found[name], first[name]) for name in first)


SCHEDULES = sorted(name for name in schedule.members if ":" not in name)
SEVERAL = [name for name in SCHEDULES if schedule.read(name).max_tasks_per_step(["a", "b", "c"]) > 1]
CASES = {name: [(name, weight, operate) for operate in ("pcgrad", None) for weight in ("automatic", "sum")
                if operate is None or name in SEVERAL] for name in SCHEDULES}
SMART = {"type": "smart", "weight": 0.5, "tasks": ["sst"], "bregman": 1.0}
OPTIMIZER: dict[str, Any] = several_cases.TABLE["optimizer"]
OTHERS: dict[str, dict[str, Any]] = {
    "smart, teacher": {"regularizers": [SMART]},
    "smart, summed, in parts": {"regularizers": [SMART | {"reduction": "sum"}], "accumulate": 2},
    "norms": {"regularizers": [{"type": "norm"}, {"type": "norm", "over": "head", "weight": 1e-2}]},
    "ema, in parts, clipped": {"ema": 0.9, "accumulate": 3, "optimizer": OPTIMIZER | {"clip": 0.1}},
    "rates by task": {"optimizer": OPTIMIZER | {"layer_rates": {"sst": {"0": 0.5}, "sts": {"1": 2.0}}}},
    "cosines, phases": {"gradient_cosines": 2, "phases": [
        {"max_steps": 6}, {"tasks": ["sst"], "max_steps": 6, "keep_optimizer": True}]},
    "pcgrad of heads, now and then": {"surgery": {"type": "pcgrad", "heads": True, "every": 2,
                                                  "layers": [1]}},
}
QUICK = [cases[number % len(cases)] for number, cases in enumerate(CASES.values())]
WEIGHTINGS = [{"type": "fixed", "weights": {"sst": 0.2}} if name == "fixed" else name
              for name in sorted(weighting.members) if name not in ("torchjd", "sum", "automatic")
              ][::1 if WHOLE else 3]
TORCHJD = [{"weighting": "torchjd:FAMO"}, {"weighting": "torchjd:GeometricMean", "accumulate": 2},
           {"weighting": "torchjd:Random", "surgery": "pcgrad"}, {"surgery": "torchjd:UPGrad"},
           {"surgery": "torchjd:GradDrop"}][::1 if WHOLE else 2]


@pytest.mark.parametrize(("name", "weight", "operate"),
                         [case for cases in CASES.values() for case in cases] if WHOLE else QUICK)
def test_two_processes_train_what_one_does(two: Group, name: str, weight: str, operate: str | None) -> None:
    table = {"schedule": name, "weighting": weight} | ({"surgery": operate} if operate else {})
    as_one(two, table)


@pytest.mark.parametrize("table", OTHERS.values(), ids=list(OTHERS))
def test_penalties_averages_parts_and_rates_mean_what_they_mean_in_one(two: Group, table: Any) -> None:
    as_one(two, table)


@pytest.mark.parametrize("table", WEIGHTINGS, ids=str)
def test_every_weighting_sees_the_losses_of_all_rows(two: Group, table: Any) -> None:
    as_one(two, {"weighting": table})


@pytest.mark.parametrize("table", TORCHJD, ids=str)
def test_weightings_and_surgeries_of_torchjd(two: Group, table: Any) -> None:
    pytest.importorskip("torchjd.scalarization")
    as_one(two, table)


@pytest.mark.parametrize("table", [{}, {"surgery": "pcgrad", "accumulate": 2}], ids=str)
def test_contrastive_losses_see_every_negative_and_class_weights_every_row(two: Group, table: Any) -> None:
    as_one(two, table, special=True)


@pytest.mark.skipif(not WHOLE, reason="minutes; POLYTASK_PROCESSES=1 asks for it")
@pytest.mark.parametrize(("name", "weight", "operate"),
                         [case for cases in CASES.values() for case in cases])
def test_four_processes_train_what_one_does(four: Group, name: str, weight: str,
                                            operate: str | None) -> None:
    as_one(four, {"schedule": name, "weighting": weight} | ({"surgery": operate} if operate else {}))


@pytest.mark.parametrize("table", [
    {"surgery": "pcgrad", "weighting": "automatic", "regularizers": [SMART]}, {"accumulate": 2}], ids=str)
def test_four_processes_do_too_also_with_fewer_rows_than_processes(four: Group, table: Any) -> None:
    steps = {} if WHOLE else {"max_steps": 6}
    as_one(four, table | steps, special=True, rows={"sst": 37, "quora": 23, "sts": 3})


# ---- checkpoints


def test_a_training_continues_with_another_number_of_processes(two: Group, tmp_path: Path) -> None:
    table = {"surgery": "pcgrad", "weighting": "automatic", "regularizers": [SMART], "ema": 0.9}
    expected, _ = several_cases.alone(table)
    two.run(several_cases.until, table, 7, str(tmp_path / "of two"))
    same(several_cases.resumed(ALONE, table, str(tmp_path / "of two")), expected)
    several_cases.until(ALONE, table, 7, str(tmp_path / "of one"))
    for weights in two.run(several_cases.resumed, table, str(tmp_path / "of one")):
        same(weights, expected)


def test_with_as_many_processes_it_continues_exactly_masks_and_all(two: Group, tmp_path: Path) -> None:
    two.run(several_cases.until, {}, 12, str(tmp_path / "whole"), 0.2)
    two.run(several_cases.until, {}, 7, str(tmp_path / "part"), 0.2)
    resumed = two.run(several_cases.resumed, {}, str(tmp_path / "part"), 0.2)[0]
    whole = load_checkpoint(tmp_path / "whole")["model"]
    assert all(torch.equal(resumed[name], whole[name]) for name in resumed if name in whole)
    assert not torch.equal(*(mask["cpu"] for mask in load_checkpoint(tmp_path / "part")["masks"]))


# ---- what processes say to one another


def test_totals_wholes_and_gradients(four: Group) -> None:
    for answer in four.run(several_cases.exchanged):
        assert answer["total"] == 10 and answer["slope"] == 1
        assert torch.equal(answer["whole"], torch.arange(15.0).view(5, 3)) and answer["own"]
        assert answer["few"].tolist() == [[0, 0], [1, 1]]
        assert answer["any"] and not answer["none"] and answer["agreed"] == {"rank": 0, "π": 0.1}
        assert answer["parts"] == [0, 1, 2, 3]
    slopes = [answer["few_slope"].tolist() for answer in four.run(several_cases.exchanged)]
    assert slopes == [[[1, 1]], [[1, 1]], [[0, 0]], [[0, 0]]]


def test_processes_that_disagree_say_about_what(two: Group) -> None:
    one = {"train": {"optimizer": {"lr": 1e-3}}, "seed": 3}
    assert two.run(several_cases.disagreement, [one, one]) == ["", ""]
    other = {"train": {"optimizer": {"lr": 1e-4}}, "seed": 3}
    _, text = two.run(several_cases.disagreement, [one, other])
    assert "disagrees with process 0 about the config: train.optimizer.lr is 0.0001, and 0.001 the" in text


def test_a_folder_that_another_machine_does_not_see_is_refused(two: Group, tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).write_text(name, encoding="utf-8")
        time.sleep(0.01)
    here, there = str(tmp_path / "here"), str(tmp_path / "there")
    assert two.run(several_cases.unshared, [here, here]) == ["", ""]
    for other in (there, str(tmp_path / "nowhere" / "file")):
        _, text = two.run(several_cases.unshared, [here, other])
        assert "does not see the folder that process 0 made; --out must be on a file system" in text


def test_one_process_reads_first(two: Group, tmp_path: Path) -> None:
    assert two.run(several_cases.in_turn, str(tmp_path / "cache")) == [False, True]


def test_a_process_that_dies_is_seen_at_once(tmp_path: Path) -> None:
    group = Group(2, tmp_path)
    text = group.run_of(0, several_cases.losing, 1)
    group.close()
    assert "another process of this training has ended, so all processes stop" in text
    assert int(text.split()[-2]) < 20


@pytest.mark.parametrize(("environment", "text"), [
    ({"WORLD_SIZE": "4"}, "WORLD_SIZE is 4 in the environment but RANK is not set; start several processes "
     "with torchrun --standalone --nproc-per-node 4 -m polytask train …, or unset WORLD_SIZE for one"),
    ({"WORLD_SIZE": "2", "RANK": "0"}, "MASTER_ADDR is not set"),
    ({"WORLD_SIZE": "two"}, 'WORLD_SIZE: found "two" in the environment, expected a number'),
    ({"WORLD_SIZE": "2", "RANK": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"},
     "RANK: found 2, expected 0 to 1"),
])
def test_an_environment_that_is_not_complete_is_refused(environment: dict[str, str], text: str) -> None:
    with pytest.raises(RunError, match=re.escape(text)), joined(environment):
        pass


def test_one_process_on_each_machine_says_why_all_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks at the log of one machine must not find a launcher's traceback alone."""
    processes = TorchProcesses.__new__(TorchProcesses)
    processes._store = torch.distributed.HashStore()
    said = []
    for machine in ("0", "1", "0", "1", None):  # what torchrun sets, and a launcher that sets nothing
        monkeypatch.delenv("GROUP_RANK", raising=False)
        if machine is not None:
            monkeypatch.setenv("GROUP_RANK", machine)
        said.append(processes.claim_error())
    assert said == [True, True, False, False, True] and not processes.claim_error()


def test_alone_nothing_is_joined() -> None:
    for environment in ({}, {"WORLD_SIZE": "1"}):
        with joined(environment) as processes:
            assert processes is ALONE


def test_a_port_that_is_taken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        environment = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(RunError, match=f"port {port} is taken"), joined(environment):
            pass
