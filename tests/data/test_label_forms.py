"""One cell is read as what it is: no label, a number, a name or a list."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytask.data.label_forms import (
    are_booleans,
    are_numbers,
    canonical,
    decimal_comma,
    is_blank,
    is_code,
    is_on,
    is_sure_list,
    is_unread_list,
    list_items,
    may_be_thousands,
    number,
)

LISTS = {
    '["a", "b"]': ["a", "b"],
    "['a', 'b']": ["a", "b"],
    "['a' 'b']": ["a", "b"],
    "['a'\n 'b']": ["a", "b"],
    "[1, 0]": ["1", "0"],
    "[1 0]": ["1", "0"],
    "[1. 0.]": ["1.", "0."],
    "[True, False]": ["True", "False"],
    "[true, false]": ["true", "false"],
    "[a, very b]": ["a", "very b"],
    "('a',)": ["a"],
    "('a', 'b')": ["a", "b"],
    "{'a'}": ["a"],
    "(1, 2)": ["1", "2"],
    "array(['a', 'b'], dtype=object)": ["a", "b"],
    "array([1, 0])": ["1", "0"],
    '["it\'s", \'5 o"clock\']': ["it's", '5 o"clock'],
    '["\\u00e9"]': ["é"],
    "[]": [], "()": [], "set()": [], "[ ]": [],
    "['a', None]": ["a"],
    '["a", null]': ["a"],
    '["a", ""]': ["a"], '[""]': [], "['a', ' ']": ["a"], "['', 'a', nan]": ["a"],
    "[a]": ["a"],
    "[np.str_('joy'), np.str_(\"it's (so)\")]": ["joy", "it's (so)"],
    "[np.int64(1), np.int64(0)]": ["1", "0"],
    "tensor([1, 0])": ["1", "0"], "tensor([1., 0.], dtype=torch.float64)": ["1.", "0."],
    "Index(['joy'], dtype='object')": ["joy"], "dict_keys(['joy'])": ["joy"],
    "['np.str_(a)']": ["np.str_(a)"],
}
UNREAD = ["[['joy']]", "['joy', fear]", "['joy', 'fear'", "[0 1 ... 0 1]", "[{'a': 1}]", '[\\"joy\\"]',
          "\"['joy']\"", "(joy, fear)", "{joy,fear}", "0 1 0", "0. 1.", "0,1,0", "Series([1, 0], name='x')"]

NO_LISTS = ["a", "a|b", "a, "
                        "b", "[", "['a', "
                                  "'b'", "['a' 'b', 'c']", "[very good]", "(sic)", "(a, b)", ":-)", "{a}",
            "[0 0 ... 1]", '[["a"], "b"]', '{"a": 1}', "['a', , 'b']", ""]


@pytest.mark.parametrize(("label", "items"), LISTS.items(), ids=LISTS)
def test_lists_are_read(label: str, items: list[str]) -> None:
    assert list_items(label) == items


@pytest.mark.parametrize("label", NO_LISTS)
def test_what_is_not_a_list_is_none(label: str) -> None:
    assert list_items(label) is None


def test_a_list_that_cannot_be_read_looks_like_one() -> None:
    assert [label for label in UNREAD if not is_unread_list(label)] == []
    names = ["a", "[very good]", "[spam", "[a, b]", "(sic)", "(a) b, c", '{"a": 1}', "{'a': 1, 'b': 2}",
             "0", "0,1", "01", "10 0", "New York, NY", ":-[", "[0, 1]", "['a']"]
    assert [label for label in names if is_unread_list(label)] == []


def test_only_brackets_around_one_bare_word_can_be_a_name() -> None:
    assert not is_sure_list("[spam]") and not is_sure_list("spam")
    assert all(map(is_sure_list, ["[]", "['spam']", '["spam"]', "[1]", "[a, b]"]))


@given(st.lists(st.text(max_size=6), max_size=5))
def test_arrays_are_read_as_numpy_writes_them(names: list[str]) -> None:
    names = [name.replace("\0", "") for name in names]
    shown = [name for name in names if not is_blank(name)]
    assert list_items(str(np.array(names, dtype=object))) == shown
    assert list_items(repr(names)) == shown


def test_numbers_codes_and_commas() -> None:
    assert [number(each) for each in ["1", "1.", ".5", "-2e3", "1_0", "inf", "nan", "1e999", "٣", ""]] == [
        1, 1, 0.5, -2000, None, None, None, None, None, None]
    codes = [each for each in ["007", "-01", "0", "0.5", "10", "00"] if is_code(each)]
    assert codes == ["007", "-01", "00"]
    assert [decimal_comma(each) for each in ["3,5", "-0,25", "3,", "1,2,3", "a,b"]] == [
        3.5, -0.25, None, None, None]
    assert [each for each in ["1,250", "12,500", "0,125", "1,25", "1250"] if may_be_thousands(each)] == [
        "1,250", "12,500"]
    assert [canonical(each) for each in ["1.0", "1e3", "-0.0", "0.50", "x", "+2"]] == [
        "1", "1000", "0", "0.5", "x", "2"]
    assert canonical("12345678901234567890.0") == "12345678901234567890"
    assert are_numbers(["1", "2.0"]) and not are_numbers(["1", "007"]) and not are_numbers(["a"])
    assert are_booleans(["true", "FALSE"]) and not are_booleans(["true", "1"])
    assert [is_on(each) for each in ["1", "0.0", "True", "2", "x"]] == [True, False, True, None, None]


def test_blanks_of_every_alphabet_show_nothing() -> None:
    assert all(map(is_blank, ["", " ", "\t", "\u00a0", "\u3000", "\u200b", "\ufeff", "\x00"]))
    assert not any(map(is_blank, ["0", "-", "é", "好"]))
