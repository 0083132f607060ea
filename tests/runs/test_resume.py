"""Stopped and resumed equals never stopped, byte for byte."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from safetensors.torch import load_file

from custom_loss import FOCAL
from polytask.commands.train import train
from polytask.config import Run
from polytask.core.errors import Interrupted, RunError
from polytask.core.events import read_events
from polytask.learn import trainer


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoints" / "last" / "tensors.safetensors")


def steps(folder: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in event.items() if key != "seconds"}
            for event in read_events(folder / "events.jsonl") if event["event"] == "step"]


def train_until(run: Run, folder: Path, update: int, resume: bool = False) -> None:
    """Train, and end as if interrupted in that update."""
    run_step, steps_done = trainer.Trainer._update, 0

    def stop_early(self: Any, *args: Any) -> Any:
        nonlocal steps_done
        steps_done += 1
        if steps_done == update:
            raise KeyboardInterrupt
        return run_step(self, *args)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trainer.Trainer, "_update", stop_early)
        with pytest.raises(KeyboardInterrupt):
            train(run, folder, resume=resume, quiet=True)


def assert_same(a: Path, b: Path) -> None:
    """The whole state, and what was written on the way, is equal bit for bit."""
    first, second = weights(a), weights(b)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert steps(a) == steps(b)
    for part in ("model/model.safetensors", "model/heads/sst/model.safetensors"):
        assert (a / part).read_bytes() == (b / part).read_bytes()


VARIANTS: dict[str, dict[str, Any]] = {
    "bf16 products": {"precision": "bf16"},
    "plain": {},
    "pcgrad-automatic": {"surgery": "pcgrad", "weighting": {"type": "automatic", "lr": 1e-2}},
    "smart-ema-accumulate": {
        "regularizers": [{"type": "smart", "tasks": ["sst"], "bregman": 0.1},
                         {"type": "norm", "weight": 1e-4}],
        "ema": 0.9, "accumulate": 2,
    },
    "phases": {"phases": [{"tasks": ["sst"], "schedule": "sequential", "epochs": 1},
                          {"epochs": 1, "surgery": "pcgrad", "optimizer": {"lr": 1e-4}}]},
    "phases-that-go-on": {"phases": [
        {"epochs": 1, "weighting": {"type": "automatic", "lr": 1e-2}},
        {"epochs": 1, "weighting": {"type": "automatic", "lr": 1e-2}, "keep_optimizer": True}]},
    "annealed-drawn": {"schedule": {"type": "annealed", "draws": 2}, "evaluate_every": 3},
}


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_interrupted_and_resumed_equals_uninterrupted(
    variant: str, small_table: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_table["train"] |= VARIANTS[variant]
    run = Run.from_table(small_table)
    train(run, tmp_path / "whole", quiet=True)

    # Ctrl-C in the middle of the second epoch: the handler sets a flag, the loop saves and stops.
    update = trainer.Trainer._update
    seen = 0

    def interrupted(self: trainer.Trainer, step: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == 8:
            os.kill(os.getpid(), signal.SIGINT)
        return update(self, step)

    monkeypatch.setattr(trainer.Trainer, "_update", interrupted)
    with pytest.raises(Interrupted, match=r"resume=True"):
        train(run, tmp_path / "cut", quiet=True)
    monkeypatch.setattr(trainer.Trainer, "_update", update)
    assert len(steps(tmp_path / "cut")) == 8
    train(run, tmp_path / "cut", resume=True, quiet=True)
    assert_same(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.usefixtures("forked_commands")
def test_kill_in_the_middle_of_an_epoch_with_two_threads(
    small_table: dict[str, Any], tmp_path: Path
) -> None:
    small_table["train"] |= {"epochs": 8, "save_every": 2}
    config = tmp_path / "config.toml"
    config.write_text(tomli_w.dumps(small_table))

    def start(out: Path, *more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "polytask", "train", str(config), "--out", str(out), "-q", *more]
        more_threads = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}
        return subprocess.Popen(command, env=os.environ | more_threads)

    assert start(tmp_path / "whole").wait(240) == 0
    killed = start(tmp_path / "killed")
    log = tmp_path / "killed" / "events.jsonl"
    saved = tmp_path / "killed" / "checkpoints" / "last" / "state.json"
    deadline = time.monotonic() + 200
    while not (saved.exists() and log.exists() and log.read_bytes().count(b'"step"') > 12):
        assert killed.poll() is None, "the training ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    assert start(tmp_path / "killed", "--resume").wait(240) == 0
    assert_same(tmp_path / "whole", tmp_path / "killed")


def test_a_component_that_was_edited_is_told_on_resume(
    small_table: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    part = tmp_path / "edited_part.py"
    part.write_text(FOCAL, encoding="utf-8")
    small_table["tasks"]["sst"]["loss"] = "edited_part:Focal"
    small_table["train"] |= {"save_every": 1}
    run = Run.from_table(small_table)
    train_until(run, tmp_path / "run", 3)
    train_until(run, tmp_path / "run", 1, resume=True)
    assert "changed since this run began" not in capsys.readouterr().err
    part.write_text(f"{FOCAL}\n# another\n", encoding="utf-8")
    train(run, tmp_path / "run", resume=True, quiet=True)
    assert 'note: "edited_part" changed since this run began' in capsys.readouterr().err


def test_events_beyond_the_checkpoint_are_cut_off(small_table: dict[str, Any], tmp_path: Path) -> None:
    run = Run.from_table(small_table)
    train(run, tmp_path / "run", quiet=True)
    log = tmp_path / "run" / "events.jsonl"
    before = log.read_text()
    log.write_text(before + json.dumps({"event": "step", "step": 999}) + "\n{half a li")
    (tmp_path / "run" / "results.json").unlink()
    train(run, tmp_path / "run", resume=True, quiet=True)
    assert [e for e in read_events(log) if e.get("step") == 999] == []


def test_a_training_cut_by_max_steps_is_evaluated_and_keeps_its_model(
    small_table: dict[str, Any], tmp_path: Path
) -> None:
    small_table["train"] |= {"max_steps": 2, "early_stopping": 1, "train_metrics": True,
                             "best_per_task": True}
    result = train(Run.from_table(small_table), tmp_path / "run", quiet=True)
    events = list(read_events(tmp_path / "run" / "events.jsonl"))
    assert [event["event"] for event in events] == ["start", "step", "step", "evaluation", "end"]
    assert set(events[3]["train"]) == set(result.evaluation.scores)
    assert (tmp_path / "run" / "best" / "sts" / "tasks.json").is_file()


def test_a_resume_of_a_finished_run_changes_nothing(small_table: dict[str, Any], tmp_path: Path) -> None:
    run = Run.from_table(small_table)
    first = train(run, tmp_path / "run", quiet=True)

    def state() -> dict[str, tuple[int, bytes]]:
        return {str(path): (path.stat().st_mtime_ns, path.read_bytes())
                for path in (tmp_path / "run").rglob("*") if path.is_file()}

    before = state()
    again = train(run, tmp_path / "run", resume=True, quiet=True)
    assert state() == before
    assert str(again) == str(first)


@pytest.mark.parametrize("change", [
    lambda text: text.replace(",no", ",never"), lambda text: text + "one more,maybe\n",
    lambda text: text.replace("text 3,", "text three,")], ids=["classes", "a class more", "a text"])
def test_a_resume_refuses_data_that_have_changed(change: Any, small_table: dict[str, Any],
                                                 tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    content = "text,label\n" + "".join(f"text {n},{('no', 'yes')[n % 2]}\n" for n in range(40))
    rows.write_text(content)
    small_table["data"]["root"] = str(tmp_path)
    small_table["tasks"] = {"a": {"train": "rows.csv", "text": "text", "label": "label"}}
    small_table["train"] = {"epochs": 2, "batch_size": 4, "save_every": 1}
    run = Run.from_table(small_table)
    train_until(run, tmp_path / "run", update=4)
    rows.write_text(change(content))
    with pytest.raises(RunError, match=r"rows\.csv: has changed since this run began; give another --out"):
        train(run, tmp_path / "run", resume=True, quiet=True)
    rows.write_text(content)
    assert train(run, tmp_path / "run", resume=True, quiet=True).evaluation.rows == {"a": 4}


def test_a_resume_refuses_a_tokenizer_that_has_changed(small_table: dict[str, Any], tmp_path: Path,
                                                       tiny_checkpoint: Path) -> None:
    shutil.copytree(tiny_checkpoint, tmp_path / "encoder")
    small_table["encoder"]["checkpoint"] = str(tmp_path / "encoder")
    small_table["train"] |= {"epochs": 1, "save_every": 1, "max_steps": 4}
    run = Run.from_table(small_table)
    train_until(run, tmp_path / "run", update=3)
    words = tmp_path / "encoder" / "tokenizer.json"
    before = words.read_text(encoding="utf-8")
    words.write_text(before.replace('"lowercase": true', '"lowercase": false', 1) + "\n", encoding="utf-8")
    with pytest.raises(RunError, match=r"tokenizer\.json: has changed since this run began, so texts"):
        train(run, tmp_path / "run", resume=True, quiet=True)
    words.write_text(before, encoding="utf-8")
    assert train(run, tmp_path / "run", resume=True, quiet=True).evaluation.rows
