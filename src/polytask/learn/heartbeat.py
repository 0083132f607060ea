"""Notices when another process of a training falls silent, by a thread that beats beside the training.

A process that dies closes its connections, which its peers notice at once. A machine that loses its power
or its network closes none, and those that wait for it would wait for ever. How long they wait says nothing:
process 0 may be writing a large model. So every process adds to a counter in the store that all share, and
watches the counter of the next one; the last watches the first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

BEAT_SECONDS = 5.0
# Long enough for a machine that swaps, short enough not to waste the others' time.
SILENT_SECONDS = 60.0
_KEY = "heartbeat of process"
# Added to a counter when its process ends: it may be silent from then on.
_ENDED = 1 << 40


class Store(Protocol):
    """The part of a store of `torch.distributed` that is used here."""

    def add(self, key: str, _amount: int, /) -> int:
        """Add to a counter and return its value."""


class Heartbeat:
    """Beats for process `rank` of `world`, and calls `on_silence` once the next process is silent.

    A store that does not answer counts as silence: the machine that keeps it is lost. `on_silence` gets the
    number of the silent process, and is called from a thread of its own.
    """

    def __init__(self, store: Store, rank: int, world: int, on_silence: Callable[[int], None],
                 beat_seconds: float | None = None, silent_seconds: float | None = None) -> None:
        self._store, self._own, self._peer = store, rank, (rank + 1) % world
        self._on_silence = on_silence
        self._beat_seconds = BEAT_SECONDS if beat_seconds is None else beat_seconds
        self._silent_seconds = SILENT_SECONDS if silent_seconds is None else silent_seconds
        self._heard = time.monotonic()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        # Beating may block in the store, so that another thread looks at the clock. Neither keeps the
        # interpreter from ending.
        for work in (self._beat, self._listen):
            self._threads.append(threading.Thread(target=work, daemon=True))
            self._threads[-1].start()

    def stop(self) -> None:
        """Tell the watching process that this one ends, and stop watching."""
        self._stopped.set()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(1.0)

    def _beat(self) -> None:
        count = -1
        while not self._stopped.is_set():
            with suppress(RuntimeError):  # the store is gone: the collectives report it, or the clock does
                self._store.add(f"{_KEY} {self._own}", 1)
                now = self._store.add(f"{_KEY} {self._peer}", 0)
                if now != count or now >= _ENDED:
                    count, self._heard = now, time.monotonic()
            self._stopped.wait(self._beat_seconds)
        with suppress(RuntimeError):
            self._store.add(f"{_KEY} {self._own}", _ENDED)

    def _listen(self) -> None:
        while not self._stopped.wait(self._beat_seconds):
            if time.monotonic() - self._heard > self._silent_seconds:
                self._on_silence(self._peer)
                return
