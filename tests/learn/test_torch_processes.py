"""Several processes train what one does: every schedule, weighting and surgery, to rounding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import several_cases
from polytask.learn.schedules import schedule
from several import Group

CLOSE = 1e-5
JOINT = {"batch_round_robin", "full_data", "merged"}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    group = Group(2, tmp_path_factory.mktemp("two"))
    yield group
    group.close()


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    group = Group(4, tmp_path_factory.mktemp("four"))
    yield group
    group.close()


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    apart = {name: (found[name] - expected[name]).abs().max().item() for name in found}
    worst = max(apart, key=lambda name: apart[name])
    assert apart[worst] < CLOSE, f"{worst} is {apart[worst]:.1e} apart"


def as_one(group: Group, table: dict[str, Any], **options: Any) -> None:
    """Train in the group and alone; the weights are the same, and so is what the events say."""
    expected, events = several_cases.alone(table, **options)
    answers = group.run(several_cases.trained, table, *options.values())
    for found, seen in answers:
        same(found, expected)
        assert len(seen) == len(events)
        for one, other in zip(seen, events, strict=True):
            assert one.keys() == other.keys()
            assert one.get("tokens") == other.get("tokens") and one.get("rows") == other.get("rows")
            for key in ("losses", "penalties", "cosines", "weight"):
                assert one.get(key, {}) == pytest.approx(other.get(key, {}), rel=1e-3, abs=1e-5)
    first, *others = [found for found, _ in answers]
    for found in others:
        assert all(torch.equal(found[name], first[name]) for name in first)


SCHEDULES = sorted(name for name in schedule.members if ":" not in name)
SEVERAL = [name for name in SCHEDULES if schedule.read(name).max_tasks_per_step(["a", "b", "c"]) > 1]
CASES = [(name, weight, operate) for name in SCHEDULES for weight in ("sum", "automatic")
         for operate in (None, "pcgrad") if operate is None or name in SEVERAL]


@pytest.mark.parametrize(("name", "weight", "operate"), CASES)
def test_two_processes_train_what_one_does(two: Group, name: str, weight: str, operate: str | None) -> None:
    table = {"schedule": name, "weighting": weight} | ({"surgery": operate} if operate else {})
    as_one(two, table)
