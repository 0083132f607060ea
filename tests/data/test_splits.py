"""Which rows go where depends on the seed and the rows alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.data.cache import Cache
from polytask.data.reading import Columns, Rows
from polytask.data.splits import carve, draw, mix, row_keys, shuffled, spread
from small_data import read_rows, write


def rows_of(folder: Path, pairs: list[tuple[str, str]]) -> Rows:
    path = write(folder / "rows.csv", "a,b,label", *(f'"{a}","{b}",1' for a, b in pairs))
    return read_rows(path, Columns(("a", "b"), "label"), Cache(folder / "cache"))


def test_draws_are_pinned() -> None:
    # A change of these numbers changes every user's rows: it needs a line in the change log.
    assert shuffled(8, 11711).tolist() == [6, 5, 1, 4, 2, 0, 3, 7]
    assert draw(1000, 5, 11711).tolist() == [190, 196, 275, 514, 650]


def test_spread_rows_come_from_all_parts_of_a_file() -> None:
    assert spread(10, 4).tolist() == [0, 3, 6, 9]
    assert spread(5, None).tolist() == spread(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert np.diff(spread(61_394, 2000)).max() <= 31


@given(st.integers(1, 300), st.integers(0, 2**40), st.data())
def test_a_smaller_limit_draws_a_part_of_a_larger(rows: int, seed: int, data: st.DataObject) -> None:
    large = data.draw(st.integers(1, rows))
    small = data.draw(st.integers(1, large))
    drawn = draw(rows, large, seed)
    assert len(drawn) == large and len(set(drawn.tolist())) == large
    assert (np.diff(drawn) > 0).all()
    assert set(draw(rows, small, seed).tolist()) <= set(drawn.tolist())
    assert draw(rows, None, seed).tolist() == draw(rows, rows + 1, seed).tolist() == list(range(rows))


def test_other_seeds_draw_other_rows() -> None:
    assert len({tuple(draw(1000, 10, seed).tolist()) for seed in range(20)}) == 20


@settings(max_examples=50)
@given(st.lists(st.integers(0, 30), min_size=2, max_size=200), st.floats(0.05, 0.6),
       st.integers(0, 99), st.booleans())
def test_rows_of_the_same_texts_stay_on_one_side(
    keys: list[int], fraction: float, seed: int, stratified: bool
) -> None:
    given_keys = np.array(keys, dtype=np.uint64)
    strata = np.arange(len(keys)) % 3 if stratified else None
    train, dev = carve(given_keys, strata, fraction, seed)
    assert sorted([*train, *dev]) == list(range(len(keys)))
    assert not set(given_keys[train]) & set(given_keys[dev])


def test_each_class_gives_its_share() -> None:
    strata = np.repeat([0, 1, 2], [700, 250, 50])
    keys = np.arange(1000, dtype=np.uint64)
    train, dev = carve(keys, strata, 0.1, 7)
    assert np.bincount(strata[dev]).tolist() == [70, 25, 5]
    assert np.bincount(strata[train]).tolist() == [630, 225, 45]
    assert carve(keys, None, 0.1, 7)[1].shape == (100,)


def test_rows_that_are_added_move_hardly_any_other() -> None:
    keys = np.arange(1000, dtype=np.uint64)
    before = set(carve(keys, None, 0.1, 7)[1].tolist())
    shifted = np.concatenate([np.arange(5000, 5050, dtype=np.uint64), keys])
    after = {row - 50 for row in carve(shifted, None, 0.1, 7)[1].tolist()}
    assert len(before & after) >= 90


def test_a_pair_has_one_key_in_either_order_and_whatever_its_blanks(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, [("one two", "three"), ("three", " one  two "), ("three", "one Two"),
                              ("one two", "one two"), ("", "three")])
    keys = row_keys(rows.text_columns, rows.index)
    assert keys[0] == keys[1]
    assert len(set(keys.tolist())) == 4


def test_a_key_does_not_depend_on_the_rest_of_the_file(tmp_path: Path) -> None:
    few = rows_of(tmp_path / "few", [("a", "b"), ("c", "d")])
    many = rows_of(tmp_path / "many", [("x", "y")] * 30 + [("c", "d"), ("b", "a")])
    keys = row_keys(many.text_columns, many.index[-2:])
    assert keys.tolist() == row_keys(few.text_columns, few.index).tolist()[::-1]


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_carving_is_the_same_every_time(fraction: float) -> None:
    keys = np.arange(50, dtype=np.uint64)
    again = [carve(keys, None, fraction, 3)[1].tolist() for _ in range(2)]
    assert again[0] == again[1] != carve(keys, None, fraction, 4)[1].tolist()


def test_classes_too_small_for_a_dev_row_give_some_together() -> None:
    rows, classes = 240, 60
    keys = mix(np.arange(rows, dtype=np.uint64))
    train, dev = carve(keys, np.arange(rows) % classes, 0.1, 1)
    assert len(dev) == 24 and len(train) == 216
    with_large = np.where(np.arange(400) < 240, np.arange(400) % 60, 99)
    _, dev = carve(mix(np.arange(400, dtype=np.uint64)), with_large, 0.1, 1)
    assert (with_large[dev] == 99).sum() == 16 and (with_large[dev] != 99).sum() == 24
