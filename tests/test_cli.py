"""What people type, and what they get when it is wrong: one sentence, exit status 2, nothing lost."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from polytask.cli import main
from polytask.commands.train import train
from polytask.config import Run
from polytask.core import atomic_files
from polytask.core.registry import Family
from polytask.verbs import experiments, models, records, training


def run_cli(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Return exit status, stdout and stderr of `polytask WORDS`."""
    held = sys.argv
    sys.argv = ["polytask", *words]
    try:
        main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.argv = held
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture
def config(small_table: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    small_table["train"]["epochs"] = 1
    path.write_text(tomli_w.dumps(small_table))
    return path


def test_the_whole_path_from_check_to_predictions(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run_cli("check", str(config), "--time-steps", "1", "-q", capsys=capsys)
    assert code == 0
    assert "plan of the only epoch: 6 steps" in out
    assert "s per step, " in out
    folder = str(tmp_path / "run")
    code, out, _ = run_cli("train", str(config), "--out", folder, "-q", capsys=capsys)
    assert code == 0
    assert f"run: {folder}\nreport: {folder}/report.html\nnext: polytask predict {folder} " in out
    assert "cs224n" in out

    code, out, _ = run_cli("evaluate", folder, "--json", capsys=capsys)
    told = json.loads((tmp_path / "run" / "results.json").read_text())["dev"]
    assert json.loads(out)["scores"] == told["scores"]
    code, out, _ = run_cli("show", folder, capsys=capsys)
    assert code == 0 and "sst: sentence -> sentiment" in out

    from polytask import sample

    test = sample.root() / "quora-test.csv"
    answers = tmp_path / "answers.csv"
    for form, lines in (("csv", 151), ("cs224n", 151), ("jsonl", 150)):
        code, _, _ = run_cli("predict", folder, str(test), "--task", "quora", "--out", str(answers),
                             "--format", form, "-q", capsys=capsys)
        assert code == 0
        assert len(answers.read_text().splitlines()) == lines
    first = json.loads(answers.read_text().splitlines()[0])
    assert first["prediction"] in ("0", "1") and set(first) >= {"id", "sentence1", "sentence2", "score"}
    code, out, _ = run_cli("evaluate", folder, "--task", "quora", "--data", str(test), capsys=capsys)
    assert code == 0 and "150" in out


@pytest.mark.usefixtures("forked_commands")
def test_predict_reads_standard_input(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(Run.from_toml(config), folder, quiet=True)
    command = [sys.executable, "-m", "polytask", "predict", str(folder), "--task", "quora", "-q"]
    done = subprocess.run(command, input="A?\tB?\nC?\tD?\n", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    wrong = subprocess.run(command, input="A?\tB?\nalone\n", capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "standard input:2: found 1 field, expected 2" in wrong.stderr


# What is wrong, and what the one sentence must hold.
MISTAKES: dict[str, tuple[list[str], list[str]]] = {
    "unknown key": (["--set", "train.shedule=pcgrad"], ["train.shedule", 'did you mean "schedule"']),
    "unknown name": (["--set", "train.surgery=pcgard"], ["train.surgery", 'did you mean "pcgrad"']),
    "wrong type": (["--set", "train.epochs=many"], ["train.epochs", "'many'", "whole number"]),
    "missing file": (["--set", "tasks.sst.train=sst-trian.csv"], ["sst-trian.csv", "sst-train.csv"]),
    "missing column": (["--set", "tasks.sst.label=sentimant"], ["sentimant", "sentiment"]),
    "label out of range": (["--set", "tasks.sts.range=[0, 3]"], ["sts-train.csv:", "expected", "3"]),
    "unknown checkpoint": (["--set", "encoder.checkpoint=./nowhere"], ["./nowhere", "no such folder"]),
    "surgery of one-task steps": (
        ["--set", "train.surgery=pcgrad", "--set", "train.schedule=epoch_round_robin"],
        ["train.surgery", "one task per step", "batch_round_robin"]),
    "weights of unknown tasks": (
        ["--set", 'train.weighting={ type = "fixed", weights = { ssst = 1.0 } }'], ["ssst", '"sst"']),
    "batch size 0": (["--set", "train.batch_size=0"], ["train.batch_size"]),
    "a phase without tasks": (["--set", "train.phases=[{ tasks = [] }]"], ["train.phases.0.tasks"]),
    "mse with classes": (["--set", "tasks.sst.loss=mean_squared_error"],
                         ["tasks.sst.loss", "regression"]),
    "cosine head of a cross-encoded pair": (["--set", "tasks.quora.head=cosine"],
                                     ["tasks.quora.head", "bi_encoder"]),
    "contrastive and cross-encoder": (["--set", "tasks.quora.loss=multiple_negatives"],
                               ["tasks.quora.loss", "bi_encoder"]),
    "layers that do not exist": (["--set", "encoder.trainable=[7]"], ["7", "0 to 1"]),
    "class weights of the wrong length": (
        ["--set", 'tasks.sst.loss={ type = "cross_entropy", class_weights = [1, 2] }'], ["2", "5"]),
    "a probability outside [0, 1)": (["--set", "encoder.dropout=1.0"], ["encoder.dropout", "less than 1"]),
    "frozen and smart": (["--set", "encoder.trainable=frozen", "--set", "train.regularizers=[\"smart\"]"],
                         ["train.regularizers.0", "frozen"]),
    "unknown torchjd name": (["--set", "train.surgery=torchjd:UPGard"], ["UPGrad"]),
    "a score of no task": (["--set", "train.score=sts.pearson + stt.accuracy"], ["train.score"]),
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_a_mistake_is_one_sentence_and_leaves_nothing_behind(
    mistake: str, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, holds = MISTAKES[mistake]
    code, out, err = run_cli("check", str(config), *words, "-q", "--time-steps", "0", capsys=capsys)
    assert code == 2, out
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line]
    assert len(lines) == 1, err
    for part in holds:
        assert part in err


def test_all_mistakes_are_reported_at_once(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run_cli("check", str(config), "--set", "train.epoch=1", "--set", "sed=1",
                           "--set", "tasks.sst.head=linaer", capsys=capsys)
    assert code == 2
    assert len(err.strip().splitlines()) == 3


def test_an_existing_run_is_refused_and_another_config_too(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "run")
    assert run_cli("train", str(config), "--out", folder, "-q", capsys=capsys)[0] == 0
    code, _, err = run_cli("train", str(config), "--out", folder, "-q", capsys=capsys)
    assert code == 2 and "--resume" in err
    code, _, err = run_cli("train", str(config), "--out", folder, "--resume", "--set", "seed=4", "-q",
                           capsys=capsys)
    assert code == 2 and "another config: seed was 3 and is now 4" in err
    code, _, err = run_cli("evaluate", str(tmp_path), capsys=capsys)
    assert code == 2 and "is not a run" in err
    code, _, err = run_cli("predict", str(tmp_path), "--task", "sst", capsys=capsys)
    assert code == 2 and "has no model" in err


def test_a_resume_of_no_run_is_reported(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                        ) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "config.toml").write_text("")
    words = ("train", str(config), "--resume", "-q", "--set", "train.max_steps=1", "--out")
    code, _, err = run_cli(*words, str(tmp_path / "frist"), capsys=capsys)
    assert code == 0
    assert '/frist: has no run to resume, so a new one begins; did you mean "first"?\n' in err
    assert "has no run" not in run_cli(*words, str(tmp_path / "frist"), capsys=capsys)[2]


def test_an_empty_out_is_refused_by_every_verb_that_has_one(capsys: pytest.CaptureFixture[str]) -> None:
    with_out = [command.name or command.callback.__name__
                for group in (training, models, experiments, records)
                for command in group.verbs.registered_commands
                if command.callback and "out" in inspect.signature(command.callback).parameters]
    assert {"train", "demo", "predict", "export", "compare", "sweep", "report", "log"} <= {*with_out}
    for verb in with_out:
        for empty in ("", " "):
            code, _, err = run_cli(verb, "a", "--out", empty, capsys=capsys)
            said = f'polytask: --out: found "{empty}", expected a path; "." is the current folder\n'
            assert (code, err) == (2, said), verb


def test_an_empty_file_and_a_header_alone(config: Path, tmp_path: Path,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    for content, said in (("", "is empty"), ("sentence\tsentiment\n", "no rows")):
        (tmp_path / "bad.csv").write_text(content)
        code, _, err = run_cli("check", str(config), "--set", f"tasks.sst.train={tmp_path}/bad.csv",
                               capsys=capsys)
        assert code == 2 and said in err and "bad.csv" in err


def test_a_checkpoint_cut_short(config: Path, tiny_checkpoint: Path, tmp_path: Path,
                                capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(tiny_checkpoint, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    code, _, err = run_cli("check", str(config), "--set", f"encoder.checkpoint={broken}", capsys=capsys)
    assert code == 2 and "model.safetensors" in err and len(err.strip().splitlines()) == 1

    folder = tmp_path / "run"
    assert run_cli("train", str(config), "--out", str(folder), "-q", capsys=capsys)[0] == 0
    state = folder / "checkpoints" / "last" / "tensors.safetensors"
    state.write_bytes(state.read_bytes()[:5000])
    (folder / "results.json").unlink()
    code, _, err = run_cli("train", str(config), "--out", str(folder), "--resume", "-q", capsys=capsys)
    assert code == 2 and "checkpoint cannot be read" in err


def test_a_full_disk_while_saving_keeps_the_last_checkpoint(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    flush, saves = atomic_files._flush, 0

    def full(path: Path) -> None:
        nonlocal saves
        if path.name == "tensors.safetensors":
            saves += 1
            if saves > 1:
                raise OSError(28, os.strerror(28))
        flush(path)

    monkeypatch.setattr(atomic_files, "_flush", full)
    code, _, err = run_cli("train", str(config), "--out", str(folder), "-q", "--set", "train.save_every=2",
                           capsys=capsys)
    assert code == 2 and "the disk is full" in err
    monkeypatch.setattr(atomic_files, "_flush", flush)
    code, _, err = run_cli("train", str(config), "--out", str(folder), "-q", "--resume",
                           "--set", "train.save_every=2", capsys=capsys)
    assert code == 0, err
    whole = tmp_path / "whole"
    run_cli("train", str(config), "--out", str(whole), "-q", "--set", "train.save_every=2", capsys=capsys)
    part = "checkpoints/last/tensors.safetensors"
    assert (whole / part).read_bytes() == (folder / part).read_bytes()


def test_a_loss_that_is_not_finite_stops_the_run_and_names_step_and_task(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    words = ("train", str(config), "--out", str(folder), "-q", "--set", "train.optimizer.lr=1e30",
             "--set", "train.save_every=1", "--set", "train.optimizer.warmup=0.0")
    code, _, err = run_cli(*words, capsys=capsys)
    assert code == 2
    assert "step 1: the norm of the weights is inf" in err
    assert not (folder / "checkpoints").exists()  # nothing that is not finite is saved


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("init", "check", "train", "evaluate", "predict", "list", "show"):
        code, out, _ = run_cli(verb, "--help", capsys=capsys)
        assert code == 0 and "Example" in out


def test_a_list_that_a_program_reads_is_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    code, out, _ = run_cli("list", "losses", capsys=capsys)
    assert code == 0 and "…" not in out
    (own,) = [line for line in out.splitlines() if "ordinal_log_loss" in line]
    assert "alpha=1.5" in own and own.rstrip().endswith("│"), own


def test_list_as_json_has_every_family(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run_cli("list", "--json", capsys=capsys)
    told = json.loads(out)
    assert code == 0
    own = {member.name for family in Family.all.values() for member in family.members.values()
           if not member.__module__.startswith("polytask.")}  # of other tests, without a source
    for family, members in told.items():
        for member in members:
            if member["name"] in own:
                continue
            said = member["kinds"] if family == "metrics" else member["source"]
            assert member["doc"] and said, (family, member["name"])
            assert all(field["doc"] for field in member["fields"]), (family, member["name"])
    assert run_cli("list", "lossses", capsys=capsys)[2].count('did you mean "losses"') == 1


def test_a_refused_training_leaves_no_folder_behind(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    code, _, _ = run_cli("train", str(config), "--out", str(folder), "-q", "--set",
                         "tasks.sst.loss=mean_squared_error", capsys=capsys)
    assert code == 2
    assert not folder.exists()
