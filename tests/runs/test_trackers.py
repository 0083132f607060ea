"""Trackers get each update once: in one go, in two, and after a training that was killed and resumed."""

from __future__ import annotations

import importlib.util
import json
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from shutil import copytree
from types import ModuleType
from typing import Any

import pytest

from polytask.commands.log import log
from polytask.core.errors import ConfigError, MissingExtra, PolytaskError, RunError
from polytask.core.run_folder import RunFolder
from polytask.trackers.contract import Point, Tracker
from polytask.trackers.replay import replay

pytestmark = pytest.mark.filterwarnings("ignore")


def needs(package: str) -> pytest.MarkDecorator:
    """Skip without a package; of those that take ten seconds to start, without POLYTASK_TRACKERS."""
    absent = importlib.util.find_spec(package) is None
    slow = package != "tensorboard" and not os.environ.get("POLYTASK_TRACKERS")
    return pytest.mark.skipif(absent or slow, reason=f"{package} is absent, or POLYTASK_TRACKERS not set")


def step(number: int, seconds: float = 0.5) -> dict[str, Any]:
    return {"event": "step", "step": number, "phase": 0, "epoch": 1, "losses": {"sst": 1 / number},
            "rows": {"sst": 8}, "lr": 1e-3, "tokens": 100, "seconds": seconds, "weight": {"sst": 1.0}}


def evaluation(number: int) -> dict[str, Any]:
    return {"event": "evaluation", "step": number, "summary": "dev sst accuracy",
            "dev": {"sst": {"accuracy": number / 10, "table": [[1]]}}, "score": number / 10}


