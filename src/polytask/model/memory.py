"""Keeps the memory of freed activations for the next step, where the C library allows it."""

from __future__ import annotations

import ctypes
import sys

# From malloc.h: thresholds above which glibc maps a block anew, and gives memory back.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGE = 1 << 30


def keep_freed_memory() -> bool:
    """Let glibc reuse large freed blocks instead of mapping fresh pages; return whether it does.

    Fresh pages are zeroed by the kernel at their first touch, which every activation of every step
    would pay for. Elsewhere than on glibc this does nothing.
    """
    mallopt = glibc("mallopt")
    return bool(mallopt and mallopt(_M_MMAP_THRESHOLD, _LARGE) and mallopt(_M_TRIM_THRESHOLD, _LARGE))


def glibc(name: str) -> ctypes._NamedFuncPointer | None:
    """Return a function of glibc; None on a system with another C library."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        function: ctypes._NamedFuncPointer = getattr(ctypes.CDLL("libc.so.6"), name)
    except (OSError, AttributeError):
        return None
    return function
