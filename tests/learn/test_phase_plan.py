"""A plan knows which tasks it never draws, and how far `max_steps` lets it go."""

from __future__ import annotations

from polytask.core.settings import from_table
from polytask.learn.phase_plan import never_drawn, phases_of
from polytask.learn.train_settings import Train

ROWS = {"large": 300, "small": 6}


def train(**settings: object) -> Train:
    return from_table(Train, {"epochs": 1, "batch_size": 2, **settings}, "train")


def test_a_task_that_max_steps_starves_is_found() -> None:
    starved = phases_of(train(max_steps=6, schedule="proportional"), ROWS, 11711)
    assert never_drawn(starved) == ["small"]
    assert never_drawn(phases_of(train(schedule="proportional"), ROWS, 11711)) == []


def test_a_task_that_no_phase_names_is_not_missed() -> None:
    assert never_drawn(phases_of(train(tasks=["large"]), ROWS, 1)) == []


def test_the_preview_ends_with_max_steps() -> None:
    (phase,) = phases_of(train(max_steps=6, schedule="proportional"), ROWS, 11711)
    shown = phase.preview()
    assert shown.steps == 6 and sum(shown.batches.values()) == 6
    assert shown.unseen["small"] == 6
