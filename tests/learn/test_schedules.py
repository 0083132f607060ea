"""Each schedule's own promise: counts, order, chances, and the settings it refuses."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from math import sqrt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.core.errors import ConfigError
from polytask.learn.schedules.annealed import Annealed
from polytask.learn.schedules.balanced import Balanced
from polytask.learn.schedules.batch_round_robin import BatchRoundRobin
from polytask.learn.schedules.biased import Biased
from polytask.learn.schedules.contract import Schedule, StepPlan, epoch_random, schedule
from polytask.learn.schedules.epoch_round_robin import EpochRoundRobin
from polytask.learn.schedules.full_data import FullData
from polytask.learn.schedules.merged import Merged
from polytask.learn.schedules.preview import preview, strip
from polytask.learn.schedules.proportional import Proportional
from polytask.learn.schedules.sequential import Sequential

ROWS = {"sst": 85, "quora": 283, "sts": 60}
SIZES = {"sst": 8, "quora": 16, "sts": 8}  # 11, 18 and 8 batches
quick = settings(derandomize=True, database=None, deadline=None, max_examples=60)
counts = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 200), min_size=1)


def epoch_of(chosen: Schedule, epoch: int = 0, epochs: int = 10, rows: dict[str, int] = ROWS,
             sizes: dict[str, int] = SIZES, seed: int = 0) -> list[StepPlan]:
    return list(chosen.plan(rows, sizes, epoch, epochs, epoch_random(seed, epoch)))


def runs(chosen: Schedule, epochs: int) -> list[tuple[str, int]]:
    """The tasks of a whole run in their order, each with its steps in a row."""
    made: list[tuple[str, int]] = []
    for epoch in range(chosen.num_epochs(ROWS, epochs)):
        for step in epoch_of(chosen, epoch, epochs):
            (task,) = step
            if made and made[-1][0] == task:
                made[-1] = (task, made[-1][1] + 1)
            else:
                made.append((task, 1))
    return made


@pytest.mark.technique("T-10")
def test_sequential_trains_one_task_to_its_end_before_the_next() -> None:
    assert runs(Sequential(), 10) == [("sst", 110), ("quora", 180), ("sts", 80)]


@pytest.mark.technique("T-11")
def test_epoch_round_robin_gives_each_task_an_epoch_in_turn() -> None:
    assert runs(EpochRoundRobin(), 2) == [("sst", 11), ("quora", 18), ("sts", 8)] * 2


@pytest.mark.parametrize("kind", [Sequential, EpochRoundRobin])
@quick
@given(rows=counts, size=st.integers(1, 9))
def test_one_pass_an_epoch_draws_every_row_once(
    kind: type, rows: dict[str, int], size: int
) -> None:
    drawn: Counter[str] = Counter()
    for epoch in range(2 * len(rows)):
        for step in epoch_of(kind(), epoch, 2, rows, dict.fromkeys(rows, size)):
            drawn.update({task: sum(sizes) for task, sizes in step.items()})
    assert drawn == {task: 2 * count for task, count in rows.items()}


@pytest.mark.technique("M-13", "T-13", "P-18")
@pytest.mark.parametrize(("end", "rounds"), [
    ("longest", [18] * 8), ("shortest", [8] * 8),
    ("alternate", [8, 8, 8, 18, 8, 8, 8, 18]), (5, [5] * 8),
])
def test_batch_round_robin_ends_at_its_limit(end: str | int, rounds: list[int]) -> None:
    joint = BatchRoundRobin(end=end)
    assert [len(epoch_of(joint, epoch)) for epoch in range(8)] == rounds
    assert all(list(step) == list(ROWS) for step in epoch_of(joint))


@pytest.mark.technique("T-12", "P-18")
def test_batch_round_robin_takes_turns() -> None:
    one = BatchRoundRobin(joint=False, end="shortest")
    assert [task for step in epoch_of(one) for task in step] == ["sst", "quora", "sts"] * 8
    counted = BatchRoundRobin(joint=False, end=5)
    assert [task for step in epoch_of(counted) for task in step] == [
        "sst", "quora", "sts", "sst", "quora"]


@quick
@given(rows=counts, size=st.integers(1, 9))
def test_the_longest_set_is_drawn_exactly_once(rows: dict[str, int], size: int) -> None:
    seen = preview(BatchRoundRobin(), rows, dict.fromkeys(rows, size))
    longest = max(rows, key=lambda task: rows[task])
    assert seen.unseen == dict.fromkeys(rows, 0)
    assert seen.repeated[longest] == 0
    assert seen.steps == -(-rows[longest] // size)


@pytest.mark.technique("M-14")
@quick
@given(rows=counts, data=st.data())
def test_balanced_takes_the_smallest_sets_length_of_each(
    rows: dict[str, int], data: st.DataObject
) -> None:
    sizes = {task: data.draw(st.integers(1, count)) for task, count in rows.items()}
    plan = epoch_of(Balanced(), rows=rows, sizes=sizes)
    least = min(rows.values())
    for task in rows:
        assert sum(step[task][0] for step in plan) == least
    assert len(plan) == max(-(-least // size) for size in sizes.values())


@pytest.mark.technique("M-14")
def test_balanced_draws_other_rows_in_the_next_epoch() -> None:
    assert Balanced().sampler == "fresh"
    assert preview(Balanced(), ROWS, SIZES).unseen == {"sst": 25, "quora": 223, "sts": 0}


@pytest.mark.technique("M-15", "M-16")
def test_full_data_has_the_batch_sizes_that_mfrr_reports() -> None:
    rows = {"sst": 8544, "quora": 141_506, "sts": 6040}
    given_sizes = dict.fromkeys(rows, 32)
    assert FullData().batch_sizes(rows, given_sizes) == {"sst": 2, "quora": 32, "sts": 1}
    plan = epoch_of(FullData(), rows=rows, sizes=given_sizes)
    assert len(plan) == 4423  # 4422 of 32 rows, and the last 2 rows
    assert sum(step["quora"][0] for step in plan) == 141_506
    assert plan[0] == {"sst": [2], "quora": [32], "sts": [1]}


def test_full_data_ignores_the_batch_sizes_of_the_others() -> None:
    assert FullData().problem(list(ROWS), ROWS, {"sst": 500, "quora": 16, "sts": 500}) is None


@pytest.mark.technique("S-3")
@quick
@given(rows=counts, size=st.integers(1, 9), seed=st.integers(0, 99))
def test_merged_stops_with_the_last_batch_of_the_first_task_used_up(
    rows: dict[str, int], size: int, seed: int
) -> None:
    sizes = dict.fromkeys(rows, size)
    plan = epoch_of(Merged(), rows=rows, sizes=sizes, seed=seed)
    drawn: Counter[str] = Counter()
    for number, step in enumerate(plan):
        ((task, draws),) = step.items()
        assert all(drawn[each] < count for each, count in rows.items()), f"over before {number}"
        assert draws == [min(size, rows[task] - drawn[task])], "only the last batch of a set is short"
        drawn[task] += sum(draws)
    (last,) = plan[-1]
    assert drawn[last] == rows[last]
    assert all(drawn[task] < rows[task] for task in rows if task != last)


def chances(steps: list[StepPlan]) -> tuple[dict[str, float], int]:
    draws = Counter(task for step in steps for task, sizes in step.items() for _ in sizes)
    total = sum(draws.values())
    return {task: draws[task] / total for task in ROWS}, total


def expected(weights: dict[str, float]) -> dict[str, float]:
    return {task: weight / sum(weights.values()) for task, weight in weights.items()}


BIASED = {"sst": 1.0, "quora": 1.7, "sts": 1.0}
DRAWN: list[tuple[str, Any, int, dict[str, float]]] = [
    ("proportional", Proportional(steps=300), 0, ROWS),
    ("annealed first", Annealed(steps=300), 0, ROWS),
    ("annealed middle", Annealed(steps=300), 4, {task: n ** 0.6 for task, n in ROWS.items()}),
    ("annealed last", Annealed(steps=300), 8, {task: n ** 0.2 for task, n in ROWS.items()}),
    ("biased", Biased(weights=BIASED, steps=300), 0, BIASED),
    ("biased, three draws", Biased(weights={"quora": 1.7}, draws=3, steps=100), 0, BIASED),
]


@pytest.mark.technique("P-14", "S-13")
@pytest.mark.parametrize(("chosen", "epoch", "weights"), [each[1:] for each in DRAWN],
                         ids=[each[0] for each in DRAWN])
def test_tasks_are_drawn_by_their_chances(
    chosen: Schedule, epoch: int, weights: dict[str, float]
) -> None:
    found, total = chances([step for seed in range(20)
                            for step in epoch_of(chosen, epoch, epochs=9, seed=seed)])
    for task, chance in expected(weights).items():
        assert abs(found[task] - chance) < 3 * sqrt(chance * (1 - chance) / total)


@pytest.mark.technique("S-3")
@quick
@given(rows=counts, size=st.integers(1, 9), seed=st.integers(0, 99))
def test_merged_considers_each_task_equally_often(
    rows: dict[str, int], size: int, seed: int
) -> None:
    plan = epoch_of(Merged(), rows=rows, sizes=dict.fromkeys(rows, size), seed=seed)
    turns: Counter[str] = Counter(task for step in plan for task in step)
    assert max(turns.values()) - min(turns[task] for task in rows) <= 1
    for start in range(0, len(plan), len(rows)):
        own = [task for step in plan[start : start + len(rows)] for task in step]
        assert len(set(own)) == len(own), "a round draws without replacement"


def test_merged_draws_its_rounds_in_random_order() -> None:
    first = Counter(tuple(task for step in epoch_of(Merged(), seed=seed)[:3] for task in step)
                    for seed in range(600))
    assert len(first) == 6
    assert all(abs(count - 100) < 4 * sqrt(600 * 5 / 36) for count in first.values())


@pytest.mark.technique("S-3")
def test_merged_at_the_reports_sizes_does_not_traverse_quora() -> None:
    rows = {"sst": 8544, "quora": 141_506, "sts": 6040}
    plan = epoch_of(Merged(), rows=rows, sizes=dict.fromkeys(rows, 32))
    turns = Counter(task for step in plan for task in step)
    assert turns["sts"] == 189 and 188 <= turns["sst"] <= 189 and 188 <= turns["quora"] <= 189


@pytest.mark.technique("P-14")
def test_the_annealing_of_stickland_and_murray() -> None:
    assert [Annealed().alpha(epoch, 5) for epoch in range(5)] == pytest.approx(
        [1.0, 0.8, 0.6, 0.4, 0.2])
    assert Annealed().alpha(0, 1) == 0.2


def test_drawn_epochs_have_as_many_draws_as_there_are_batches() -> None:
    assert len(epoch_of(Proportional())) == 37
    assert len(epoch_of(Proportional(draws=3))) == 13
    assert len(epoch_of(Annealed(steps=5))) == 5
    assert all(sum(len(sizes) for sizes in step.values()) == 3
               for step in epoch_of(Biased(draws=3)))


def test_how_many_tasks_a_step_can_hold() -> None:
    assert Biased(draws=4).max_tasks_per_step(["a", "b", "c"]) == 3
    assert Biased(draws=4, weights={"a": 0}).max_tasks_per_step(["a", "b", "c"]) == 2
    assert Proportional().max_tasks_per_step(["a", "b"]) == 1
    assert BatchRoundRobin(joint=False).max_tasks_per_step(["a", "b"]) == 1
    assert FullData().min_tasks_per_step(["a", "b"]) == 2


@pytest.mark.parametrize(("table", "said"), [
    ({"type": "batch_round_robin", "end": "shortes"}, 'did you mean "shortest"?'),
    ({"type": "batch_round_robin", "end": 0}, "end: found 0, expected 1 to 1,000,000 steps"),
    ({"type": "proportional", "draws": 0}, "draws: found 0, expected 1 to 10,000"),
    ({"type": "annealed", "steps": 0}, "steps: found 0, expected 1 to 1,000,000"),
    ({"type": "biased", "weights": {"a": -1}}, 'weights of "a": found -1.0, expected 0 to'),
])
def test_settings_that_cannot_work_are_refused(table: dict[str, Any], said: str) -> None:
    name = table.pop("type")
    with pytest.raises(ConfigError, match=said.replace("?", r"\?").replace(".", r"\.")):
        schedule.members[name](**table)


def test_weights_of_unknown_tasks_are_refused_with_the_nearest() -> None:
    tasks, sizes = ["sst", "quora"], {"sst": 8, "quora": 8}
    assert Biased(weights={"quorra": 1.7}).problem(tasks, {}, sizes) == (
        'schedule "biased" weighs "quorra", which is not a task here; did you mean "quora"?')
    said = Biased(weights={"sst": 0, "quora": 0}).problem(tasks, {}, sizes)
    assert said is not None
    assert "all 0" in said


def test_the_strip_has_a_line_a_task_and_a_column_a_step() -> None:
    plan: list[StepPlan] = [{"sst": [8]}, {"sst": [8], "quora": [16, 16]}, {"quora": [3]}]
    assert strip(plan, ["sst", "quora"]) == "sst   ██·\nquora ·2█"
    assert strip(plan, ["sst", "quora"], width=1) == "sst   █\nquora ·"


def test_the_demo_shows_every_schedule() -> None:
    shown = subprocess.run([sys.executable, "-m", "polytask.learn.schedules"], check=True,
                           capture_output=True, text=True).stdout
    assert all(member.__name__ in shown for member in schedule.members.values()
               if member.__module__.startswith("polytask."))
