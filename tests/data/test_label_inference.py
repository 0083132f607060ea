"""Labels are of the kind that DESIGN says, and become the numbers a loss takes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytask.core.errors import ConfigError, DataError
from polytask.data.label_inference import Wanted, infer_labels, outward, to_numbers, unreadable
from polytask.data.labels import Labels

RULES = {
    "two integers": (["0", "1", "0"], Labels("binary", ("0", "1"))),
    "1.0 counts as an integer": (["1.0", "0.0", "1"], Labels("binary", ("0", "1"))),
    "integers in their own order": (["10", "9", "-1", "2"], Labels("classes", ("-1", "2", "9", "10"))),
    "50 integers": ([str(n) for n in range(50)], Labels("classes", tuple(map(str, range(50))))),
    "51 integers": ([str(n) for n in range(51)], Labels("regression", (), 0, 50)),
    "other numbers": (["0.2", "4.9", "3"], Labels("regression", (), 0, 5)),
    "two words": (["yes", "no", "yes"], Labels("binary", ("no", "yes"))),
    "words": (["b", "a", "c"], Labels("classes", ("a", "b", "c"))),
    "lists": (["red|blue", "blue", "red"], Labels("multi-label", ("blue", "red"))),
    "JSON lists": (['["red"]', "[]", '["x|y", "red"]'], Labels("multi-label", ("red", "x|y"))),
    "a stray word among numbers": (["1.5"] * 40 + ["2.5", "x"], Labels("regression", (), 1.5, 2.5)),
    "a stray word among classes": (["1", "2"] * 40 + ["x"], Labels("binary", ("1", "2"))),
}


@pytest.mark.parametrize(("labels", "expected"), RULES.values(), ids=RULES)
def test_the_kind_is_told_from_the_labels(labels: list[str], expected: Labels) -> None:
    assert infer_labels(labels) == expected


OVERRIDES = {
    "kind": (Wanted(kind="ordinal"), ["0", "1", "2"], Labels("ordinal", ("0", "1", "2"))),
    "kind of two": (Wanted(kind="ordinal"), ["0", "1"], Labels("ordinal", ("0", "1"))),
    "classes in their own order": (Wanted(classes=("no", "maybe", "yes")), ["no", "yes"],
                                   Labels("classes", ("no", "maybe", "yes"))),
    "ordinal words": (Wanted(kind="ordinal", classes=("bad", "good")), ["good"],
                      Labels("ordinal", ("bad", "good"))),
    "range": (Wanted(range=(0, 5)), ["1", "2"], Labels("regression", (), 0, 5)),
    "regression of integers": (Wanted(kind="regression"), ["0", "10"],
                               Labels("regression", (), 0, 10)),
    "classes beyond fifty": (Wanted(kind="classes"), [f"w{n:02}" for n in range(60)],
                             Labels("classes", tuple(f"w{n:02}" for n in range(60)))),
    "multi-label words": (Wanted(kind="multi-label"), ["a", "b"], Labels("multi-label", ("a", "b"))),
    "raw labels": (Wanted(range=(0, 5), label_scale="raw"), ["1.5"],
                   Labels("regression", (), 0, 5, unit=False)),
}


@pytest.mark.parametrize(("wanted", "labels", "expected"), OVERRIDES.values(), ids=OVERRIDES)
def test_the_config_overrides_what_is_told(
    wanted: Wanted, labels: list[str], expected: Labels
) -> None:
    assert infer_labels(labels, wanted) == expected


BAD = {
    "one class": (Wanted(), ["1", "1.0"], DataError, 'f.csv: every row has the label "1"'),
    "one number": (Wanted(kind="regression"), ["1.5", "1.5"], DataError, "every row has the label 1.5"),
    "too many words": (Wanted(), [f"w{n}" for n in range(60)], DataError, "60 different labels"),
    "binary of three": (Wanted(kind="binary"), list("abc"), DataError, "found 3 classes"),
    "ordinal words": (Wanted(kind="ordinal", where="tasks.t"), list("ab"), ConfigError,
                      "tasks.t.classes: is missing"),
    "range of classes": (Wanted(kind="classes", range=(0, 1), where="tasks.t"), ["0", "1"],
                         ConfigError, "tasks.t.range: "),
    "classes of a regression": (Wanted(kind="regression", classes=("a", "b")), ["0", "1"],
                                ConfigError, "classes: a regression has a range"),
    "one class given twice": (Wanted(classes=("1", "1.0")), ["1"], ConfigError, "classes: found"),
    "regression of words": (Wanted(kind="regression"), ["a", "b"], DataError, "expected numbers"),
}


@pytest.mark.parametrize(("wanted", "labels", "error", "said"), BAD.values(), ids=BAD)
def test_labels_that_cannot_be_are_told(
    wanted: Wanted, labels: list[str], error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as caught:
        infer_labels(labels, wanted, "f.csv")
    assert said in str(caught.value)


@given(st.floats(-1e6, 1e6), st.floats(1e-4, 1e6))
def test_a_range_is_rounded_outward_by_a_quarter_at_most(low: float, span: float) -> None:
    high = low + span
    a, b = outward(low, high)
    assert a <= low < high <= b
    assert b - a <= 1.5 * span + 1e-6 * (abs(low) + abs(high))


def test_ranges_come_out_round() -> None:
    assert [outward(*each) for each in [(0.2, 4.9), (1, 5), (0, 1), (0.03, 0.97), (3.2, 97), (-1, 1)]
            ] == [(0, 5), (1, 5), (0, 1), (0, 1), (0, 100), (-1, 1)]


def test_numbers_are_what_the_objective_takes() -> None:
    classes = to_numbers(["2.0", "0", "1"], Labels("classes", ("0", "1", "2")), "f", [2, 3, 4])
    assert classes.dtype == np.int64 and classes.tolist() == [2, 0, 1]
    unit = to_numbers(["1", "5", "3.0"], Labels("regression", (), 1, 5), "f", [2, 3, 4])
    assert unit.dtype == np.float32 and unit.tolist() == [0, 1, 0.5]
    raw = to_numbers(["1", "4.5"], Labels("regression", (), 1, 5, unit=False), "f", [2, 3])
    assert raw.tolist() == [1, 4.5]
    several = to_numbers(["b|1.0", "[]", '["a"]'], Labels("multi-label", ("1", "a", "b")), "f",
                         [2, 3, 4])
    assert several.dtype == np.float32
    assert several.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize(("label", "labels", "said"), [
    ("7", Labels("regression", (), 0, 5), "f.csv:4: label 7 is out of range, expected 0 to 5"),
    ("-0.1", Labels("regression", (), 0, 5), "f.csv:4: label -0.1 is out of range"),
    ("5", Labels("classes", ("0", "1", "2")), 'f.csv:4: label "5" is no class, expected one of "0"'),
    ("entailmnt", Labels("binary", ("entailment", "neutral")), 'did you mean "entailment"?'),
    ("a|d", Labels("multi-label", ("a", "b")), 'f.csv:4: label "d" is no class'),
])
def test_a_label_that_is_not_expected_is_told_with_file_and_line(
    label: str, labels: Labels, said: str
) -> None:
    good = "2.5" if labels.is_regression else labels.classes[0]
    with pytest.raises(DataError) as caught:
        to_numbers([good, good, label], labels, "f.csv", np.array([2, 3, 4]))
    assert said in str(caught.value)


def test_only_what_is_not_of_the_sort_is_unreadable() -> None:
    numbers = Labels("regression", (), 0, 5)
    assert unreadable(["1", "x", "7", "nan", "1_0", "inf", "1e0"], numbers) == [1, 3, 4, 5]
    assert unreadable(["1", "x", "7"], Labels("binary", ("0", "1"))) == [1]
    assert unreadable(["a", "x", "7"], Labels("binary", ("a", "b"))) == []


@given(st.lists(st.integers(-40, 40), min_size=2).filter(lambda x: len(set(x)) > 1))
def test_classes_of_integers_come_back(values: list[int]) -> None:
    texts = [f"{value}.0" if k % 2 else str(value) for k, value in enumerate(values)]
    labels = infer_labels(texts)
    if labels.is_regression:
        assert len(set(values)) > 50
        return
    targets = to_numbers(texts, labels, "f", range(len(texts)))
    assert [int(labels.classes[target]) for target in targets] == values
    assert list(labels.classes) == [str(value) for value in sorted(set(values))]
