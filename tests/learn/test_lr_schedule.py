"""The schedule of the learning rates: pinned values, and what holds for every length."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.learn.lr_schedule import lr_factor
from polytask.learn.optimizers import Optimizer

quick = settings(derandomize=True, database=None, deadline=None, max_examples=60)
COURSES = ("constant", "linear", "cosine")


def rates_of(num_steps: int, **fields: Any) -> list[float]:
    return [lr_factor(Optimizer(**fields), step, num_steps) for step in range(num_steps)]


@pytest.mark.technique("S-16")
@pytest.mark.parametrize(("fields", "expected"), [
    ({"lr_schedule": "constant", "warmup": 0.0}, [1, 1, 1, 1, 1]),
    ({"lr_schedule": "linear", "warmup": 0.0}, [1, 0.8, 0.6, 0.4, 0.2]),
    ({"lr_schedule": "constant", "warmup": 0.4}, [1 / 3, 2 / 3, 1, 1, 1]),
    ({"lr_schedule": "linear", "warmup": 0.4}, [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]),
    ({"lr_schedule": "cosine", "warmup": 0.2},
     [1 / 2, 1, (1 + math.cos(math.pi / 4)) / 2, 1 / 2, (1 + math.cos(3 * math.pi / 4)) / 2]),
])
def test_the_course_over_five_updates(fields: dict[str, Any], expected: list[float]) -> None:
    assert rates_of(5, **fields) == pytest.approx(expected)


@pytest.mark.parametrize("kind", COURSES)
@quick
@given(num_steps=st.integers(1, 300), warmup=st.floats(0, 0.99))
def test_it_rises_to_the_full_rate_and_then_never_again(
    kind: str, num_steps: int, warmup: float
) -> None:
    rates = rates_of(num_steps, lr_schedule=kind, warmup=warmup)
    rising = round(warmup * num_steps)
    assert all(0 < each <= 1 for each in rates), "an update at rate 0 is lost"
    assert rates[: rising + 1] == sorted(set(rates[: rising + 1]))
    assert rates[rising:] == sorted(rates[rising:], reverse=True)
    if rising < num_steps:
        assert rates[rising] == 1
