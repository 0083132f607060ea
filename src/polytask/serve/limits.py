"""What every request passes before its route: limits on its body, the API key, the log."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from polytask.serve.connections import CROWDED
from polytask.serve.counters import Counters
from polytask.serve.settings import ServeSettings
from polytask.serve.turns import STATE, TURNS, Turn, received

LOG = logging.getLogger("polytask.serve")
# Routes that orchestrators call without a key.
OPEN_ROUTES = frozenset({"/health", "/ready"})
# The page asks for the key itself, and its link to the description of the routes cannot send one; neither
# tells more than the program's version.
OWN_ROUTES = frozenset({"/", "/page.js", "/page.css", "/openapi.json"})
# A refused body up to this size is read and dropped, so that the client can keep its connection.
_FORGOTTEN_BYTES = 16_384


def refusal_body(sentence: str, kind: str, path: str) -> dict[str, Any]:
    """Return the JSON of a refusal; OpenAI's clients show its sentence only where it is error.message."""
    if "/v1/embedding" in path:
        return {"error": {"message": sentence, "type": kind, "param": None, "code": None},
                "error_type": kind}
    return {"error": sentence, "error_type": kind}


class ServeError(Exception):
    """A refusal: its HTTP status, a word for programs, a sentence for people."""

    def __init__(self, status: int, kind: str, sentence: str, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.status, self.kind, self.sentence, self.retry_after = status, kind, sentence, retry_after

    def body(self, path: str) -> dict[str, Any]:
        return refusal_body(self.sentence, self.kind, path)

    def headers(self) -> dict[str, str]:
        headers = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        return headers | ({"www-authenticate": "Bearer"} if self.status == 401 else {})


class Gate:
    """Middleware: keys, limits on bodies and on concurrent requests, one log line per request."""

    def __init__(self, app: ASGIApp, settings: ServeSettings, keys: Sequence[bytes],
                 counters: Counters, check_room: Callable[[int], None]) -> None:
        self.app, self.settings, self.counters = app, settings, counters
        # Digests have one length, so the time of a comparison tells nothing about a key's length either.
        self.key_digests = [_digest(key) for key in keys]
        self.open_requests = 0
        self.check_room = check_room
        self.turns, self.waiting = asyncio.Semaphore(TURNS), 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status, started = time.perf_counter(), 500, False
        scope.setdefault("state", {})["request_id"] = uuid.uuid4().hex[:12]

        refusals: list[ServeError] = []

        async def noted(message: Message) -> None:
            nonlocal status, started
            if refusals:  # the body was refused while the route read it: that is the answer
                return
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                message["headers"] = [*message.get("headers", ()),
                                      (b"x-request-id", scope["state"]["request_id"].encode())]
            await send(message)

        self.open_requests += 1
        keep = False
        turn = scope["state"][STATE] = Turn(self.turns)
        try:
            headers = dict(scope["headers"])
            keep = _has_small_body(headers)
            self._check(scope, headers)
            keep = False
            bounded = self._bounded(receive, refusals)
            if scope["method"] == "POST":
                bounded = await received(bounded)
            if self._path(scope) not in OPEN_ROUTES:
                await self._take(turn, scope)
            await self.app(scope, bounded, noted)
        except ServeError as refusal:
            refusals.append(refusal)
        except Exception as error:  # of any kind: the client gets a sentence, the log where it happened
            if refusals:
                pass  # a framework's answer to what was raised while it read the body
            elif started:
                raise
            else:
                refusals.append(self._failed(scope, error))
        finally:
            turn.give_back()
            self.open_requests -= 1
            if refusals:
                status = refusals[0].status
                await _answer(refusals[0], scope, send, keep)
            route = getattr(scope.get("route"), "path", "none")
            seconds = time.perf_counter() - began
            self.counters.request(route, status, seconds)
            self._log(scope, route, status, seconds)

    async def _take(self, turn: Turn, scope: Scope) -> None:
        """Wait for a turn; refuse at once what would find the queue full by then."""
        if scope["method"] == "POST":
            self.check_room(self.waiting)
        self.waiting += 1
        try:
            await turn.take()
        finally:
            self.waiting -= 1

    def _path(self, scope: Scope) -> str:
        return str(scope["path"].removeprefix(self.settings.root_path))

    def _check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Refuse a request by its head alone."""
        path = self._path(scope)
        if path not in OPEN_ROUTES:
            if scope["state"].get(CROWDED):
                raise ServeError(429, "overloaded", f"{self.settings.max_connections} connections are "
                                 "open; try again in 1 s", retry_after=1)
            if self.open_requests > self.settings.max_requests:
                raise ServeError(429, "overloaded", f"{self.settings.max_requests} requests are being "
                                 "answered; try again in 1 s", retry_after=1)
        if self.key_digests and path not in OPEN_ROUTES | OWN_ROUTES:
            authorization = headers.get(b"authorization", b"")
            bearer = authorization[:7].lower() == b"bearer "
            token = authorization[7:].strip() if bearer else headers.get(b"x-api-key", b"")
            digest = _digest(token)
            # Every key is compared, in constant time: timing does not tell which was nearly right.
            if not sum(hmac.compare_digest(digest, key) for key in self.key_digests):
                raise ServeError(401, "unauthorized", "the API key is missing or wrong; expected the "
                                 'header "Authorization: Bearer KEY"')
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 15:
            raise ServeError(400, "validation", f"content-length: found {length[:40].decode('latin-1')!r}, "
                             "expected a number of bytes")
        if int(length) > self.settings.max_bytes:
            raise self._too_large()

    def _too_large(self) -> ServeError:
        return ServeError(413, "too_large",
                          f"the body has more than {self.settings.max_bytes:,} bytes (max_bytes)")

    def _bounded(self, receive: Receive, refusals: list[ServeError]) -> Receive:
        """Return a `receive` that enforces the limits on the size and the time of a body.

        Refusals are also put into `refusals`: frameworks replace what is raised while they read.
        """
        until, size, ended = time.monotonic() + self.settings.read_timeout, 0, False

        async def bounded() -> Message:
            nonlocal size, ended
            if ended:  # only a disconnection can follow
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, until - time.monotonic()))
            except TimeoutError:
                refusals.append(ServeError(408, "timeout", "the body did not arrive within "
                                           f"{self.settings.read_timeout:g} s"))
                raise refusals[0] from None
            if message["type"] == "http.request":
                size += len(message.get("body", b""))
                ended = not message.get("more_body", False)
                if size > self.settings.max_bytes:
                    refusals.append(self._too_large())
                    raise refusals[0]
            return message

        return bounded

    def _failed(self, scope: Scope, error: Exception) -> ServeError:
        """Log where a request failed, without its content, and return what the client is told."""
        number, last = scope["state"]["request_id"], traceback.extract_tb(error.__traceback__)[-1]
        LOG.error(json.dumps({"request": number, "failed": type(error).__name__,
                              "at": f"{Path(last.filename).name}:{last.lineno}"}))
        return ServeError(500, "failed", f"the server failed on this request ({number})")

    def _log(self, scope: Scope, route: str, status: int, seconds: float) -> None:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S"), "request": scope["state"]["request_id"],
            "method": scope["method"], "route": route, "status": status,
            "ms": round(1000 * seconds, 2), **scope["state"].get("counts", {}),
        }
        if self.settings.log == "json":
            LOG.info(json.dumps(line))
        elif self.settings.log == "text":
            LOG.info(" ".join(f"{key}={value}" for key, value in line.items()))


def _has_small_body(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a request that is refused unread may leave its connection open.

    A client that expects "100 Continue" may send its body or not, so the bytes that follow are ambiguous.
    """
    if b"transfer-encoding" in headers or b"expect" in headers:
        return False
    length = headers.get(b"content-length", b"0")
    return length.isdigit() and len(length) <= 15 and int(length) <= _FORGOTTEN_BYTES


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


async def _answer(refusal: ServeError, scope: Scope, send: Send, keep: bool) -> None:
    """Send a refusal; unless `keep`, the connection closes and the rest of the body is never read."""
    body = json.dumps(refusal.body(scope["path"])).encode()  # ASCII, whatever the client named
    headers = {"content-type": "application/json", "content-length": str(len(body)),
               **({} if keep else {"connection": "close"}), "x-request-id": scope["state"]["request_id"],
               **refusal.headers()}
    await send({"type": "http.response.start", "status": refusal.status,
                "headers": [(key.encode(), value.encode()) for key, value in headers.items()]})
    await send({"type": "http.response.body", "body": body})


def short(name: str) -> str:
    """Return a client's name for something, cut to 100 characters to be shown in a sentence."""
    return name if len(name) <= 100 else name[:100] + "…"


class _LogFormatter(logging.Formatter):
    """Formats the web server's own messages as JSON, without tracebacks, which may quote a text."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name == LOG.name:
            return record.getMessage()
        reason = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        return json.dumps({"level": record.levelname.lower(), "message": record.getMessage()}
                          | ({"failed": reason} if reason else {}))


def log_to_stderr(wanted: bool) -> None:
    """Log to standard error: one line per request, and the web server's warnings; or nothing at all."""
    handler = logging.StreamHandler(sys.stderr) if wanted else logging.NullHandler()
    handler.setFormatter(_LogFormatter())
    for name, level in ((LOG.name, logging.INFO), ("uvicorn.error", logging.WARNING),
                        ("asyncio", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False
