"""Samplers: passes are permutations, draws hold no row twice, and integers are enough to go on."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.learn.sampler import Sampler

quick = settings(derandomize=True, database=None, deadline=None, max_examples=120)
sizes_of_draws = st.lists(st.integers(1, 40), min_size=1, max_size=30)


def drawn(sampler: Sampler, sizes: list[int]) -> list[list[int]]:
    return [sampler.draw(size).tolist() for size in sizes]


@quick
@given(rows=st.integers(1, 40), sizes=sizes_of_draws, continues=st.booleans())
def test_every_pass_is_a_permutation(rows: int, sizes: list[int], continues: bool) -> None:
    flat = [row for draw in drawn(Sampler(rows, 3, "sst", continues), sizes) for row in draw]
    assert len(flat) == sum(sizes)
    for start in range(0, len(flat) - rows + 1, rows):
        assert sorted(flat[start : start + rows]) == list(range(rows))
    assert max(Counter(flat).values()) <= -(-len(flat) // rows)


@quick
@given(rows=st.integers(1, 40), sizes=sizes_of_draws)
def test_no_row_is_twice_in_a_draw_that_the_set_can_fill(rows: int, sizes: list[int]) -> None:
    for draw in drawn(Sampler(rows, 3, "sst", True), [min(size, rows) for size in sizes]):
        assert len(set(draw)) == len(draw)


@quick
@given(rows=st.integers(1, 40), sizes=sizes_of_draws, cut=st.integers(0, 30),
       continues=st.booleans(), epochs=st.integers(1, 3))
def test_a_sampler_continues_from_its_integers(
    rows: int, sizes: list[int], cut: int, continues: bool, epochs: int
) -> None:
    whole, first, second = (Sampler(rows, 3, "sst", continues) for _ in range(3))
    for epoch in range(epochs):
        whole.start(epoch)
        expected = drawn(whole, sizes)
        first.start(epoch)
        done = drawn(first, sizes[:cut])
        second.restore(json.loads(json.dumps(first.state())))
        second.start(epoch)  # beginning the epoch it is in already changes nothing
        assert done + drawn(second, sizes[cut:]) == expected
        assert second.state() == whole.state()
        first = second


def test_the_state_stays_small() -> None:
    sampler = Sampler(100_000, 3, "quora", True)
    for _ in range(7000):
        sampler.draw(16)
    assert len(json.dumps(sampler.state())) < 300


def test_a_fresh_sampler_reshuffles_each_epoch_and_the_other_continues() -> None:
    fresh, going = Sampler(10, 3, "sst", False), Sampler(10, 3, "sst", True)
    first = fresh.draw(4).tolist()
    fresh.start(1)
    assert fresh.draw(4).tolist() != first
    one = going.draw(4).tolist()
    going.start(1)
    rest = going.draw(6).tolist()
    assert sorted(one + rest) == list(range(10))


def test_each_pass_task_seed_and_epoch_has_its_own_order() -> None:
    def order(seed: int, task: str, epoch: int, passes: int) -> tuple[int, ...]:
        sampler = Sampler(50, seed, task, False)
        sampler.start(epoch)
        return tuple([sampler.draw(50) for _ in range(passes)][-1].tolist())

    orders = [order(1, "sst", 0, 1), order(1, "sst", 0, 2), order(1, "quora", 0, 1),
              order(2, "sst", 0, 1), order(1, "sst", 1, 1), order(1, "sst", 1, 2)]
    assert len(set(orders)) == len(orders)
    assert order(1, "sst", 1, 2) == orders[-1]


def test_a_draw_across_the_end_of_a_pass_finds_all_rows_alike() -> None:
    """The rows after a crossing are those that the crossing draw lacks, all equally often."""
    count = np.zeros(6)
    for seed in range(3000):
        sampler = Sampler(6, seed, "sst", True)
        tail = set(sampler.draw(4).tolist())  # leaves two
        crossing = sampler.draw(4).tolist()
        assert set(crossing[:2]).isdisjoint(tail)
        count[crossing[2:]] += 1
    # Two of the four rows of `tail` in each of 3000: each of six rows 1000 times, within 4 sigma.
    assert np.abs(count - 1000).max() < 4 * np.sqrt(3000 * (1 / 3) * (2 / 3))


def test_orders_do_not_change_between_versions() -> None:
    """A checkpoint holds integers only: another order under them would be another training."""
    sampler = Sampler(8, 11711, "sst", True)
    drawn_rows = [sampler.draw(5).tolist() for _ in range(3)]
    assert drawn_rows == [[6, 1, 7, 5, 4], [2, 3, 0, 5, 7], [1, 3, 4, 2, 0]]
    assert sampler.state() == {"epoch": 0, "pass": 1, "position": 7, "behind": [2, 3, 0], "head": 2}
