"""Phases one after the other: what each takes over from the one before, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polytask.commands.check import check_run
from polytask.commands.train import train
from polytask.config import Run
from polytask.core.errors import ConfigError
from polytask.core.events import read_events
from polytask.learn.trainer import Score, Trainer
from polytask.training.build import build

AUTOMATIC = {"type": "automatic", "lr": 0.05}


def run_of(table: dict[str, Any], **train: Any) -> Run:
    table["train"] |= train
    return Run.from_table(table)


def trainer_of(table: dict[str, Any], **train: Any) -> Trainer:
    run = run_of(table, **train)
    built = build(run, quiet=True)
    return Trainer(built.model, built.training_set, run.train, run.seed, lambda: Score(0.0, {}),
                   lambda where: None)


def steps(trainer: Trainer) -> list[dict[str, Any]]:
    return [event for event in trainer.run() if event["event"] == "step"]


def test_a_kept_optimizer_keeps_the_weighting_that_is_the_same(small_table: dict[str, Any]) -> None:
    seen = steps(trainer_of(small_table, weighting=AUTOMATIC, phases=[
        {"epochs": 1}, {"epochs": 1, "keep_optimizer": True}]))
    sigma = [event["sigma"]["sst"] for event in seen]
    first = sum(event["phase"] == 0 for event in seen)
    assert abs(sigma[first] - sigma[first - 1]) < abs(sigma[first - 1] - sigma[0])  # it did not start again
    assert sigma[-1] != sigma[first]                                               # and goes on learning


def test_a_new_weighting_learns_beside_a_kept_optimizer(small_table: dict[str, Any]) -> None:
    seen = steps(trainer_of(small_table, phases=[
        {"epochs": 1}, {"epochs": 1, "keep_optimizer": True, "weighting": AUTOMATIC}]))
    assert seen[-1]["sigma"]["sst"] != 1.0


def test_a_kept_optimizer_has_the_rates_of_its_phase_and_the_moments_of_the_one_before(
    small_table: dict[str, Any]
) -> None:
    def last(**more: Any) -> tuple[float, Trainer]:
        trainer = trainer_of(small_table, phases=[{"epochs": 1}, {"epochs": 1, **more}])
        return steps(trainer)[-1]["losses"]["sst"], trainer

    kept, trainer = last(keep_optimizer=True)
    assert last(keep_optimizer=True, optimizer={"lr": 1e-6})[0] != kept
    assert last()[0] != kept  # new moments
    weight = trainer.model.encoder.layers[0].attention.query.weight
    assert trainer.optimizer.state[weight]["step"] == trainer.at.total


@pytest.mark.parametrize(("train", "said"), [
    ({"phases": [{"score": "mean"}]}, r"phases\.0\.score: one score picks"),
    ({"phases": [{}, {"keep_optimizer": True, "optimizer": {"type": "sgd"}}]},
     r'phases\.1\.keep_optimizer: "sgd" cannot continue with the state of "adamw"'),
    ({"phases": [{}, {"keep_optimizer": True, "optimizer": {"options": {"amsgrad": True}}}]},
     r'phases\.1\.keep_optimizer: .* whose type or options differ'),
    ({"phases": [{"epoch": 1}, {"bach_size": 2}]},
     r'^config: train\.phases\.0\.epoch is not a setting.*\nconfig: train\.phases\.1\.bach_size is not'),
    ({"weighting": {"type": "fixed", "weights": {"sst": 0, "quora": 0, "sts": 0}}}, "task the weight 0"),
    ({"regularizers": [{"type": "smart", "tasks": []}]}, "tasks: is an empty list"),
    ({"schedule": {"type": "annealed", "start": float("nan")}}, r"start found nan, expected a finite"),
    ({"batch_size": {"sst": 0}}, r"^config: train\.batch_size\.sst found 0, expected greater than 0$"),
    ({"optimizer": "sgd"}, r"train\.optimizer found 'sgd', expected a table$"),
    ({"optimizer": {"type": "SGD"}}, r'"SGD" is not an optimizer; did you mean "sgd"'),
    ({"regularizers": "smart"}, r"train\.regularizers found 'smart', expected a list$"),
    ({"score": "sst.pearson"}, r'train\.score: "sst\.pearson": task "sst" has no metric "pearson"'),
], ids=str)
def test_what_cannot_work_is_refused(
    train: dict[str, Any], said: str, small_table: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=said):
        build(run_of(small_table, **train), quiet=True)


def test_what_cannot_work_whatever_the_labels_is_refused_before_any_file_is_read(
    small_table: dict[str, Any]
) -> None:
    small_table["data"]["root"] = "nowhere"
    small_table["tasks"]["sts"] |= {"pairing": "cross_encoder", "head": "cosine"}
    with pytest.raises(ConfigError, match=r'tasks\.sts\.head: "cosine" compares two vectors'):
        Run.from_table(small_table)


def test_a_penalty_on_what_is_not_trained_leaves_no_folder(
    small_table: dict[str, Any], tmp_path: Path
) -> None:
    small_table["encoder"]["trainable"] = "frozen"
    run = run_of(small_table, regularizers=[{"type": "norm", "over": "encoder"}])
    with pytest.raises(ConfigError, match=r"train\.regularizers\.0: norm: over"):
        train(run, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("trainable", "train", "key"), [
    ("frozen", {"surgery": "pcgrad"}, r"train\.surgery"),
    ("frozen", {"gradient_cosines": 1}, r"train\.gradient_cosines"),
    ([0], {"surgery": {"type": "pcgrad", "layers": [1]}}, r"train\.surgery\.layers"),
], ids=str)
def test_surgery_where_the_tasks_share_nothing_is_refused(
    trainable: Any, train: dict[str, Any], key: str, small_table: dict[str, Any]
) -> None:
    small_table["encoder"]["trainable"] = trainable
    with pytest.raises(ConfigError, match=key + ": no weight there is trained by more than one task"):
        build(run_of(small_table, **train), quiet=True)


def test_check_shows_every_phase_and_the_steps_of_all(small_table: dict[str, Any], tmp_path: Path) -> None:
    run = run_of(small_table, phases=[{"epochs": 1, "tasks": ["sst"]}, {"epochs": 2, "tasks": ["sts"]}])
    said = "\n".join(check_run(run, time_steps=2, quiet=True))
    assert "phase 1 of 2, plan of the only epoch: 5 steps" in said
    assert "phase 2 of 2, plan of the first of 2 epochs: 6 steps" in said
    assert "for 17 steps of all phases" in said
    train(run, tmp_path / "run", quiet=True)
    events = list(read_events(tmp_path / "run" / "events.jsonl"))
    assert events[0]["steps"] == 17 == sum(event["event"] == "step" for event in events)


def test_penalties_are_reported_alike_however_the_step_is_cut(small_table: dict[str, Any]) -> None:
    norm = [{"type": "norm", "weight": 0.01, "over": "head"}]
    told = [steps(trainer_of(small_table, regularizers=norm, accumulate=parts, max_steps=1))[0]["penalties"]
            for parts in (1, 4)]
    assert told[0] == pytest.approx(told[1])
