"""A signal in an evaluation ends it at once, and the run resumed has what the one without a signal has."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from polytask.commands.train import train
from polytask.config import Run
from polytask.core.errors import Interrupted
from polytask.core.events import read_events
from polytask.core.progress import Checked
from polytask.core.run_folder import RunFolder
from polytask.learn.weightings.contract import WeightingModule

BY_EPOCH: dict[str, Any] = {"epochs": 3, "ema": 0.9, "weighting": "uncertainty", "train_metrics": True}
BY_STEP = {"evaluate_every": 3, "surgery": "pcgrad", "best_per_task": True}
BY_PHASE = {"phases": [{"epochs": 1, "tasks": ["sst"]}, {"max_steps": 3}]}


class Signal:
    """Sends SIGTERM when work has been reported for the `at`-th time; counts what is reported after it."""

    def __init__(self, at: int, patched: pytest.MonkeyPatch) -> None:
        self.at, self.reports = at, 0
        advance = Checked.advance

        def reported(bar: Checked, done: float, note: str = "") -> None:
            self.reports += 1
            if self.reports == self.at:
                os.kill(os.getpid(), signal.SIGTERM)
            advance(bar, done, note)

        patched.setattr(Checked, "advance", reported)


def events_of(folder: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in event.items() if key not in {"seconds", "time"}}
            for event in read_events(RunFolder(folder).events)]


def same_run(one: Path, other: Path) -> None:
    assert events_of(one) == events_of(other)
    weights, others = (load_file(folder / "model" / "model.safetensors") for folder in (one, other))
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    results, expected = (json.loads((folder / "results.json").read_text()) for folder in (one, other))
    assert results["dev"] == expected["dev"] and results["steps"] == expected["steps"]
    for file in sorted((other / "predictions").iterdir()):
        assert (one / "predictions" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("settings", [BY_EPOCH, BY_STEP, BY_PHASE], ids=["epoch", "step", "phase"])
def test_stopped_anywhere_in_its_evaluations_a_run_ends_the_same(
        settings: dict[str, Any], small_table: dict[str, Any], tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    small_table["train"] |= settings
    for task in small_table["tasks"].values():
        task |= {"limit": 16, "dev_limit": 8}
    run = Run.from_table(small_table)
    with monkeypatch.context() as patched:
        whole = Signal(0, patched)
        train(run, tmp_path / "whole", quiet=True)
    assert whole.reports > 6
    # The first of an evaluation and one further in; the last is of the baselines, after training.
    for at in {1, 2, whole.reports // 2, whole.reports - 1, whole.reports}:
        folder = tmp_path / f"stopped-{at}"
        with monkeypatch.context() as patched:
            signals = Signal(at, patched)
            with pytest.raises(Interrupted, match="resume=True"):
                train(run, folder, quiet=True)
        assert signals.reports == at  # nothing more was evaluated
        assert not RunFolder(folder).results.exists()
        train(run, folder, resume=True, quiet=True)
        same_run(folder, tmp_path / "whole")


def test_the_weighting_learns_once_from_an_epoch_whose_evaluation_is_stopped(
        small_table: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[WeightingModule] = []
    monkeypatch.setattr(WeightingModule, "after_epoch", lambda module: ends.append(module))
    run = Run.from_table(small_table)
    with monkeypatch.context() as patched:
        Signal(2, patched)
        with pytest.raises(Interrupted):
            train(run, tmp_path / "run", quiet=True)
    train(run, tmp_path / "run", resume=True, quiet=True)
    assert len(ends) == run.train.epochs


def test_what_a_stopped_evaluation_says_is_saved_is_all(small_table: dict[str, Any], tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.from_table(small_table)
    with monkeypatch.context() as patched:
        Signal(2, patched)
        with pytest.raises(Interrupted, match=r"stopped after step \d+, everything is saved") as stopped:
            train(run, tmp_path / "run", quiet=True)
    trained = [event["step"] for event in events_of(tmp_path / "run") if event["event"] == "step"]
    assert f"after step {trained[-1]}," in str(stopped.value)
    assert not [event for event in events_of(tmp_path / "run") if event["event"] == "evaluation"]
