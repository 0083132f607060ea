"""Returns freed memory to the system now and then: batches of many sizes leave it in pieces."""

from __future__ import annotations

import time

from polytask.model.memory import glibc

# Seconds between two attempts: more often would save little memory, and each attempt delays the batches.
_SECONDS = 30.0


class FreedMemory:
    """Makes glibc return freed memory, at most once in `seconds`; with another C library, does nothing."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        self.seconds = seconds
        self._last = time.monotonic()
        self._trim = glibc("malloc_trim")

    def give_back(self) -> bool:
        """Return memory to the system if it is time; return whether it was."""
        now = time.monotonic()
        if self._trim is None or now - self._last < self.seconds:
            return False
        self._last = now
        self._trim(0)
        return True
