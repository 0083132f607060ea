"""A task that somebody wrote by hand is refused by the key that is wrong, or can be answered."""

from __future__ import annotations

from typing import Any

import pytest

from polytask.data.collate import InputLayout
from polytask.data.labels import Labels
from polytask.data.stored_task import stored_task_problem, wanted_threshold_problem

TWO = Labels("binary", ("no", "yes"))
MANY = Labels("multi-label", ("x", "y", "z"))
STARS = Labels("regression", low=1, high=5)
SINGLE, PAIR = InputLayout(1, 1, 32), InputLayout(2, 1, 32)


@pytest.mark.parametrize(("text", "labels", "layout", "threshold"), [
    (("a",), TWO, SINGLE, None), (("a",), TWO, SINGLE, 0.25), (("a", "b"), TWO, PAIR, 1),
    (("a", "b"), STARS, InputLayout(2, 2, 9), None), (("a",), MANY, InputLayout(1, 2, 8), [0.1, 0, 1])])
def test_what_a_training_writes_is_taken(text: Any, labels: Labels, layout: InputLayout,
                                         threshold: Any) -> None:
    assert stored_task_problem(text, labels, layout, threshold) is None


def test_a_threshold_of_cosines_may_be_negative_and_one_of_probabilities_may_not() -> None:
    assert stored_task_problem(("a", "b"), TWO, PAIR, -0.5, of_score=True) is None
    assert str(stored_task_problem(("a", "b"), TWO, PAIR, -0.5)).startswith(
        "threshold: found -0.5, expected a number from 0 to 1")


@pytest.mark.parametrize("threshold", [0, 1, 1.5, [0.5], True, "tund", float("nan"), {}])
def test_a_threshold_that_no_settings_can_ask_for_is_refused(threshold: Any) -> None:
    assert str(wanted_threshold_problem(threshold)).startswith(f"threshold: found {threshold!r}, expected ")
    assert not any(map(wanted_threshold_problem, (None, "tuned", "accuracy", 0.5)))


@pytest.mark.parametrize(("changes", "said"), [
    ({"text": ()}, "text: found (), expected 1 names"),
    ({"text": ("a", "b")}, "text: found ('a', 'b'), expected 1"),
    ({"text": (3,)}, "text: found (3,)"),
    ({"layout": InputLayout(3, 1, 32)}, "layout: found 3 texts"),
    ({"layout": InputLayout("1", 1, 32)}, "layout: found InputLayout"),  # type: ignore[arg-type]
    ({"layout": InputLayout(1, 1, 32, symmetric=True)},
     "layout: found 1 texts in 1 sequences, expected 2 in 2 or 4"),
    ({"layout": InputLayout(2, 4, 32)},
     "layout: found 2 texts in 4 sequences, expected 1 or 2 in 1 or 2, or 2 in 3"),
    ({"layout": InputLayout(2, 2, 32, symmetric=[])},  # type: ignore[arg-type]
     "layout.symmetric: found [], expected true or false"),
    ({"layout": InputLayout(1, 1, 0)}, "max_length: found 0"),
    ({"layout": InputLayout(1, 1, 1 << 40)}, "max_length: found"),
    ({"layout": InputLayout(1, 1, True)}, "layout: found"),
    ({"labels": Labels("colour", ("a", "b"))}, "labels.kind: found 'colour'"),  # type: ignore[arg-type]
    ({"labels": Labels("classes", ("a", "a"))}, "labels.classes: found a class twice"),
    ({"labels": Labels("classes", ("a",))}, "labels.classes: found 1, expected 2 or more"),
    ({"labels": Labels("binary", ("a", "b", "c"))}, "labels.classes: found 3, expected 2"),
    ({"labels": Labels("classes", (1, 2))}, "labels.classes: found (1, 2), expected names"),  # type: ignore[arg-type]
    ({"labels": Labels("regression", low=5, high=1)}, "labels: found the range 5 to 1"),
    ({"labels": Labels("regression", low=float("nan"))}, "labels: found the range nan"),
    ({"labels": Labels("regression", unit="no")}, "labels.unit: found 'no', expected true or"),  # type: ignore[arg-type]
    ({"labels": Labels("binary", ("a", "b"), form=[])}, "labels.form: found []"),  # type: ignore[arg-type]
    ({"labels": Labels("binary", ("a", "b"), separator=3)}, "labels.separator: found 3"),  # type: ignore[arg-type]
    ({"threshold": 1.5}, "threshold: found 1.5, expected a number from 0 to 1"),
    ({"labels": MANY, "threshold": [0.5, 1.5, 0.1]}, "threshold: found [0.5, 1.5"),
    ({"threshold": "0.5"}, "threshold: found '0.5'"),
    ({"threshold": [0.5, 0.5]}, "threshold: found [0.5, 0.5]"),
    ({"labels": MANY, "threshold": [0.5]}, "threshold: found [0.5]"),
    ({"labels": MANY, "threshold": [0.5, None, 0.1]}, "threshold: found [0.5, None"),
    ({"threshold": float("inf")}, "threshold: found inf"),
])
def test_what_cannot_be_answered_is_named_by_its_key(changes: dict[str, Any], said: str) -> None:
    task: dict[str, Any] = {"text": ("a",), "labels": TWO, "layout": SINGLE, "threshold": None} | changes
    problem = stored_task_problem(**task)
    assert problem is not None and problem.startswith(said) and len(problem) < 200
