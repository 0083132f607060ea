"""A run beside its readers: they change nothing and see whole models; after a kill nothing is left."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import tomli_w

from networks import tiny_bert
from polytask import sample
from polytask.commands.show import show_run
from polytask.commands.train import train
from polytask.config import Run
from polytask.core.errors import CheckpointError, RunError
from polytask.data.labels import Labels
from polytask.inference.predictor import load
from polytask.losses.cross_entropy import CrossEntropy
from polytask.model.poolings.mean import Mean
from polytask.report.record import read_run
from polytask.tasks.model_folder import load_model, new_model, save_model
from polytask.tasks.resolved_task import resolve
from polytask.tasks.task import Task

_SAVES = """
import sys, time
from polytask.tasks.model_folder import load_model, save_model
held = load_model(sys.argv[1])
while True:
    save_model(held.model, held.tasks, held.tokenizer, sys.argv[1], {}, "card")
    time.sleep(0.02)
"""


@pytest.fixture
def short(small_table: dict[str, Any]) -> dict[str, Any]:
    small_table["train"] |= {"max_steps": 2}
    return small_table


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_ino)
            for path in sorted(folder.rglob("*"))}


def asides(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob(".*") if path.name != ".lock"]


def test_readers_leave_a_run_as_it_is_even_between_the_renames_of_a_save(
        short: dict[str, Any], tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(Run.from_table(short), run, quiet=True)
    (run / "model").rename(run / ".model.old")  # where a save stands between its two renames
    before = listing(run)
    assert load(run).predict("sst", ["A gem."])
    assert any("cs224n" in line for line in show_run(run))
    assert set(read_run(run).tasks) == {"sst", "quora", "sts"}
    assert listing(run) == before


def small_model(folder: Path) -> None:
    """Write a model folder that is read in milliseconds."""
    words = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5}
    tokenizer = folder.parent / "tokenizer.json"
    tokenizers.Tokenizer(tokenizers.models.WordPiece(words, unk_token="[UNK]")).save(str(tokenizer))
    task = Task(train="x.csv", text=("text",), label="label", loss=(CrossEntropy(),))
    tasks = {"sst": resolve("sst", task, Labels("classes", ("a", "b", "c")), None, 32)}
    model = new_model(tiny_bert(), tasks, Mean())
    save_model(model, tasks, tokenizer, folder, {}, "card")


@pytest.mark.usefixtures("forked_commands")
def test_models_are_opened_while_another_process_saves_them_in_a_loop(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    small_model(folder)
    first = folder.stat().st_ino
    writer = subprocess.Popen([sys.executable, "-c", _SAVES, str(folder)])
    try:
        deadline = time.monotonic() + 60
        while folder.exists() and folder.stat().st_ino == first and time.monotonic() < deadline:
            time.sleep(0.05)
        versions = set()
        for _ in range(60):
            held = load_model(folder)
            assert list(held.tasks) == ["sst"] and held.tokenizer == folder / "tokenizer.json"
            versions.add(folder.stat().st_mtime_ns if folder.exists() else 0)
        assert len(versions) > 1
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.wait()


@pytest.mark.usefixtures("forked_commands")
def test_nothing_is_left_behind_after_a_kill_and_a_resume(short: dict[str, Any], tmp_path: Path) -> None:
    """Killed at the rename of a checkpoint, with the files of other kills beside it."""
    config, run = tmp_path / "config.toml", tmp_path / "run"
    config.write_text(tomli_w.dumps(short))
    killed = ("import os, sys\nfrom polytask.core import atomic_files\nfrom pathlib import Path\n"
              "rename = Path.rename\n"
              "def kill(path, target):\n"
              "    rename(path, target)\n"
              "    if '.last.' in path.name: os.kill(os.getpid(), 9)\n"
              "Path.rename = kill\n"
              "from polytask.commands.train import train\nfrom polytask.config import Run\n"
              "train(Run.from_toml(sys.argv[1]), sys.argv[2], quiet=True)\n")
    ended = subprocess.run([sys.executable, "-c", killed, str(config), str(run)], check=False,
                           capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert ended.returncode == -9
    for name in (".model.ab12cd34.aside", "checkpoints/.last.ab12cd34.aside", ".data.json.ab12cd34.aside"):
        (run / name).mkdir()
    train(Run.from_toml(config), run, resume=True, quiet=True)
    assert asides(run) == []
    assert (run / "results.json").is_file()


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_killed_before_its_config_was_written_is_started(
        short: dict[str, Any], tmp_path: Path, resume: bool) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / ".config.toml.ab12cd34.aside").write_text("se")
    train(Run.from_table(short), run, resume=resume, quiet=True)
    assert asides(run) == [] and (run / "results.json").is_file()


def test_a_strangers_folder_does_not_lead_outside(short: dict[str, Any], tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(Run.from_table(short), run, quiet=True)
    tasks = run / "model" / "tasks.json"
    text = tasks.read_text()
    tasks.write_text(text.replace('"sst": {', '"../../x": {', 1))
    with pytest.raises(CheckpointError, match=r"task '\.\./\.\./x' is not made of letters"):
        load_model(run)
    for wrong in ("[]", '{"schema": 1, "tasks": {}}', '{"schema": 1, "tasks": {"sst": 3}}', "{"):
        tasks.write_text(wrong)
        with pytest.raises(CheckpointError, match=r"tasks\.json"):
            load_model(run)
    tasks.unlink()
    tasks.symlink_to("/dev/zero")
    with pytest.raises(RunError):
        load(run)
    (run / "config.toml").write_text((run / "config.toml").read_text().replace("[tasks.sst]",
                                                                               '[tasks."../../x"]'))
    with pytest.raises(RunError, match="is not made of letters"):
        read_run(run)


@pytest.mark.technique("G-30")
def test_scores_on_training_rows_are_of_the_training_rows(short: dict[str, Any], tmp_path: Path) -> None:
    short["tasks"] = {"sst": short["tasks"]["sst"] | {"limit": 600, "metrics": ["accuracy"]}}
    short["train"] |= {"epochs": 1, "max_steps": 12, "train_metrics": True, "score": "sst.accuracy"}
    train(Run.from_table(short), tmp_path / "run", quiet=True)
    (event,) = read_run(tmp_path / "run").evaluations
    with (sample.root() / "sst-train.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    answers = load(tmp_path / "run").predict("sst", [row["sentence"] for row in rows])
    right = sum(answer.label == row["sentiment"] for answer, row in zip(answers, rows, strict=True))
    assert event["train"]["sst"]["accuracy"] == pytest.approx(right / len(rows), abs=2e-3)
    assert event["train"]["sst"] != event["dev"]["sst"]


def test_damaged_results_are_reported_by_show(short: dict[str, Any], tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(Run.from_table(short), run, quiet=True)
    for wrong in ('{"dev": 3}', "{}", "["):
        (run / "results.json").write_text(wrong)
        with pytest.raises(RunError, match=r"results\.json: "):
            list(show_run(run))


@pytest.mark.parametrize(("pooling", "said"), [
    ({"type": "mean", "": None}, "pooling"), ({"type": "maen"}, 'did you mean "mean"'),
    ({}, "expected the name"), (None, "expected the name"),
])
def test_a_model_folder_whose_pooling_is_none_is_refused(
        served_run: Path, tmp_path: Path, pooling: object, said: str) -> None:
    folder = shutil.copytree(served_run / "model", tmp_path / "model")
    about = folder / "heads" / "stars" / "config.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"pooling": pooling}))
    with pytest.raises(CheckpointError, match=said) as refused:
        load_model(folder)
    assert str(about) in str(refused.value) and "\n" not in str(refused.value)
