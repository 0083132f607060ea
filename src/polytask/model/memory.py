"""Keeps the memory of freed activations for the next step, and gives it back when it becomes too much."""

from __future__ import annotations

import ctypes
import os
import sys

# From malloc.h: thresholds above which glibc maps a block anew, and gives memory back.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGE = 1 << 30
# The share of the machine's memory that may be kept without being used.
_KEPT_SHARE = 0.2


def keep_freed_memory() -> bool:
    """Let glibc reuse large freed blocks instead of mapping fresh pages; return whether it does.

    Fresh pages are zeroed by the kernel at their first touch, which every activation of every step
    would pay for. Elsewhere than on glibc this does nothing.
    """
    mallopt = glibc("mallopt")
    return bool(mallopt and mallopt(_M_MMAP_THRESHOLD, _LARGE) and mallopt(_M_TRIM_THRESHOLD, _LARGE))


class _Heap(ctypes.Structure):
    """What mallinfo2 returns, in the order of malloc.h."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks",
        "keepcost"))


def give_back_memory(most: float | None = None) -> int:
    """Return freed blocks to the system if more than `most` bytes of them are kept; return how many were.

    Batches of every length leave gaps of every size, so that after hundreds of updates several times what
    an update needs can be kept. `most` is by default a fifth of the machine's memory. Elsewhere than on
    glibc (2.33) this does nothing.
    """
    mallinfo2, trim = glibc("mallinfo2"), glibc("malloc_trim")
    if mallinfo2 is None or trim is None:
        return 0
    mallinfo2.restype = _Heap
    kept = int(mallinfo2().fordblks)
    if most is None:
        most = _KEPT_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if kept <= most:
        return 0
    trim(0)
    return kept


def glibc(name: str) -> ctypes._NamedFuncPointer | None:
    """Return a function of glibc; None on a system with another C library."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        function: ctypes._NamedFuncPointer = getattr(ctypes.CDLL("libc.so.6"), name)
    except (OSError, AttributeError):
        return None
    return function
