"""Single-task baselines: what a task has alone is what it has in the base row."""

from __future__ import annotations

from typing import Any

from polytask.core.settings import from_table
from polytask.learn.phase_plan import phases_of
from polytask.learn.train_settings import Train
from polytask.studies.single_task import is_limited, single_rows
from polytask.studies.study import StudyRow

ROWS = {"a": 8000, "b": 1000, "c": 600}


def planned(train: dict[str, Any], rows: dict[str, int]) -> list[dict[str, int]]:
    """The updates of each task in each phase."""
    return [plan.counts.updates for plan in phases_of(from_table(Train, train, ""), rows, 3)]


def alone(train: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the training settings of each task's single-task run."""
    base = StudyRow("base", {"tasks": {task: {} for task in ROWS}, "train": train})
    plans = phases_of(from_table(Train, train, ""), ROWS, 3)
    return {row.single: row.config["train"] for row in single_rows(base, plans)}


def test_under_max_steps_a_task_alone_has_the_updates_that_it_has_in_the_base_row() -> None:
    train = {"schedule": "proportional", "max_steps": 300, "epochs": 5, "evaluate_every": 30}
    (joint,) = planned(train, ROWS)
    assert sum(joint.values()) == 300 and joint["a"] > 10 * joint["b"]
    for task, settings in alone(train).items():
        assert settings == {"max_steps": joint[task], "epochs": 5, "evaluate_every": 30}
        assert planned(settings, {task: ROWS[task]}) == [{task: joint[task]}]


def test_a_task_alone_has_more_epochs_where_its_updates_need_them() -> None:
    train = {"schedule": "biased", "max_steps": 900, "epochs": 2}
    (joint,) = planned(train, ROWS)
    settings = alone(train)
    assert settings["c"]["epochs"] > 2
    for task, each in settings.items():
        assert planned(each, {task: ROWS[task]}) == [{task: joint[task]}]


def test_a_phase_that_max_steps_ends_has_its_own_updates_and_the_others_their_epochs() -> None:
    train = {"schedule": "proportional", "phases": [
        {"epochs": 1}, {"tasks": ["a", "b"], "max_steps": 100}, {"max_steps": 40, "epochs": 2}]}
    joint = planned(train, ROWS)
    settings = alone(train)
    assert settings["a"]["phases"] == [
        {"epochs": 1}, {"max_steps": joint[1]["a"]}, {"max_steps": joint[2]["a"], "epochs": 2}]
    assert settings["c"]["phases"] == [{"epochs": 1}, {"max_steps": joint[2]["c"], "epochs": 2}]


def test_a_task_that_the_base_row_never_draws_has_one_update() -> None:
    assert alone({"schedule": "sequential", "max_steps": 5})["c"]["max_steps"] == 1


def test_without_max_steps_the_number_of_epochs_is_that_of_the_base_row() -> None:
    train = {"schedule": "proportional", "epochs": 5, "phases": [{"tasks": ["a", "b"]}, {"epochs": 1}]}
    assert not is_limited(from_table(Train, train, ""))
    assert is_limited(from_table(Train, {"phases": [{"max_steps": 3}]}, ""))
    base = StudyRow("base", {"tasks": {task: {} for task in ROWS}, "train": train})
    both = {"epochs": 5, "phases": [{}, {"epochs": 1}]}
    assert alone(train) == {row.single: row.config["train"] for row in single_rows(base)} == {
        "a": both, "b": both, "c": {"epochs": 5, "phases": [{"epochs": 1}]}}
