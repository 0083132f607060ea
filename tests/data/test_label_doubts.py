"""Classes that may be something else are told."""

from __future__ import annotations

import pytest

from polytask.data.label_doubts import rare_separator_of, separator_of
from polytask.data.label_inference import infer
from polytask.data.label_kind import Wanted

DOUBTS = {
    "composition": (["caf\u00e9", "cafe\u0301", "tea"], '"cafe\\u0301", "caf\\u00e9" differ by blanks'),
    "no-break blank": (["not good", "not\u00a0good"], "differ by blanks, invisible characters"),
    "two blanks": (["not good", "not  good"], "are 2 classes"),
    "zero width": (["joy", "joy\u200b", "fear"], '"joy", "joy\\u200b" differ by blanks'),
    "wide digits": (["1", "\uff11", "2"], '"1", "\\uff11" differ by'),
    "capitals": (["Good", "good"], '"Good", "good" differ by capitals alone'),
    "spellings of a number": (["1", "1.0", "2", "other"], '"1", "1.0" are one number and 2 classes'),
    "a boolean and a number": (["0", "1", "true", "1.0"], '"true", "1", "1.0" may mean the same and are 3'),
    "False and 0": (["True", "False", "1", "0"], '"False", "0" may mean the same and are 2 classes'),
    "NAN": (["good", "bad", "NAN"], 'the class "NAN" (1 row) looks like a row without a label'),
    "Null": (["good", "bad", "Null"], 'the class "Null" (1 row)'),
    "<na>": (["good", "bad", "<na>"], 'the class "<na>" (1 row)'),
    "single quotes": (["'a'", "'b'"], 'such as "\'a\'" stand in single quotes'),
    "objects": (['{"a": 1}', '{"a": 0}'], "look like objects"),
    "no label of SNLI": (["-1", "0", "1", "2"], 'the class "-1" (1 row) looks like a row without a label'),
    "a rare -1": (["0", "1"] * 20 + ["-1"], 'the class "-1" (1 row)'),
    "lists whose names never stand alone": (["a,b", "b,c", "c,a"], 'separator = ","'),
    "vectors in words": (["1;0;1", "0;1;0"], 'separator = ";"'),
    "percents": (["10%", "55%", "90%"], 'such as "10%" are not plain numbers'),
    "money": (["$1.50", "$2.50"], 'such as "$1.50" are not plain numbers'),
    "two separators": (["1.200,50", "2.300,10"], "are not plain numbers"),
}


GRADES = [f"{n / 10}" for n in range(50)]


@pytest.mark.parametrize(("mark", "others", "bounds"), [
    ("-1", "0 to 4.9", "-1, 4.9"), ("-9999", "0 to 4.9", "-9999, 4.9"), ("999", "0 to 4.9", "0, 999"),
])
def test_a_repeated_value_far_from_the_others_is_doubted(mark: str, others: str, bounds: str) -> None:
    (note,) = infer(GRADES + [mark] * 3).notes
    assert note == (f"the label {mark} (3 rows) lies outside the others ({others}) and looks like a row "
                    f"without "
                    f'a label; exclude such rows with where = {{ label = {{ not = ["{mark}"] }} }}, or set '
                    f"range = [{bounds}] if it is one")
    assert len(infer(["0", "1.5", "2", "3", "4.5"] * 3 + [mark] * 3, Wanted(kind="regression")).notes) == 1
    assert infer(GRADES + [mark] * 3, Wanted(range=(-9999, 999))).notes == ()
    assert infer([*GRADES, mark]).notes == ()


@pytest.mark.parametrize("labels", [
    GRADES * 3, [f"{n / 10}" for n in range(-10, 11)] * 3, [*GRADES, "7.5", "7.5"],
    ["0.25", "-1.5", "3"] * 9,
], ids=["grades", "polarity", "a little beyond", "three far apart"])
def test_an_honest_scale_is_not_doubted(labels: list[str]) -> None:
    assert infer(labels).notes == ()


@pytest.mark.parametrize(("labels", "said"), DOUBTS.values(), ids=DOUBTS)
def test_a_doubt_is_reported(labels: list[str], said: str) -> None:
    notes = infer(labels).notes
    assert any(said in note for note in notes), notes


@pytest.mark.parametrize("labels", [
    ["-1", "0", "1"], ["-1", "1"], ["1/5", "4/5"], ["New York, NY", "Albany, NY"], ["a", "b", "{"],
    ["FAVOR", "AGAINST", "NONE"],
    ["\u00df", "s"], ["'tis", "no"],
], ids=str)
def test_what_is_plain_is_not_doubted(labels: list[str]) -> None:
    assert [note for note in infer(labels).notes if "positive class" not in note] == []


def test_a_rare_separator_separates_names_or_numbers() -> None:
    assert rare_separator_of({"joy fear", "joy", "fear"}) == (" ", "joy fear")
    assert rare_separator_of({"joy\tfear", "joy", "fear"}) == ("\t", "joy\tfear")
    assert rare_separator_of({"1 2", "3"}) == (" ", "1 2")
    assert rare_separator_of({"very good", "good"}) is None is rare_separator_of({"1:2", "C#"})


def test_a_separator_separates_names_or_parts_of_others() -> None:
    assert separator_of({"a,b", "a", "b"}) == (",", "a,b")
    assert separator_of({"a,b", "b,a"}) == (",", "a,b")
    assert separator_of({"a,b", "a,c"}) is None
