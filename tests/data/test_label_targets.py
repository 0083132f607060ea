"""Labels become the numbers that a loss takes; what fits no task is told with its line."""

from __future__ import annotations

import numpy as np
import pytest

from polytask.core.errors import DataError
from polytask.data.label_targets import missing, only_unknown, to_numbers, unreadable
from polytask.data.labels import Labels


def test_numbers_are_what_the_loss_takes() -> None:
    classes = to_numbers(["2.0", "0", "1"], Labels("classes", ("0", "1", "2")), "f", [2, 3, 4])
    assert classes.dtype == np.int64 and classes.tolist() == [2, 0, 1]
    unit = to_numbers(["1", "5", "3.0"], Labels("regression", (), 1, 5), "f", [2, 3, 4])
    assert unit.dtype == np.float32 and unit.tolist() == [0, 1, 0.5]
    raw = to_numbers(["1", "4.5"], Labels("regression", (), 1, 5, unit=False), "f", [2, 3])
    assert raw.tolist() == [1, 4.5]
    several = to_numbers(["b|1", "[]", '["a"]'], Labels("multi-label", ("1", "a", "b")), "f",
                         [2, 3, 4])
    assert several.dtype == np.float32
    assert several.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize(("label", "labels", "said"), [
    ("7", Labels("regression", (), 0, 5), "f.csv:4: label 7 is out of range, expected 0 to 5"),
    ("-0.1", Labels("regression", (), 0, 5), "f.csv:4: label -0.1 is out of range"),
    ("5", Labels("classes", ("0", "1", "2")), 'f.csv:4: label "5" is not a class, expected one of "0"'),
    ("entailmnt", Labels("binary", ("entailment", "neutral")), 'did you mean "entailment"?'),
    ("a|d", Labels("multi-label", ("a", "b")), 'f.csv:4: label "d" is not a class'),
])
def test_a_label_that_is_not_expected_is_reported_with_file_and_line(
    label: str, labels: Labels, said: str
) -> None:
    good = "2.5" if labels.is_regression else labels.classes[0]
    with pytest.raises(DataError) as caught:
        to_numbers([good, good, label], labels, "f.csv", np.array([2, 3, 4]))
    assert said in str(caught.value)


@pytest.mark.parametrize(("label", "known"), [
    ("-1", Labels("binary", ("0", "1"))), ("-1.0", Labels("classes", ("0", "1", "2"))),
    ("-1", Labels("regression", (), 0, 5)), ("-1", Labels("multi-label", ("0", "1"))),
    ("-1", Labels("multi-label", ("a", "b"), form="vectors")),
])
def test_minus_one_is_told_as_no_label_with_its_setting(label: str, known: Labels) -> None:
    with pytest.raises(DataError) as caught:
        to_numbers([label], known, "f.csv", [2], "gold label")
    assert str(caught.value).endswith(
        f"; {label} looks like a row without a label: "
        f'where = {{ "gold label" = {{ not = ["{label}"] }} }} leaves such rows out')
    assert "did you mean" not in str(caught.value)


def test_minus_one_among_names_is_a_name() -> None:
    with pytest.raises(DataError) as caught:
        to_numbers(['["-1", "a"]'], Labels("multi-label", ("a", "b")), "f.csv", [2])
    assert "where" not in str(caught.value)


def test_only_what_is_not_of_the_sort_is_unreadable() -> None:
    numbers = Labels("regression", (), 0, 5)
    assert unreadable(["1", "x", "7", "nan", "1_0", "inf", "1e0"], numbers) == [1, 3, 4, 5]
    assert unreadable(["1", "x", "7"], Labels("binary", ("0", "1"))) == []
    assert unreadable(["a", "x", "7"], Labels("binary", ("a", "b"))) == []


def test_rows_without_a_label_are_found_by_what_stands_there() -> None:
    numbers, words = Labels("binary", ("0", "1")), Labels("classes", ("a", "b", "none"))
    labels = ["0", "NaN", "?", "\u3000", "none", "1", "NaN"]
    assert missing(labels, numbers) == {"NaN": [1, 6], "?": [2], "": [3], "none": [4]}
    assert missing(["a", "none", "?", "null", " "], words) == {"null": [3], "": [4]}


@pytest.mark.parametrize(("labels", "known", "value"), [
    (["-1", "-1"], Labels("binary", ("0", "1")), "-1"),
    (["?", "?"], Labels("binary", ("no", "yes")), "?"),
    (["-1.0"], Labels("regression", (), 0, 5), "-1.0"),
    (["-1", "0"], Labels("binary", ("0", "1")), None),
    (["1.0", "1.0"], Labels("binary", ("0", "1")), None),
    ([], Labels("binary", ("0", "1")), None),
    (["x", "x"], Labels("multi-label", ("a", "b")), None),
    (["-1", "-1"], Labels("multi-label", ("a", "b")), "-1"),
    (["-1"], Labels("multi-label", ("-1", "b")), None),
    (["[-1, -1]"], Labels("multi-label", ("a", "b"), form="vectors"), "[-1, -1]"),
    (["?", "?"], Labels("multi-label", ("a", "b")), "?"),
    (["0.5", "0.5"], Labels("regression", (), 1, 4), None),
    (["-1", "-1"], Labels("regression", (), -2, 4), None),
    (["secret"], Labels("regression", (), 1, 4), "secret"),
    (["7", "7"], Labels("classes", ("0", "1", "2")), None),
    (["0", "0"], Labels("binary", ("no", "yes")), "0"),
])
def test_one_unknown_value_in_every_row_is_not_a_label(
    labels: list[str], known: Labels, value: str | None
) -> None:
    assert only_unknown(labels, known) == value


@pytest.mark.parametrize(("label", "known", "said"), [
    ("[1, "
     "0]", Labels("multi-label", ("a", "b", "c"), form="vectors"), "f:2: found [1, 0], expected 3 entries"),
    ("[1, 2, 0]", Labels("multi-label", ("a", "b", "c"), form="vectors"), "expected 3 entries of 0 or 1"),
    ("['a', 'b']]", Labels("multi-label", ("a", "b")), "which is not a list; expected a|b"),
    ("x", Labels("regression", (), 0, 5), 'f:2: label "x" is not a number'),
])
def test_a_label_that_cannot_be_read_is_reported(label: str, known: Labels, said: str) -> None:
    with pytest.raises(DataError) as caught:
        to_numbers([label], known, "f", [2])
    assert said in str(caught.value)


def test_forms_are_read_as_the_labels_say() -> None:
    vectors = Labels("multi-label", ("a", "b", "c"), form="vectors")
    assert to_numbers(["[1 0 "
                       "1]", "[0, 0, 0]", "[True, False, False]"], vectors, "f", [1, 2, 3]).tolist() == [
        [1, 0, 1], [0, 0, 0], [1, 0, 0]]
    commas = Labels("regression", (), 0, 5, form="decimal commas")
    assert to_numbers(["2,5", "5"], commas, "f", [1, 2]).tolist() == [0.5, 1]
    assert commas.number("2.5") == 2.5 and commas.number("1.250") is None
    separated = Labels("multi-label", ("a", "b"), separator=";")
    assert to_numbers(["a; b", "b", "[]", "['a']"], separated, "f", range(4)).tolist() == [
        [1, 1], [0, 1], [0, 0], [1, 0]]
