"""Labels are of the kind that DESIGN says, and become the numbers a loss takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytask.core.errors import ConfigError, DataError
from polytask.data.label_inference import Wanted, infer, outward
from polytask.data.label_targets import to_numbers
from polytask.data.labels import Labels

RULES = {
    "two integers": (["0", "1", "0"], Labels("binary", ("0", "1"))),
    "1.0 counts as an integer": (["1.0", "0.0", "1"], Labels("binary", ("0", "1"))),
    "integers in their own order": (["10", "9", "-1", "2"], Labels("classes", ("-1", "2", "9", "10"))),
    "50 integers": ([str(n) for n in range(50)], Labels("classes", tuple(map(str, range(50))))),
    "77 ids": ([str(n) for n in range(77)], Labels("classes", tuple(map(str, range(77))))),
    "0 to 100": ([str(n) for n in range(101)], Labels("regression", (), 0, 100)),
    "51 ages": ([str(n) for n in range(18, 69)], Labels("regression", (), 15, 70)),
    "many numbers with gaps": ([str(7 * n) for n in range(60)], Labels("regression", (), 0, 450)),
    "other numbers": (["0.2", "4.9", "3"], Labels("regression", (), 0, 5)),
    "two words": (["yes", "no", "yes"], Labels("binary", ("no", "yes"))),
    "words": (["b", "a", "c"], Labels("classes", ("a", "b", "c"))),
    "lists": (["red|blue", "blue", "red"], Labels("multi-label", ("blue", "red"))),
    "JSON lists": (['["red"]', "[]", '["x|y", "red"]'], Labels("multi-label", ("red", "x|y"))),
    "a stray word among numbers": (["1.5"] * 40 + ["2.5", "x"], Labels("regression", (), 1.5, 2.5)),
    "a rare word among ids": (["1", "2"] * 40 + ["x"], Labels("classes", ("1", "2", "x"))),
    "codes": (["007", "07", "1E3"], Labels("classes", ("007", "07", "1E3"))),
    "one code": (["7", "007"], Labels("binary", ("007", "7"))),
    "long ids": (["12345678901234567890", "12345678901234567891"],
                 Labels("binary", ("12345678901234567890", "12345678901234567891"))),
    "1e0 is 1 among numbers": (["1e0", "1", "0"], Labels("binary", ("0", "1"))),
    "1.0 beside words": (["1.0", "1", "few"], Labels("classes", ("1", "1.0", "few"))),
    "no label among numbers": (["0.0", "1.0", "NaN", "?", "none", "N/A", ""], Labels("binary", ("0", "1"))),
    "none among words": (["favor", "against", "none", "NaN", "null", "None"],
                         Labels("classes", ("against", "favor", "none"))),
    "blanks of Unicode": (["a", "b", "\u3000", "\u200b", "\ufeff"], Labels("binary", ("a", "b"))),
    "decimal commas": (["3,5", "1", "0,25"], Labels("regression", (), 0, 3.5, form="decimal commas")),
    "pandas lists": (["['b', 'a']", "[]", "['a']"], Labels("multi-label", ("a", "b"))),
    "numpy lists": (["['b' \"a's\"]", "['b']"], Labels("multi-label", ("a's", "b"))),
    "ids in lists": (["[0, 3]", "[1]", "[2, 3]"], Labels("multi-label", ("0", "1", "2", "3"))),
    "vectors": (["[1, 0, 1]", "[0 0 1]", "[1. 1. 0.]"],
                Labels("multi-label", ("0", "1", "2"), form="vectors")),
    "a few pipes are "
    "names": (["C", "C++", "C#"] * 10 + ["C|C++"], Labels("classes", ("C", "C#", "C++", "C|C++"))),
    "names in brackets": (["[spam]", "[ham]"], Labels("binary", ("[ham]", "[spam]"))),
    "names in brackets beside lists": (["[spam]", "[ham, spam]"], Labels("multi-label", ("ham", "spam"))),
    "spellings of "
    "booleans": (["true", "True", "TRUE", "false", "false", "True"], Labels("binary", ("false", "True"))),
    "capitals": (["Good", "good", "bad"], Labels("classes", ("Good", "bad", "good"))),
    "not x and x": (["not_duplicate", "duplicate"], Labels("binary", ("not_duplicate", "duplicate"))),
    "60 words in many "
    "rows": ([f"w{n:02}" for n in range(60)] * 4, Labels("classes", tuple(f"w{n:02}" for n in range(60)))),
}


@pytest.mark.parametrize(("labels", "expected"), RULES.values(), ids=RULES)
def test_the_kind_is_recognized_from_the_labels(labels: list[str], expected: Labels) -> None:
    assert infer(labels).labels == expected


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
    "numbers as classes": (Wanted(kind="classes"), ["0.50", "0.5", "1"], Labels("binary", ("0.5", "1"))),
    "a mark as a class": (Wanted(classes=("NaN", "a")), ["NaN", "a"], Labels("binary", ("NaN", "a"))),
    "positive": (Wanted(positive="NOT"), ["NOT", "OFF"], Labels("binary", ("OFF", "NOT"))),
    "positive of numbers": (Wanted(positive="0"), ["0", "1.0"], Labels("binary", ("1", "0"))),
    "positive among given "
    "classes": (Wanted(classes=("a", "b"), positive="a"), ["a"], Labels("binary", ("b", "a"))),
    "separator": (Wanted(separator=","), ["a,b", "c", "a, c", "[]"],
                  Labels("multi-label", ("a", "b", "c"), separator=",")),
    "pipes as "
    "lists": (Wanted(kind="multi-label"), ["a"] * 40 + ["b", "a|b"], Labels("multi-label", ("a", "b"))),
    "pipes as names": (Wanted(kind="classes"), ["a|b", "a"], Labels("binary", ("a", "a|b"))),
    "named vectors": (Wanted(classes=("x", "y")), ["[1, 0]", "[0, 1]"],
                      Labels("multi-label", ("x", "y"), form="vectors")),
    "a regression of ids": (Wanted(kind="regression"), ["0", "1", "x"], Labels("regression", (), 0, 1)),
    "decimal commas as classes": (Wanted(kind="classes"), ["3,5", "2,5"], Labels("binary", ("2,5", "3,5"))),
    "raw labels": (Wanted(range=(0, 5), label_scale="raw"), ["1.5"],
                   Labels("regression", (), 0, 5, unit=False)),
}


@pytest.mark.parametrize(("wanted", "labels", "expected"), OVERRIDES.values(), ids=OVERRIDES)
def test_the_config_overrides_what_is_recognized(
    wanted: Wanted, labels: list[str], expected: Labels
) -> None:
    assert infer(labels, wanted).labels == expected


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
    "nothing but marks": (Wanted(), ["NaN", "", "?"], DataError, "no row has a label"),
    "thousands": (Wanted(), ["1,250", "2,500"], DataError, "may be a thousand or a decimal number"),
    "blanks in lists": (Wanted(kind="multi-label"), ["joy fear", "joy", "fear"], DataError,
                        'or set separator = " "'),
    "tabs in lists": (Wanted(kind="multi-label"), ["joy\tfear", "joy", "fear"], DataError,
                      'or set separator = "\\t"'),
    "ids with blanks": (Wanted(kind="multi-label"), ["1 2", "3", "2"], DataError, 'found "1 2"'),
    "other commas": (Wanted(kind="multi-label"), ["joy、fear", "joy", "fear"], DataError,
                     'separator = "、"'),
    "lists of lists": (Wanted(), ["[['joy']]", "[['fear']]"], DataError,
                       "labels such as [['joy']] look like lists and cannot be read as such; expected a|b"),
    "bare vectors": (Wanted(kind="multi-label"), ["0 1 0", "1 0 0"], DataError,
                     "labels such as 0 1 0 look"),
    "points and commas": (Wanted(), ["1.250", "2,5", "900"], DataError,
                          '"1.250" may be a thousand or a decimal number beside "2,5"'),
    "commas in lists": (Wanted(kind="multi-label"), ["joy,anger", "joy", "anger"], DataError,
                        'found "joy,anger", expected a|b'),
    "no separator that is "
    "known": (Wanted(kind="multi-label"), ["a; b", "c; d"], DataError, 'separator = ";"'),
    "a broken list": (Wanted(), ["['a', 'b']", "['a', 'b"], DataError, "not a list") ,
    "probabilities": (Wanted(), ["[0.2, 0.8]", "[0.5, 0.5]"], DataError, "probabilities are not labels"),
    "vectors of different lengths": (Wanted(), ["[0, 1, 1]", "[1, 0]"], DataError,
                                     "0/1 vectors of one length"),
    "vectors with bars": (Wanted(), ["1|0|1", "0|1|0"], DataError, "written as [1, 0, 1]"),
    "classes that are not as many as a vector has": (
        Wanted(classes=("a", "b", "c")), ["[0, 1]", "[1, 0]"], ConfigError, "expected 2 for vectors"),
    "positive of three": (Wanted(positive="a"), list("abc"), ConfigError, "positive: only two classes"),
    "positive that is none": (Wanted(positive="yess"), ["yes", "no"], ConfigError, 'did you mean "yes"?'),
    "positive of a "
    "regression": (Wanted(positive="1", range=(0, 1)), ["0.5", "1"], ConfigError, "positive: "),
    "separator of classes": (Wanted(kind="classes", separator=","), ["a", "b"], ConfigError, "separator: "),
    "regression of words": (Wanted(kind="regression"), ["a", "b"], DataError, "expected numbers"),
}


@pytest.mark.parametrize(("wanted", "labels", "error", "said"), BAD.values(), ids=BAD)
def test_impossible_labels_are_reported(
    wanted: Wanted, labels: list[str], error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as caught:
        infer(labels, wanted, "f.csv")
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


@given(st.lists(st.integers(-40, 40), min_size=2).filter(lambda x: len(set(x)) > 1))
def test_classes_of_integers_come_back(values: list[int]) -> None:
    texts = [f"{value}.0" if k % 2 else str(value) for k, value in enumerate(values)]
    labels = infer(texts).labels
    if labels.is_regression:
        assert len(set(values)) > 50
        return
    targets = to_numbers(texts, labels, "f", range(len(texts)))
    assert [int(labels.classes[target]) for target in targets] == values
    assert list(labels.classes) == [str(value) for value in sorted(set(values))]
