"""Limits on connections: seconds to send a request's head and to read the answer, bytes of the head, and
how many connections are open.

uvicorn bounds none of these. A client that sends a byte now and then, opens a thousand connections, sends
headers without end or never reads its answer would hold memory and connections for ever.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

MAX_HEAD_BYTES = 65_536
# Connections above the limit that are still read, so that /health and /ready answer in a flood.
SPARE_CONNECTIONS = 64
CROWDED = "crowded"
"""Key of the request's state, set if its connection is above the limit."""


@dataclass(frozen=True)
class ConnectionLimits:
    """`read`: seconds for a request's head to arrive; `write`: for a client to accept its answer."""

    read: float
    write: float
    connections: int
    refused: Callable[[str], None]
    """Called with the reason whenever the server closes a connection."""


def raw_response(status: int, kind: str, sentence: str) -> bytes:
    """Return a whole response with a JSON body, for a connection that is closed after it."""
    body = json.dumps({"error": sentence, "error_type": kind}).encode()
    again = "retry-after: 1\r\n" if status in (429, 503) else ""
    return (f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n{again}connection: close\r\n\r\n").encode() + body


class GuardedConnection(asyncio.Protocol):
    """Ends connections that take too long; the rest of the protocol is uvicorn's."""

    limits: ConnectionLimits
    # uvicorn's attributes: the request that is being answered, the state that requests begin with
    cycle: Any
    app_state: dict[str, Any]
    connections: set[Any]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._own_transport = cast(asyncio.Transport, transport)
        self._head_bytes = 0
        self._timers: dict[str, asyncio.TimerHandle] = {}
        above = len(self.connections) - self.limits.connections
        if above > SPARE_CONNECTIONS:
            self._refuse(429, "overloaded", "too many connections are open; try again in 1 s", "crowded")
            return
        if above > 0:
            self.app_state = {**self.app_state, CROWDED: True}
        self._start("head", self.limits.read, self._head_late)

    def data_received(self, data: bytes) -> None:
        if self._own_transport.is_closing():
            return
        try:
            super().data_received(data)
        except Exception:  # of a parser, on bytes that it did not foresee
            self.send_400_response("")
        if self._own_transport.is_closing():
            return
        if not self._waits_for_head:
            self._stop("head")
            self._head_bytes = 0
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._end_head(431, "too_large", f"the request's head has more than {MAX_HEAD_BYTES:,} bytes",
                           "long head")
        elif "head" not in self._timers:
            self._start("head", self.limits.read, self._head_late)

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are not HTTP; called by uvicorn with a text of its own."""
        self._end_head(400, "validation", "this is not a valid HTTP request", "not HTTP")

    def pause_writing(self) -> None:
        """Start the time limit of a client that does not read its answer."""
        super().pause_writing()
        self._start("write", self.limits.write, self._cut)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop("write")

    def on_response_complete(self) -> None:
        """Called by uvicorn when an answer is written, perhaps into a buffer."""
        super().on_response_complete()  # type: ignore[misc]
        self._linger()

    def timeout_keep_alive_handler(self) -> None:
        """Called by uvicorn when a connection is idle for too long."""
        super().timeout_keep_alive_handler()  # type: ignore[misc]
        self._linger()

    def connection_lost(self, exc: Exception | None) -> None:
        for name in list(self._timers):
            self._stop(name)
        super().connection_lost(exc)

    @property
    def _waits_for_head(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _head_late(self) -> None:
        self._end_head(408, "timeout", f"the request's head did not arrive within {self.limits.read:g} s",
                       "slow head")

    def _end_head(self, status: int, kind: str, sentence: str, reason: str) -> None:
        """End a connection whose next request cannot be read.

        Only a first request is answered: after an answer, more bytes may be a body that nobody read, and
        the client would take what we say for the answer to its next request.
        """
        if self.cycle is None and (self._head_bytes or status == 400):
            self._refuse(status, kind, sentence, reason)
        else:
            self.limits.refused(reason)
            self._own_transport.close()
            self._linger()

    def _refuse(self, status: int, kind: str, sentence: str, reason: str) -> None:
        self.limits.refused(reason)
        self._own_transport.write(raw_response(status, kind, sentence))
        self._own_transport.close()
        self._linger()

    def _linger(self) -> None:
        """Cut a closing connection whose client does not accept the last bytes."""
        if self._own_transport.is_closing():
            self._start("linger", self.limits.read, self._own_transport.abort)

    def _cut(self) -> None:
        self.limits.refused("slow reader")
        self._own_transport.abort()

    def _start(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        if name not in self._timers:
            self._timers[name] = asyncio.get_running_loop().call_later(seconds, action)

    def _stop(self, name: str) -> None:
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()


def guarded_protocol(limits: ConnectionLimits, parser: str = "auto") -> type[asyncio.Protocol]:
    """Return uvicorn's HTTP protocol with the limits: with httptools' parser where it is installed."""
    return type("Guarded", (GuardedConnection, _uvicorn_protocol(parser)), {"limits": limits})


def _uvicorn_protocol(parser: str) -> Any:
    if parser != "h11":
        try:
            from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

            return HttpToolsProtocol
        except ImportError:
            pass
    from uvicorn.protocols.http.h11_impl import H11Protocol

    return H11Protocol
