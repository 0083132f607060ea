"""A column is a text, a label, an id or a split by its cells, and by its name where they leave it open."""

from __future__ import annotations

import pytest

from polytask.data.column_profile import Profile, count_words


@pytest.mark.parametrize(("text", "words"), [
    ("a quiet room", 3), ("", 0), ("这部电影很好看", 4), ("映画 good です", 3), ("ภาษาไทย", 4),
])
def test_words_are_counted_in_scripts_without_blanks(text: str, words: int) -> None:
    assert count_words(text) == words


def test_many_classes_are_a_label_under_the_name_of_one() -> None:
    cells = [f"intent {n % 60} x" for n in range(90)]
    assert Profile("intent", [cell.replace(" ", "_") for cell in cells]).labels is not None
    assert Profile("note", [cell.replace(" ", "_") for cell in cells]).labels is None


def test_a_column_of_splits_or_of_ids_is_not_a_label() -> None:
    split = Profile("part", ["train", "dev", "test", "train"])
    assert split.is_split and split.labels is None
    ids = Profile("row_id", [f"r{n}" for n in range(60)])
    assert ids.is_id and ids.labels is None


def test_zeros_and_ones_are_flags_and_zeros_alone_are_a_label_that_no_row_has() -> None:
    assert Profile("toxic", ["0", "1"] * 20).is_flag
    never = Profile("threat", ["0"] * 40)
    assert never.is_never and not never.is_flag


def test_a_column_of_dates_is_not_a_label() -> None:
    days = [f"2025-0{n % 9 + 1}-1{n % 7}" for n in range(90)]
    assert Profile("received", days).labels is None
    times = [f"1{n % 7}.{n % 9 + 1}.2025 14:0{n % 10}" for n in range(90)]
    assert Profile("received", times).labels is None
    assert Profile("version", [f"1.{n % 3}-beta" for n in range(90)]).labels is not None
