"""Whether the head of a Ray cluster still answers.

A call to a cluster whose head is gone blocks, and after a minute Ray ends the process without a sentence. A
thread looks at the head meanwhile, and says it first.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from polytask.core.terminal import tell

# Seconds between two looks, and of silence after which the head is gone.
LOOK_SECONDS, SILENT_SECONDS = 2.0, 15.0
# How long connecting may take; Ray's own client gives up after half a minute.
CONNECT_SECONDS = 90.0


def end_process(sentence: str) -> None:
    """Say why and end with status 2: nothing can be raised in a thread that Ray's own code holds."""
    tell(f"polytask: {sentence}")
    os._exit(2)


@contextmanager
def connecting(address: str, sentence: Callable[[str], str],
               gone: Callable[[str], None] = end_process) -> Iterator[None]:
    """Bound the time that Ray takes to connect, for it asks a head that is not there for minutes.

    Raises `ConnectionError` where nothing listens; `gone` is called where what listens is no head.
    """
    place = _place(address.removeprefix("ray://"))
    if place is not None:
        try:
            socket.create_connection(place, timeout=SILENT_SECONDS).close()
        except OSError as error:
            raise ConnectionError(error.strerror or str(error)) from None
    reason = "what listens there is no head of Ray's"
    timer = threading.Timer(CONNECT_SECONDS, lambda: gone(sentence(reason)))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class HeadWatch:
    """Looks at a head's port. `gone` is called with a sentence while a call is blocked that cannot end."""

    def __init__(self, address: str, sentence: Callable[[str], str],
                 gone: Callable[[str], None] = end_process) -> None:
        self.sentence, self.gone = sentence, gone
        self._place = _place(address)
        self._answered = time.monotonic()
        self._silence = ""
        self._calls: dict[int, float] = {}
        if self._place is not None:
            threading.Thread(target=self._look_on, name="polytask-ray-head", daemon=True).start()

    @contextmanager
    def call(self) -> Iterator[None]:
        """Mark a call to the cluster; raise `ConnectionError` if the head has been silent for a while."""
        if self._silent(time.monotonic()):
            raise ConnectionError(self._silence)
        thread = threading.get_ident()
        outermost = thread not in self._calls
        if outermost:
            self._calls[thread] = time.monotonic()
        try:
            yield
        finally:
            if outermost:
                del self._calls[thread]

    def _silent(self, now: float) -> bool:
        return bool(self._silence) and now - self._answered > SILENT_SECONDS

    def _look_on(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Look at the head once."""
        assert self._place is not None
        try:
            socket.create_connection(self._place, timeout=LOOK_SECONDS).close()
            self._answered, self._silence = time.monotonic(), ""
        except OSError as error:
            now = time.monotonic()
            self._silence = (f"its head has not answered for {now - self._answered:.0f} s: "
                             f"{error.strerror or error}")
            blocked = any(now - began > SILENT_SECONDS for began in list(self._calls.values()))
            if blocked and self._silent(now):
                self.gone(self.sentence(self._silence))


def _place(address: str) -> tuple[str, int] | None:
    """Return the host and the port of "host:port"; None for anything else."""
    host, _, port = address.rpartition(":")
    return (host.strip("[]"), int(port)) if host and port.isdigit() else None
