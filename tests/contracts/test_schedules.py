"""What every registered schedule promises, over random sizes of up to four tasks."""

from __future__ import annotations

import random
from itertools import islice
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.core.errors import ConfigError
from polytask.core.settings import to_table
from polytask.learn.schedules.contract import StepPlan, epoch_random, schedule
from polytask.learn.schedules.preview import preview

TABLES: dict[str, list[Any]] = {
    "batch_round_robin": [
        "batch_round_robin",
        {"type": "batch_round_robin", "joint": False},
        {"type": "batch_round_robin", "end": "shortest"},
        {"type": "batch_round_robin", "end": "alternate", "joint": False},
        {"type": "batch_round_robin", "end": 7, "sampler": "fresh"},
        {"type": "batch_round_robin", "end": 7, "joint": False},
    ],
    "proportional": ["proportional", {"type": "proportional", "draws": 3}],
    "annealed": ["annealed", {"type": "annealed", "steps": 9}],
    "biased": ["biased", {"type": "biased", "weights": {"a": 1.7, "b": 0.0}, "draws": 2}],
}
EVERY = [table for name in sorted(schedule.members) for table in TABLES.get(name, [name])]

quick = settings(derandomize=True, database=None, deadline=None, max_examples=40)


@st.composite
def sets(draw: st.DrawFn) -> tuple[dict[str, int], dict[str, int]]:
    """Rows and batch sizes of one to four tasks."""
    tasks = ["a", "b", "c", "d"][: draw(st.integers(1, 4))]
    rows = {task: draw(st.integers(1, 60)) for task in tasks}
    return rows, {task: draw(st.integers(1, rows[task])) for task in tasks}


def planned(table: Any, rows: dict[str, int], sizes: dict[str, int], epoch: int, seed: int
            ) -> list[StepPlan]:
    return list(schedule.read(table).plan(rows, sizes, epoch, 4, epoch_random(seed, epoch)))


@pytest.mark.parametrize("table", EVERY, ids=str)
@quick
@given(given_sets=sets(), epoch=st.integers(0, 3), seed=st.integers(0, 99))
def test_steps_hold_known_tasks_and_full_or_last_batches(
    table: Any, given_sets: tuple[dict[str, int], dict[str, int]], epoch: int, seed: int
) -> None:
    rows, sizes = given_sets
    chosen = schedule.read(table)
    promised = chosen.batch_sizes(rows, sizes)
    plan = planned(table, rows, sizes, epoch, seed)
    assert plan
    for step in plan:
        assert step, "a step without a task would be an update of nothing"
        assert list(step) == [task for task in rows if task in step], "tasks keep their order"
        assert chosen.min_tasks_per_step(rows) <= len(step) <= chosen.max_tasks_per_step(rows)
        for task, draws in step.items():
            assert draws
            assert all(1 <= size <= promised[task] for size in draws)


@pytest.mark.parametrize("table", EVERY, ids=str)
@quick
@given(given_sets=sets(), epoch=st.integers(0, 3), cut=st.integers(0, 80), seed=st.integers(0, 99))
def test_the_same_seed_gives_the_same_plan_and_a_cut_plan_continues(
    table: Any, given_sets: tuple[dict[str, int], dict[str, int]], epoch: int, cut: int, seed: int
) -> None:
    rows, sizes = given_sets
    before = dict(rows), dict(sizes)
    plan = planned(table, rows, sizes, epoch, seed)
    first = schedule.read(table).plan(rows, sizes, epoch, 4, epoch_random(seed, epoch))
    done = list(islice(first, cut))
    again = schedule.read(table).plan(rows, sizes, epoch, 4, epoch_random(seed, epoch))
    assert done + list(islice(again, cut, None)) == plan
    assert (rows, sizes) == before


@pytest.mark.parametrize("table", EVERY, ids=str)
def test_randomness_comes_from_the_generator_given(table: Any) -> None:
    rows, sizes = {"a": 50, "b": 30, "c": 20}, {"a": 5, "b": 3, "c": 2}
    before, given = random.getstate(), Random(0)
    list(schedule.read(table).plan(rows, sizes, 0, 4, given))
    assert random.getstate() == before
    plans = [planned(table, rows, sizes, 0, seed) for seed in range(8)]
    drawn = given.getstate() != Random(0).getstate()
    assert any(plan != plans[0] for plan in plans) == drawn


@pytest.mark.parametrize("table", EVERY, ids=str)
def test_settings_survive_their_table(table: Any) -> None:
    chosen = schedule.read(table)
    assert schedule.read(to_table(chosen)) == chosen
    assert chosen.sampler in ("fresh", "continues")


@pytest.mark.parametrize("table", EVERY, ids=str)
def test_the_preview_counts_what_the_plan_draws(table: Any) -> None:
    rows, sizes = {"a": 50, "b": 31, "c": 9}, {"a": 8, "b": 4, "c": 4}
    plan = planned(table, rows, sizes, 0, 5)
    seen = preview(schedule.read(table), rows, sizes, epoch=0, epochs=4, seed=5)
    assert seen.steps == len(plan)
    for task in rows:
        drawn = sum(sum(step.get(task, ())) for step in plan)
        assert seen.rows[task] == drawn
        # Passes are permutations: what is missed and what comes again follows from the count.
        assert seen.unseen[task] == max(0, rows[task] - drawn)
        assert seen.repeated[task] == min(rows[task], max(0, drawn - rows[task]))
        assert seen.batches[task] == sum(len(step.get(task, ())) for step in plan)


@pytest.mark.parametrize("table", EVERY, ids=str)
@pytest.mark.parametrize(("sizes", "said"), [
    ({"a": 0, "b": 4}, 'batch_size of "a": found 0, expected 1 or more'),
    ({"aa": 4, "b": 4}, 'batch_size names "aa", which is not a task here; did you mean "a"?'),
    ({"b": 4}, 'batch_size of "a" is missing'),
])
def test_batch_sizes_that_cannot_work_are_refused(
    table: Any, sizes: dict[str, int], said: str
) -> None:
    assert schedule.read(table).problem(["a", "b"], {"a": 50, "b": 8}, sizes) == said


@pytest.mark.parametrize("table", EVERY, ids=str)
def test_good_sizes_are_accepted_with_or_without_the_data(table: Any) -> None:
    chosen = schedule.read(table)
    assert chosen.problem(["a", "b"], {"a": 50, "b": 8}, {"a": 4, "b": 8}) is None
    assert chosen.problem(["a", "b"], {}, {"a": 4, "b": 8}) is None
    assert chosen.problem(["a", "b"], {"a": 3, "b": 8}, {"a": 4, "b": 8}) is None  # a set drawn whole


def test_a_schedule_needs_a_plan_alone() -> None:
    class Empty:
        """Nothing."""

    class There:
        """One step of every task."""

        def plan(self, rows: Any, batch_size: Any, epoch: int, epochs: int, rng: Random) -> Any:
            yield {task: [1] for task in rows}

    with pytest.raises(ConfigError, match='schedule "empty" lacks "plan"'):
        schedule(Empty)
    try:
        made = schedule(There)()
        assert made.sampler == "fresh"
        assert (made.max_tasks_per_step(["a", "b"]), made.num_epochs(["a"], 3)) == (1, 3)
        assert made.problem(["a"], {"a": 3}, {"b": 4}) is not None
    finally:
        schedule.members.pop(There.reference)  # type: ignore[attr-defined]
