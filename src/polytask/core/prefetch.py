"""Prefetching: the next item is prepared while the last one is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")

_END = object()


def prefetch(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items; a thread makes the next one meanwhile. An error comes where its item would.

    Worth it where preparing an item (reading, tokenizing) or using it releases the interpreter lock.
    """
    source = iter(items)
    with ThreadPoolExecutor(1, "prefetch") as thread:
        following = thread.submit(next, source, _END)
        while (item := following.result()) is not _END:
            following = thread.submit(next, source, _END)
            yield item  # type: ignore[misc]
