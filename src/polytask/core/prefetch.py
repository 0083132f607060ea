"""Prefetching: the next item is made while the last one is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")

_END = object()


def prefetch(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items; a thread makes the next one meanwhile. An error comes where its item would.

    Worth it where making an item (reading, tokenizing) leaves the interpreter free, or its user does.
    """
    source = iter(items)
    with ThreadPoolExecutor(1, "prefetch") as thread:
        following = thread.submit(next, source, _END)
        while (item := following.result()) is not _END:
            following = thread.submit(next, source, _END)
            yield item  # type: ignore[misc]
