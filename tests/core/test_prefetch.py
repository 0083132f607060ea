"""Prefetching: the same items in the same order, one ahead, and errors where their item would come."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from polytask.core.prefetch import prefetch


def test_the_items_come_in_their_order() -> None:
    assert list(prefetch(range(100))) == list(range(100))
    assert list(prefetch([])) == []
    assert list(prefetch([None, 0, ""])) == [None, 0, ""]


def test_the_next_item_is_made_while_one_is_used() -> None:
    made = threading.Semaphore(0)

    def source() -> Iterator[int]:
        for number in range(3):
            made.release()
            yield number

    items = prefetch(source())
    assert next(items) == 0
    assert made.acquire(timeout=10) and made.acquire(timeout=10)  # the first, and the second without asking
    assert not made.acquire(timeout=0.2)  # and no more than one ahead
    assert list(items) == [1, 2]


def test_items_are_made_in_one_thread_that_is_not_the_users() -> None:
    threads = set(prefetch(threading.get_ident() for _ in range(5)))
    assert len(threads) == 1 and threading.get_ident() not in threads


def test_an_error_comes_where_its_item_would() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("the third")

    items = prefetch(source())
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match="the third"):
        next(items)


def test_one_who_stops_early_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    items = prefetch(iter(range(10)))
    assert next(items) == 0
    items.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
