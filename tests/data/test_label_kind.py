"""Every guess about labels names the setting that says otherwise; what is certain says nothing."""

from __future__ import annotations

import pytest

from polytask.core.errors import DataError
from polytask.data.label_inference import infer
from polytask.data.label_kind import Wanted

GUESSES = {
    "ids": ([str(n) for n in range(77)], "77 whole numbers from 0 to 76 are treated as "
                                         "classes", 'kind = "regression"'),
    "measures": ([str(n) for n in range(101)], "101 whole numbers from 0 to 100 are treated as a regr",
                 'kind = "classes"'),
    "a word among ids": (["1", "2"] * 40 + ["other"], '"other" in 1 of 81 rows', 'kind = "regression"'),
    "a word among measures": (["0.5", "1.5"] * 40 + ["x"], '1 of 81 rows has a word where the others '
                                                           'have numbers ("x")',
                              'kind = "classes"'),
    "few "
    "pipes": (["C", "C++"] * 20 + ["C|C++"], '"|" stands in 1 of 41 labels '
                                             '("C|C++")', 'kind = "multi-label"'),
    "some pipes": (["a", "b"] * 5 + ["a|b"], '1 of 11 labels are lists ("a|b")', 'kind = "classes"'),
    "vectors": (["[1, 0]", "[0, 1]"], "0/1 vectors of 2 classes", "classes = […]"),
    "commas between names": (["a,b", "a", "b", "b"], '"a,b" look like lists', 'separator = ","'),
    "decimal commas": (["3,5", "2"], 'labels such as "3,5" are read as numbers', 'kind = "classes"'),
    "a word among decimal commas": (["3,5", "2,5"] * 20 + ["bad"],
                                    '1 of 41 rows has a word where the others have numbers ("bad")',
                                    'kind = "classes"'),
    "60 "
    "words": ([f"w{n}" for n in range(60)] * 4, "60 different labels are treated as "
                                                "classes", 'kind = "classes"'),
    "answers in words and numbers": (["yes", "no", "1", "0"], 'mixed ("no", "yes" in 2 of 4 rows)',
                                     "if two of them mean the same, write them alike"),
    "a positive class by the alphabet": (["OFF", "NOT"], 'the positive class is "OFF"', 'positive = "NOT"'),
    "spellings of numbers": (["1", "1.0", "0"], '"1.0" is read as "1"', "all labels are numbers"),
    "spellings of booleans": (["true", "True", "false"], '"True", "false", "true" are read as', "booleans"),
    "capitals": (["Good", "good"] * 2, '"Good", "good" differ by capitals alone', "write them alike"),
    "a mark": (["a", "b", "-"], 'the class "-" (1 row) looks like a row without a label', "where"),
    "lists of one": (["a", "b"], "no row has two labels", 'kind = "classes"'),
}


@pytest.mark.parametrize(("labels", "said", "setting"), GUESSES.values(), ids=GUESSES)
def test_a_guess_is_reported_with_its_setting(labels: list[str], said: str, setting: str) -> None:
    wanted = Wanted(kind="multi-label") if said.startswith("no row has two") else Wanted()
    notes = infer(labels, wanted).notes
    assert any(said in note and setting in note for note in notes), notes


@pytest.mark.parametrize("labels", [
    ["0", "1"], ["no", "yes"], ["a", "b", "c"], ["0.5", "1.5", "NaN"], ["a|b", "b", "a"], ["['a', "
                                                                                           "'b']", "[]"],
    ["not toxic", "toxic"], ["False", "True"], ["007", "07"],
], ids=str)
def test_what_is_certain_says_nothing(labels: list[str]) -> None:
    notes = [note for note in infer(labels).notes if "positive class" not in note]
    assert notes == []


@pytest.mark.parametrize(("wanted", "labels"), [
    (Wanted(kind="classes"), [str(n) for n in range(77)]),
    (Wanted(kind="regression"), [str(n) for n in range(77)]),
    (Wanted(positive="OFF"), ["OFF", "NOT"]), (Wanted(classes=("OFF", "NOT")), ["OFF", "NOT"]),
    (Wanted(kind="multi-label"), ["a"] * 40 + ["a|b"]),
    (Wanted(kind="classes"), ["a"] * 40 + ["a|b", "b", "c"]),
    (Wanted(classes=("a", "b", "-")), ["a", "b", "-"]), (Wanted(separator=","), ["a,b", "a"]),
])
def test_the_setting_silences_the_guess(wanted: Wanted, labels: list[str]) -> None:
    assert infer(labels, wanted).notes == ()


def test_words_among_numbers_are_named_where_they_are_too_many() -> None:
    numbers = [f"{n / 10}" for n in range(94)]
    with pytest.raises(DataError) as caught:
        infer([*numbers, *["unclear"] * 6])
    assert str(caught.value) == (
        'the labels: 6 of 100 rows have a word where the others have numbers ("unclear"), expected plain '
        'numbers; '
        'set kind = "regression", which leaves them out')
    with pytest.raises(DataError, match=r'\("\u22120.5"\), expected plain numbers; write "\u22120.5" and '
                                         'the like'):
        infer([*numbers, *["\u22120.5"] * 6])


@pytest.mark.parametrize(("word", "said"), [
    ("bad", "1 of 101 rows has a word where"), ("1e400", "1 of 101 rows has no finite number where"),
    ("-inf", "1 of 101 rows has no finite number where"),
])
def test_one_row_without_a_number_is_noted(word: str, said: str) -> None:
    (note,) = infer([*(f"{n / 10}" for n in range(100)), word]).notes
    assert said in note and "and is left out" in note
