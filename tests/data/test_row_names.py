"""First fields that are the names of rows, and first fields that are not."""

from __future__ import annotations

from polytask.data.row_names import are_row_names, consecutive


def test_names_are_numbers_in_order_or_words_with_a_digit() -> None:
    assert are_row_names(["0", "1", "2"]) and not are_row_names(["0", "2"])
    assert are_row_names(["r7", "r2"]) and not are_row_names(["r7"])
    assert not are_row_names(["a1", "a1"]) and not are_row_names(["Well", "So"]) and not are_row_names([])


def test_numbers_in_order() -> None:
    assert consecutive(["7", "8", "9"])
    assert not consecutive(["7", "9"]) and not consecutive(["1", "b"]) and not consecutive([])
