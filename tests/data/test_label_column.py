"""A column of labels is seen as a whole: what is missing depends on what stands beside it."""

from __future__ import annotations

import pytest

from polytask.data.label_column import LabelColumn


@pytest.mark.parametrize(("labels", "kept"), [
    (["0", "1", "?", "none", "N/A", "NaN", ""], ["0", "1"]),
    (["yes", "no", "none", "?", "NaN", "\u3000"], ["yes", "no", "none", "?"]),
    (["1", "2", "other", "?"], ["1", "2", "other"]),
    (["3,5", "4", "-"], ["3,5", "4"]),
    (["?", "", "none"], []),
])
def test_what_is_not_a_label_is_left_out(labels: list[str], kept: list[str]) -> None:
    assert list(LabelColumn(labels).counts) == kept


def test_names_of_the_config_are_labels_whatever_they_look_like() -> None:
    column = LabelColumn(["NaN", "?", "0", "1", ""], ("NaN", "?", "0", "1"))
    assert list(column.counts) == ["NaN", "?", "0", "1"] and column.rows == 4


def test_numbers_and_words_are_distinguished() -> None:
    column = LabelColumn(["1", "2.5", "007", "x", "x"])
    assert column.numbers == {"1": 1.0, "2.5": 2.5} and column.words == ["x", "007"]
    assert not column.numeric and not column.whole and column.count(column.words) == 3


def test_vectors_have_one_length_and_no_quotes() -> None:
    assert LabelColumn(["[1, 0]", "[0 1]"]).vector_width == 2
    for labels in (["[1, 0]", "[0]"], ["['1', '0']"], ["[1]", "[0]"], ["[2, 0]"], ["[1, 0]", "x"]):
        assert LabelColumn(labels).vector_width == 0


def test_one_sure_list_makes_lists_of_all_in_brackets() -> None:
    assert LabelColumn(["[a]", "[b]"]).lists == []
    assert LabelColumn(["[a]", "[]", "b"]).lists == ["[a]", "[]"]
    assert LabelColumn(["a|b", "b", "|"]).lists == ["a|b"]


def test_thousands_and_decimals_are_distinguished_by_the_others() -> None:
    assert LabelColumn(["1,250", "2"]).thousands == "1,250"
    assert LabelColumn(["1,250", "2,5"]).thousands is None
    assert LabelColumn(["2,5", "1.250", "900"]).mixed_signs == ("2,5", "1.250")
    assert LabelColumn(["2,5", "1.5"]).mixed_signs is None is LabelColumn(["1.250", "2"]).mixed_signs
    assert LabelColumn(["1,250", "2,5"]).decimal_commas and not LabelColumn(["1,5", "x"]).decimal_commas
