"""Memory that batches of many sizes leave in pieces, given back to the system now and then."""

from __future__ import annotations

import time

from polytask.model.memory import glibc

# Seconds between two times: the pieces of a minute are small beside a model, and giving them back holds up
# the batches.
_SECONDS = 30.0


class FreedMemory:
    """Lets the C library give freed memory back, at most every so many seconds; only glibc can."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        self.seconds = seconds
        self._last = time.monotonic()
        self._trim = glibc("malloc_trim")

    def give_back(self) -> bool:
        """Give memory back if it is time to; return whether it was."""
        now = time.monotonic()
        if self._trim is None or now - self._last < self.seconds:
            return False
        self._last = now
        self._trim(0)
        return True
