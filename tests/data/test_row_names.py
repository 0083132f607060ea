"""First fields that are the names of rows, and first fields that are not."""

from __future__ import annotations

import pytest

from polytask.data.row_names import are_row_names, consecutive


def test_names_are_counters_alone_or_behind_one_word() -> None:
    assert are_row_names(["0", "1", "2"]) and not are_row_names(["0", "2"])
    assert are_row_names(["row9", "row10"]) and are_row_names(["dev-001", "dev-002"])
    assert not are_row_names(["r7", "r2"]) and not are_row_names(["r7", "s8"])
    assert not are_row_names(["a1", "a1"]) and not are_row_names(["Well", "So"]) and not are_row_names([])


@pytest.mark.parametrize("names", [["@user0", "@user1"], ["#day1", "#day2"], ["10:01", "10:02"],
                                   ["room7", "suite8"], ["very room1", "very room2"], ["1"], ["row1"]])
def test_the_start_of_a_text_is_no_row_name(names: list[str]) -> None:
    assert not are_row_names(names)


def test_numbers_in_order() -> None:
    assert consecutive(["7", "8", "9"])
    assert not consecutive(["7", "9"]) and not consecutive(["1", "b"]) and not consecutive([])
