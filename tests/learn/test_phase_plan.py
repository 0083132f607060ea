"""What a phase will draw: told before training, the same at every call."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest

from polytask.core.settings import from_table
from polytask.learn.phase_plan import PhasePlan, never_drawn, phases_of
from polytask.learn.train_settings import Train

ROWS = {"sst": 20, "quora": 12, "sts": 8}
UNEVEN = {"large": 300, "small": 6}


def phases(**table: Any) -> list[PhasePlan]:
    return phases_of(from_table(Train, {"epochs": 2, "batch_size": 4, **table}, ""), ROWS, 7)


@pytest.mark.parametrize("kind", ["batch_round_robin", "sequential", "epoch_round_robin", "merged",
                                  "balanced", "annealed"])
def test_a_phase_counts_the_steps_that_it_plans_and_plans_them_again(kind: str) -> None:
    (phase,) = phases(schedule=kind)
    planned = [list(phase.plan(epoch)) for epoch in range(phase.epochs)]
    assert phase.num_steps == sum(map(len, planned))
    steps = [step for epoch in planned for step in epoch]
    for task in ROWS:
        draws = [sizes for step in steps for name, sizes in step.items() if name == task]
        assert phase.counts.updates[task] == len(draws)
        assert phase.counts.drawn[task] == sum(map(sum, draws))
    assert [list(phase.plan(epoch)) for epoch in range(phase.epochs)] == planned
    assert phase.preview().steps == len(planned[0])


def test_max_steps_bounds_the_updates() -> None:
    assert phases(max_steps=3)[0].num_steps == 3
    assert phases(max_steps=300)[0].num_steps == 10


def test_a_phase_has_its_tasks_sizes_and_randomness() -> None:
    first, second = phases(schedule="merged", phases=[
        {"tasks": ["sst", "sts"], "batch_size": {"sst": 5, "sts": 2}}, {"epochs": 1}])
    assert first.rows == {"sst": 20, "sts": 8} and first.sizes == {"sst": 5, "sts": 2}
    assert second.tasks == list(ROWS) and second.sizes == dict.fromkeys(ROWS, 4)
    assert first.seed != second.seed and (first.epochs, second.epochs) == (2, 1)
    same = phases(schedule="merged", phases=[{}, {}])
    one, other = ([tuple(step) for step in each.plan(0)] for each in same)
    assert sorted(one) != one or one != other


def test_samplers_walk_on_or_begin_again_as_the_schedule_wants() -> None:
    for schedule, continues in (("batch_round_robin", True), ("balanced", False)):
        (phase,) = phases(schedule=schedule)
        samplers = phase.samplers()
        assert {task: (each.rows, each.continues) for task, each in samplers.items()} == {
            task: (rows, continues) for task, rows in ROWS.items()}
    one, other = phases()[0].samplers(), phases()[0].samplers()
    assert one["sst"].draw(9).tolist() == other["sst"].draw(9).tolist()


def test_a_whole_phase_draws_the_rows_that_its_steps_say() -> None:
    (phase,) = phases()
    samplers = phase.samplers()
    drawn: dict[str, list[int]] = {task: [] for task in ROWS}
    for step in chain.from_iterable(phase.plan(epoch) for epoch in range(phase.epochs)):
        for task, sizes in step.items():
            for size in sizes:
                drawn[task] += samplers[task].draw(size).tolist()
    assert {task: len(rows) for task, rows in drawn.items()} == dict.fromkeys(ROWS, 40)
    assert all(set(rows) == set(range(ROWS[task])) for task, rows in drawn.items())


def settings(**table: object) -> Train:
    return from_table(Train, {"epochs": 1, "batch_size": 2, **table}, "train")


def test_a_task_that_max_steps_starves_is_found() -> None:
    starved = phases_of(settings(max_steps=6, schedule="proportional"), UNEVEN, 11711)
    assert never_drawn(starved) == ["small"]
    assert never_drawn(phases_of(settings(schedule="proportional"), UNEVEN, 11711)) == []


def test_a_task_that_no_phase_names_is_not_missed() -> None:
    assert never_drawn(phases_of(settings(tasks=["large"]), UNEVEN, 1)) == []


def test_the_preview_ends_with_max_steps() -> None:
    (phase,) = phases_of(settings(max_steps=6, schedule="proportional"), UNEVEN, 11711)
    shown = phase.preview()
    assert shown.steps == 6 and sum(shown.batches.values()) == 6
    assert shown.unseen["small"] == 6
