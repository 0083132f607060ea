"""`[train]`: phases over the keys above them, batch sizes, and the mistakes that are told at once."""

from __future__ import annotations

from typing import Any

import pytest

from polytask.core.errors import ConfigError
from polytask.core.settings import from_table, to_table
from polytask.learn.schedules.sequential import Sequential
from polytask.learn.surgery.pcgrad import PCGrad
from polytask.learn.train_settings import Train


def read(**table: Any) -> Train:
    return from_table(Train, table, "run.toml", "train")


def test_without_phases_the_settings_are_the_one_phase() -> None:
    train = read(epochs=4)
    assert train.resolved() == (train,)
    assert train.placed() == (("train", train),)


def test_a_phase_overrides_keys_and_of_the_optimizer_single_ones() -> None:
    train = read(epochs=4, batch_size=8, surgery="pcgrad",
                 optimizer={"lr": 1e-3, "clip": 1.0, "layer_decay": 0.9},
                 phases=[{"epochs": 1}, {"schedule": "sequential", "optimizer": {"lr": 1e-5}}])
    first, second = train.resolved()
    assert (first.epochs, second.epochs) == (1, 4)
    assert (first.optimizer.lr, second.optimizer.lr) == (1e-3, 1e-5)
    assert second.optimizer.clip == 1.0 and second.optimizer.layer_decay == 0.9
    assert second.schedule == Sequential() and first.surgery == second.surgery == PCGrad()
    assert first.phases == second.phases == ()
    assert [place for place, _ in train.placed()] == ["train.phases.0", "train.phases.1"]


def test_the_mistakes_of_all_phases_are_reported_at_once_with_their_places() -> None:
    train = read(phases=[{"epoch": 1}, {"epochs": 2}, {"optimizer": {"lr": -1.0}}])
    with pytest.raises(ConfigError) as error:
        train.resolved()
    said = str(error.value)
    assert "train.phases.0" in said and 'did you mean "epochs"?' in said
    assert "train.phases.2.optimizer" in said and "train.phases.1" not in said


@pytest.mark.parametrize(("phase", "said"), [
    ({"phases": []}, "phases.0.phases: a phase has no phases of its own"),
    ({"score": "mean"}, "phases.0.score: one score picks the best model of all phases"),
])
def test_what_belongs_to_the_whole_training_is_not_a_key_of_a_phase(phase: Any, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(phases=[phase]).resolved()
    assert said in str(error.value)


def test_batch_sizes_are_one_number_or_one_a_task() -> None:
    tasks = ("sst", "quora")
    assert read(batch_size=4).batch_sizes(tasks) == {"sst": 4, "quora": 4}
    assert read(batch_size={"quora": 32}).batch_sizes(tasks) == {"sst": 16, "quora": 32}


def test_settings_survive_their_table() -> None:
    train = read(epochs=4, weighting={"type": "automatic", "lr": 1e-4}, surgery="pcgrad",
                 regularizers=["smart", {"type": "norm", "p": 1}], batch_size={"sst": 4},
                 phases=[{"epochs": 1}])
    assert from_table(Train, to_table(train), "") == train


@pytest.mark.parametrize(("table", "said"), [
    ({"epochs": 0}, "epochs found 0"), ({"ema": 1.0}, "ema found 1.0"), ({"accumulate": 0}, "accumulate"),
    ({"precision": "fp16"}, "precision"), ({"epochs": 10_001}, "less than or equal to 10000"),
    ({"max_steps": 10**12}, "max_steps found"), ({"batch_size": {"sst": 0}}, "batch_size"),
])
def test_values_that_cannot_be_are_refused(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read(**table)