START = {"event": "start", "seed": 1, "steps": 6, "time": "2026-01-01T00:00:00"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.toml").write_text('seed = 1\n[tasks.sst]\ntrain = "a.csv"\n')
    write(folder, START, step(1), step(2), evaluation(2), step(3), step(4))
    return folder


def write(run: Path, *events: dict[str, Any]) -> None:
    RunFolder(run).events.write_text("".join(json.dumps(event) + "\n" for event in events))


def resumed(run: Path) -> None:
    """The training was killed after step 4, and resumed from its checkpoint at step 2."""
    write(run, START, step(1), step(2), evaluation(2), step(3, 0.7), step(4, 0.61), evaluation(4), step(5),
          step(6), {"event": "end", "step": 6})


class Memory(Tracker):
    """Keeps points."""

    def __init__(self) -> None:
        self.points: list[Point] = []

    def sent(self) -> dict[str, int]:
        return {point.kind: point.step for point in self.points}

    def send(self, points: Any) -> None:
        self.points += points

    @property
    def place(self) -> str:
        return "memory"

    def close(self) -> None: ...


def test_a_log_that_is_followed_while_a_training_is_resumed(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polytask.trackers.replay._LOOK_SECONDS", 0.01)
    tracker, looks = Memory(), 0

    def stopped() -> bool:
        nonlocal looks
        looks += 1
        if looks == 2:
            resumed(run)
        return looks > 50

    assert replay(RunFolder(run).events, tracker, True, stopped) == 8 and looks == 2
    assert [point.step for point in tracker.points if point.kind == "step"] == [1, 2, 3, 4, 5, 6]
    assert [point.step for point in tracker.points if point.kind == "evaluation"] == [2, 4]
    first, scored = tracker.points[0], tracker.points[2]
    assert first.values == {"sst/loss": 1.0, "lr": 1e-3, "epoch": 1.0, "weight/sst": 1.0,
                            "tokens_per_second": 200.0}
    assert scored.values == {"sst/accuracy": 0.2, "score": 0.2}
    assert scored.time - first.time == 0.5


def test_a_line_that_is_being_written_waits(run: Path) -> None:
    with RunFolder(run).events.open("a") as file:
        file.write('{"event": "step", "st')
    assert replay(RunFolder(run).events, Memory(), False, lambda: False) == 5
    RunFolder(run).events.write_text("nonsense\n")
    with pytest.raises(RunError, match="line 1 after byte 0 is not an event"):
        replay(RunFolder(run).events, Memory(), False, lambda: False)


@needs("tensorboard")
def test_tensorboard_has_each_step_once(run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert log(run, "tensorboard").startswith("5 points sent to tensorboard: ")
    resumed(run)
    assert log(run, "tensorboard").startswith("3 points") and log(run, "tensorboard").startswith("0 points")
    board = EventAccumulator(str(run / "trackers" / "tensorboard"))
    board.Reload()
    losses = board.Scalars("sst/loss")
    assert [event.step for event in losses] == [1, 2, 3, 4, 5, 6]
    assert losses[1].value == 0.5 and losses[1].wall_time - losses[0].wall_time == 0.5
    assert [event.step for event in board.Scalars("sst/accuracy")] == [2, 4]
    assert log(run, "tensorboard").endswith(str(run / "trackers" / "tensorboard"))
    assert json.loads(board.Tensors("config")[0].tensor_proto.string_val[0]) == {"seed": 1,
                                                                                 "tasks.sst.train": "a.csv"}


@needs("mlflow")
def test_mlflow_has_each_step_once(run: Path) -> None:
    from mlflow import MlflowClient

    assert log(run, "mlflow", project="mine").startswith("5 points")
    resumed(run)
    assert log(run, "mlflow", project="mine").startswith("3 points")
    client = MlflowClient(tracking_uri=f"sqlite:///{run}/trackers/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("mine")
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(found.info.run_id, "sst/loss")
    assert sorted(entry.step for entry in history) == [1, 2, 3, 4, 5, 6]
    assert found.data.params["tasks.sst.train"] == "a.csv" and found.info.run_name == "run"


@needs("mlflow")
def test_a_server_of_mlflow_that_does_not_answer_is_one_sentence(
        run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with pytest.raises(PolytaskError, match=r"--to mlflow: API request to http://127.0.0.1:9.* failed "
                                            r".*; nothing is lost, and the same command sends what"):
        log(run, "mlflow")


@needs("wandb")
def test_a_project_that_wandb_refuses_is_one_sentence(run: Path) -> None:
    with pytest.raises(PolytaskError, match=r"--to wandb: Invalid project name 'a/b'.*the same command"):
        log(run, "wandb", project="a/b")


@needs("wandb")
def test_wandb_is_written_offline(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert log(run, "wandb").startswith("5 points")
    place = run / "trackers" / "wandb"
    assert list(place.glob("wandb/offline-run-*/*.wandb"))
    (file,) = place.glob("sent-*.json")
    assert json.loads(file.read_text()) == {"step": 4, "evaluation": 2}
    resumed(run)
    assert log(run, "wandb").startswith("3 points")


@needs("tensorboard")
def test_a_folder_of_tensorboard_belongs_to_one_run(run: Path, tmp_path: Path) -> None:
    assert log(run, "tensorboard", tmp_path / "board").startswith("5 points")
    other = copytree(run, tmp_path / "other")
    with pytest.raises(PolytaskError, match=rf"--out: .*board has the points of {run}; give every run a "
                                            r"folder of its own, such as .*board/other"):
        log(other, "tensorboard", tmp_path / "board")
    log(run, "tensorboard")
    moved = run.rename(tmp_path / "moved")
    assert log(moved, "tensorboard").startswith("0 points")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """A module with the calls of trackio, which keeps them."""
    module, kept = ModuleType("trackio"), list[tuple[str, Any]]()
    for name in ("init", "log", "finish"):
        setattr(module, name, lambda *values, call=name, **options: kept.append((call, values or options)))
    monkeypatch.setitem(sys.modules, "trackio", module)
    return kept


def test_trackio_has_finished_each_batch_before_it_counts_as_sent(
        run: Path, tmp_path: Path, calls: list[tuple[str, Any]]) -> None:
    assert log(run, "trackio").startswith("5 points sent to trackio: run run-")
    assert [name for name, _ in calls] == ["init", *["log"] * 5, "finish"]
    assert calls[0][1]["project"] == "polytask" and calls[0][1]["config"]["seed"] == 1
    assert log(run, "trackio").startswith("0 points") and len(calls) == 7
    other = copytree(run, tmp_path / "elsewhere" / run.name, ignore=lambda *_: ["trackers"])
    shared = run / "trackers" / "trackio"
    assert log(other, "trackio", shared).startswith("5 points"), "runs that share --out are told apart"
    assert calls[7][1]["name"] != calls[0][1]["name"], "trackio knows a run by its name"


@needs("trackio")
def test_trackio_has_each_step_once(run: Path, tmp_path: Path) -> None:
    environment = os.environ | {"TRACKIO_DIR": str(tmp_path / "store")}

    def sent(*options: str) -> str:
        command = [sys.executable, "-m", "polytask", "log", str(run), "--to", "trackio", *options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else done.stderr

    assert sent().startswith("5 points sent to trackio: run run-")
    resumed(run)
    assert sent().startswith("3 points") and sent().startswith("0 points")
    with closing(sqlite3.connect(tmp_path / "store" / "polytask.db")) as store:
        found = store.execute(
            "select step, json_extract(metrics, '$.\"sst/loss\"') from metrics").fetchall()
        (config,) = store.execute("select config from configs").fetchone()
        assert store.execute("select count(*) from system_metrics").fetchone() == (0,)
    assert [step for step, loss in found if loss] == [1, 2, 3, 4, 5, 6] and len(found) == 8
    assert json.loads(config)["tasks.sst.train"] == "a.csv"
    environment["TRACKIO_SERVER_URL"] = "http://127.0.0.1:9"
    resumed(run)
    assert sent("--project", "other").startswith("polytask: --to trackio: Self-hosted logging requires")


def test_what_cannot_be_logged(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r'--to: found "tensorbord", .*; did you mean "tensorboard"'):
        log(run, "tensorbord")
    with pytest.raises(RunError, match="there is no such folder"):
        log(tmp_path / "none", "mlflow")
    for name in ("tensorboard", "mlflow", "wandb", "trackio"):
        for module in [each for each in sys.modules if each.split(".")[0] == name]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(MissingExtra, match=rf'--to {name} needs .*: pip install "polytask\[{name}\]"'):
            log(run, name)
    RunFolder(run).events.unlink()
    with pytest.raises(RunError, match="the training has not begun"):
        log(run, "tensorboard")
    assert threading.active_count() < 50
