"""Freed memory goes back to the system, and not at every batch."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import pytest

from polytask.serve.memory import FreedMemory


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone can give memory back")
def test_pieces_below_what_is_still_used_go_back() -> None:
    freed = FreedMemory(seconds=0.0)
    libc = ctypes.CDLL("libc.so.6")
    libc.malloc.restype = ctypes.c_void_p
    size = 100_000  # below the size from which glibc maps a block by itself
    blocks = [libc.malloc(size) for _ in range(1000)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    last = libc.malloc(size)  # holds the end of the heap, so that free() cannot shrink it
    ctypes.memset(last, 1, size)
    for block in blocks:
        libc.free(ctypes.c_void_p(block))
    before = resident()
    assert freed.give_back()
    assert before - resident() > 60_000_000
    libc.free(ctypes.c_void_p(last))


def test_it_waits_between_two_times() -> None:
    freed = FreedMemory(seconds=3600.0)
    assert not freed.give_back()
