"""Rows that are the same, or nearly so, as a slow comparison of their texts finds them."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from polytask.data.cache import Cache
from polytask.data.duplicates import Fingerprint, nearly_shared, repeats, same_rows, shared
from polytask.data.reading import Columns
from small_data import read_rows, write


def fingerprint(folder: Path, name: str, texts: list[str]) -> Fingerprint:
    path = write(folder / name, "text", *texts)
    return Fingerprint(read_rows(path, Columns(("text",)), Cache(folder / "cache")))


def test_repeats_name_the_first_row_and_whether_the_labels_differ(tmp_path: Path) -> None:
    found = repeats(fingerprint(tmp_path, "a.csv", ["one", "two", "one", "three", "one"]),
                    np.array([0, 1, 0, 1, 1]))
    assert found.rows.tolist() == [2, 4] and found.earlier.tolist() == [0, 0]
    assert found.conflicting.tolist() == [False, True]


def test_shared_rows_are_those_of_equal_texts(tmp_path: Path) -> None:
    here = fingerprint(tmp_path, "a.csv", ["red", "green", "blue"])
    there = fingerprint(tmp_path, "b.csv", ["grey", "blue", "red"])
    found = shared(here, there)
    assert list(zip(found.rows.tolist(), found.other.tolist(), strict=True)) == [(0, 2), (2, 1)]


def test_nearly_shared_rows_are_found_and_equal_ones_are_not_among_them(tmp_path: Path) -> None:
    text = " ".join(f"word{n}" for n in range(60))  # one word of sixty changes few of its shingles
    here = fingerprint(tmp_path, "a.csv", [text, "something else entirely about nothing at all", "equal"])
    there = fingerprint(tmp_path, "b.csv", ["equal", text + "s", "a third text that nobody has seen"])
    found = nearly_shared(here, there)
    assert (found.rows.tolist(), found.other.tolist()) == ([0], [1])


def test_same_rows_are_shared_rows_but_for_white_space(tmp_path: Path) -> None:
    chance = random.Random(3)
    words = ["a", "bee", "é", "好", "sees no", ""]
    here, there = ([" ".join(chance.choices(words, k=chance.randrange(1, 4))) or "x" for _ in range(400)]
                   for _ in range(2))
    ours, theirs = fingerprint(tmp_path, "here.csv", here), fingerprint(tmp_path, "there.csv", there)
    found = same_rows(ours.rows, theirs.rows)
    first = {text: row for row, text in reversed([*enumerate(theirs.rows.texts())])}
    assert list(zip(found.rows.tolist(), found.other.tolist(), strict=True)) == [
        (row, first[text]) for row, text in enumerate(ours.rows.texts()) if text in first]
    assert 20 < len(found) <= len(shared(ours, theirs))
