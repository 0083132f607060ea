"""Memory that batches of many sizes leave in pieces, given back to the system now and then."""

from __future__ import annotations

import ctypes
import sys
import time

# Seconds between two times: at 64 clients a minute leaves some 50 MB in pieces, and giving them back
# takes about as long as one batch.
_SECONDS = 30.0


class FreedMemory:
    """Lets the C library give freed memory back, at most every so many seconds; only glibc can."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        self.seconds = seconds
        self._last = time.monotonic()
        self._trim = _malloc_trim()

    def give_back(self) -> bool:
        """Give memory back if it is time to; return whether it was."""
        now = time.monotonic()
        if self._trim is None or now - self._last < self.seconds:
            return False
        self._last = now
        self._trim(0)
        return True


def _malloc_trim() -> ctypes._NamedFuncPointer | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return None
