"""Any schedule with any weighting, with and without surgery: it trains, and it resumes exactly."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from polytask.config import Run
from polytask.learn.checkpoint import load_checkpoint, random_state, save_checkpoint, set_random_state
from polytask.learn.microbatch import TaskRows
from polytask.learn.schedules.contract import schedule
from polytask.learn.step import Step
from polytask.learn.surgery.pcgrad import PCGrad
from polytask.learn.train_settings import Train
from polytask.learn.trainer import Score, Trainer
from polytask.learn.weightings.automatic import Automatic
from polytask.learn.weightings.contract import weighting
from polytask.learn.weightings.sum import Sum
from polytask.training.build import Built, build

SCHEDULES: dict[str, Any] = {name: name for name in schedule.members if ":" not in name}
SCHEDULES["biased"] = {"type": "biased", "weights": {"sst": 1.0, "quora": 1.7, "sts": 1.0}, "draws": 2}
WEIGHTINGS: dict[str, Any] = {name: name for name in weighting.members
                              if name != "torchjd" and ":" not in name}
WEIGHTINGS["fixed"] = {"type": "fixed", "weights": {"sst": 0.1, "quora": 1.0, "sts": 0.2}}


@pytest.fixture(scope="module")
def built_once(constant_table: dict[str, Any]) -> Built:
    table = constant_table | {"encoder": constant_table["encoder"] | {"dropout": 0.1}}
    return build(Run.from_table(table), quiet=True)


@pytest.fixture
def built(built_once: Built) -> Built:
    """The data of three tasks, which nobody changes, and a network of the test's own."""
    return dataclasses.replace(built_once, model=copy.deepcopy(built_once.model))


def trainer_of(built: Built, train: Train) -> Trainer:
    copied = dataclasses.replace(built, model=copy.deepcopy(built.model))
    return Trainer(copied.model, built.training_set, train, 7, lambda: Score(0.0, {}), lambda where: None)


def advance(trainer: Trainer, steps: int) -> None:
    events: Iterator[dict[str, Any]] = trainer.run()
    while steps:
        steps -= next(events)["event"] == "step"


@pytest.mark.parametrize("surgery", [None, "pcgrad"], ids=str)
@pytest.mark.parametrize("planned", SCHEDULES, ids=str)
def test_every_schedule_with_every_weighting_resumes_bit_for_bit(
    planned: str, surgery: str | None, built: Built, tmp_path: Path
) -> None:
    for name, weighed in WEIGHTINGS.items():
        table = {"schedule": SCHEDULES[planned], "weighting": weighed, "batch_size": 6, "epochs": 2}
        train = Train(**(table | ({"surgery": surgery} if surgery else {})))
        torch.manual_seed(1)
        whole = trainer_of(built, train)
        advance(whole, 3)
        save_checkpoint(tmp_path / name, whole.state())
        advance_same = whole.run()
        steps = 0
        while steps < 2:
            steps += next(advance_same)["event"] == "step"
        torch.manual_seed(99)  # another process has other random numbers behind it
        resumed = trainer_of(built, train)
        resumed.load(load_checkpoint(tmp_path / name))
        advance(resumed, 2)
        ours, theirs = resumed.model.state_dict(), whole.model.state_dict()
        assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == [], (planned, name)
        held, kept = resumed.weighting.state_dict(), whole.weighting.state_dict()
        assert all(torch.equal(held[key], kept[key]) for key in kept)
        moved = built.model.state_dict()
        assert any(not torch.equal(ours[key], moved[key]) for key in ours)


@pytest.mark.parametrize("table", [
    {"surgery": "torchjd:GradVac"}, {"surgery": {"type": "torchjd:PCGrad", "every": 2, "layers": [0, -1]}},
    {"weighting": "torchjd:DWA"}, {"weighting": "torchjd:FAMO"},
], ids=str)
def test_rules_of_torchjd_resume_bit_for_bit(table: dict[str, Any], built: Built, tmp_path: Path) -> None:
    pytest.importorskip("torchjd")
    train = Train(schedule="balanced", batch_size=6, epochs=2, **table)
    torch.manual_seed(1)
    whole = trainer_of(built, train)
    advance(whole, 3)
    save_checkpoint(tmp_path / "at", whole.state())
    advance(whole, 2)
    torch.manual_seed(99)
    resumed = trainer_of(built, train)
    resumed.load(load_checkpoint(tmp_path / "at"))
    advance(resumed, 2)
    ours, theirs = resumed.model.state_dict(), whole.model.state_dict()
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []


def gradients(built: Built, **options: Any) -> dict[str, Tensor]:
    model = built.model.eval()  # without dropout, so that passes of other shapes give the same numbers
    model.zero_grad()
    weighing = options.pop("weighting", Sum()).build(list(built.tasks), {})
    step = Step(model, built.training_set, weighing, **options)
    draws = [TaskRows(task, torch.arange(8).numpy()) for task in built.tasks]
    step(draws, 0, want_cosines=options.get("surgery") is None and options.get("accumulate", 1) == 3)
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("weighed", [Sum(), Automatic()], ids=["sum", "automatic"])
@pytest.mark.parametrize("surgery", [None, PCGrad()], ids=["plain", "pcgrad"])
def test_accumulated_parts_give_the_gradient_of_the_whole(
    weighed: Any, surgery: Any, built: Built
) -> None:
    """Cutting an update into parts changes nothing beyond rounding, under surgery as well."""
    whole = gradients(built, weighting=weighed, surgery=surgery)
    for parts in (2, 3):  # with 3, and no surgery, the tasks also go one by one, for their cosines
        cut = gradients(built, weighting=weighed, surgery=surgery, accumulate=parts)
        assert cut.keys() == whole.keys()
        for name, value in whole.items():
            torch.testing.assert_close(cut[name], value, rtol=2e-4, atol=2e-6, msg=name)


def test_cosines_are_recorded_without_surgery(built: Built) -> None:
    trainer = trainer_of(built, Train(gradient_cosines=2, batch_size=8, epochs=1))
    events = [event for event in trainer.run() if event["event"] == "step"]
    with_cosines = [event for event in events if "cosines" in event]
    assert len(with_cosines) == (len(events) + 1) // 2
    for event in with_cosines:
        assert set(event["cosines"]) == {"sst/quora", "sst/sts", "quora/sts"}
        assert all(-1.0001 <= value <= 1.0001 for value in event["cosines"].values())


def test_the_random_state_is_all_that_dropout_draws_from(built: Built) -> None:
    built.model.train()
    batch, _ = built.training_set.batch([("sst", torch.arange(4).numpy())])
    before = random_state()
    first = built.model(batch)[0].logits
    set_random_state(before)
    assert torch.equal(first, built.model(batch)[0].logits)
    assert not torch.equal(first, built.model(batch)[0].logits)
