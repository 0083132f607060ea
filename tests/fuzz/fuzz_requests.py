"""Mutated requests to a server, and how each ends: answered, refused with a sentence, or a fault."""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from serve.echo import Echo, Live, live

# What an answer begins with; a refusal may quote "HTTP/1.1" from a path.
_ANSWER = re.compile(rb"HTTP/1\.1 (?=\d{3} )")
# Besides 200: with a body, each of them is a sentence.
STATUSES = {200, 204, 307, 400, 404, 405, 408, 413, 429, 431}
BODIES: dict[str, Any] = {
    "/predict": {"texts": ["good", "bad"], "tasks": ["a"], "logits": True, "model": "echo"},
    "/tasks/a": {"texts": "good"},
    "/embed": {"texts": ["good"], "normalize": True},
    "/v1/embeddings": {"input": ["good"], "model": "m", "encoding_format": "base64"},
    "/similarity": {"inputs": {"source_sentence": "good", "sentences": ["bad"]}},
    "/rerank": {"query": "good", "documents": ["bad", {"text": "x"}], "top_n": 1},
    "/errors": {"text": "good", "count": 3},
    "/attention": {"pair": ["a", "b"], "task": "a"},
}
ODD: list[Any] = [None, True, 0, -1, 1e308, 10**30, "", " ", "\x00", "\ud800", "x" * 30_000, [], {}, [[]],
                  ["a"] * 50, [None], {"a": 1}, "a", "all", ["a", "a"], [["a", "b"]], [1, "a"], "\u202e",
                  "null", float("nan")]


def mutated_value(value: Any, rows: random.Random) -> Any:
    """Return a JSON value with one part of it replaced, doubled, dropped or named otherwise."""
    if isinstance(value, dict) and value and rows.random() < 0.8:
        key = rows.choice([*value])
        match rows.randrange(4):
            case 0:
                return {name: part for name, part in value.items() if name != key}
            case 1:
                return {**value, rows.choice([key[:-1], key * 2, "\ud800", "x" * 999]): rows.choice(ODD)}
            case _:
                return {**value, key: mutated_value(value[key], rows)}
    if isinstance(value, list) and value and rows.random() < 0.6:
        place = rows.randrange(len(value))
        return [*value[:place], mutated_value(value[place], rows), *value[place:]]
    return rows.choice(ODD)


def mutated_bytes(data: bytes, rows: random.Random) -> bytes:
    """Return bytes with some cut out, doubled, replaced or put in."""
    for _ in range(rows.randint(1, 4)):
        place, size = rows.randrange(len(data) + 1), rows.randint(1, 12)
        junk = rows.choice([rows.randbytes(size), b"\r\n", b"\x00", b"\r\n\r\n", b": ", b"[" * 500])
        data = rows.choice([data[:place] + data[place + size:], data[:place] + junk + data[place:],
                            data[:place] + junk + data[place + size:], data[:place] + data[place // 2:]])
    return data


def request(rows: random.Random) -> bytes:
    """Return a request that is wrong in its values, its JSON, its head, or as bytes."""
    path = rows.choice([*BODIES])
    body = json.dumps(mutated_value(BODIES[path], rows) if rows.random() < 0.7 else BODIES[path]).encode()
    kind = rows.randrange(6)
    if kind == 0:
        body = mutated_bytes(body, rows)
    length: Any = len(body)
    if kind == 1:
        length = rows.choice([0, -1, 10**9, 10**30, "x", "1, 2", "+5", "\xb2", len(body) + 3])
    method = rows.choice(["GET", "HEAD", "PUT", "OPTIONS", "POST /x"]) if kind == 2 else "POST"
    path += rows.choice(["/", "?model=x", "/../info", "%00", "%ff", "#x"]) if kind == 3 else ""
    headers = {"host": "x", "content-type": "application/json", "content-length": length,
               "connection": "close"}
    if kind == 4:
        headers |= rows.choice([
            {"transfer-encoding": "chunked"}, {"content-type": "text/plain; charset=\xff"},
            {"content-encoding": "gzip"}, {"expect": "100-continue"}, {"upgrade": "websocket"},
            {"x-filler": "y" * 70_000}, {"host": ""}])
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    whole = f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body
    return mutated_bytes(whole, rows) if kind == 5 else whole



ANSWERED, REFUSED, CLOSED = "answered", "refused", "closed"
TRACEBACK, SILENT, STRANGE, DOWN = "traceback", "no answer in 5 s", "another answer", "server down"
KINDS = (ANSWERED, REFUSED, CLOSED, TRACEBACK, SILENT, STRANGE, DOWN)
PATIENCE_SECONDS = 5.0


@dataclass
class RequestFigures:
    """How the requests ended, and what is to be mended. statuses: of all answers, some to a part of one."""

    tries: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)

    def row(self, name: str) -> str:
        """Return the figures as a row of a Markdown table."""
        return f"| {name} | {self.tries:,} | " + " | ".join(f"{self.ends[kind]:,}" for kind in KINDS) + " |"


def received_for(server: Live, data: bytes) -> bytes | None:
    """Send bytes and return all that comes back, until the server closes or waits for another request.

    None: the connection stayed open, and nothing came.
    """
    received = b""
    with server.connect() as connection:
        connection.settimeout(PATIENCE_SECONDS)
        try:
            connection.sendall(data)
            while part := connection.recv(65536):
                received += part
                connection.settimeout(0.3)
        except TimeoutError:
            return received or None
        except OSError:  # closed while we were sending, or with more to read
            pass
    return received


def end_of(received: bytes | None, statuses: Counter[int]) -> str:
    """Return how a request ended, of `KINDS`; count the statuses of the answers to it."""
    if received is None:
        return SILENT
    if b"Traceback" in received:
        return TRACEBACK
    end = CLOSED
    for number, answer in enumerate(_ANSWER.split(received)):
        head, _, body = answer.partition(b"\r\n\r\n")
        if not number:
            if answer:
                return STRANGE
            continue
        status = int(head[:3]) if head[:3].isdigit() else 0
        if status not in STATUSES and status != 100:
            return STRANGE
        statuses[status] += 1
        if status >= 400:
            if body and not _is_a_refusal(body):
                return STRANGE
            end = REFUSED
        elif status >= 200 and end == CLOSED:
            end = ANSWERED
    return end


def _is_a_refusal(body: bytes) -> bool:
    try:
        return set(json.loads(body)) == {"error", "error_type"}
    except (ValueError, TypeError):
        return False


def request_campaign(seconds: float, seed: int = 17) -> RequestFigures:
    """Send mutated requests to one server until the time is up; every hundredth time, see that it works."""
    rows, figures = random.Random(seed), RequestFigures()
    with live(Echo(), read_timeout=0.3, max_bytes=20_000, max_inputs=8) as server:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            data = request(rows)
            received = received_for(server, data)
            end = end_of(received, figures.statuses)
            figures.tries += 1
            if end not in (ANSWERED, REFUSED, CLOSED):
                figures.bad.append(f"requests, seed {seed}, try {figures.tries}: {end}\n{data!r:.2000}\n"
                                   f"{received!r:.500}")
            elif figures.tries % 100 == 0 and not server.answers():
                end = DOWN
                figures.bad.append(f"requests, seed {seed}: no right answer after try {figures.tries}")
            figures.ends[end] += 1
        if not (server.answers() and server.service.ready):
            figures.bad.append(f"requests, seed {seed}: no right answer after the last try")
    return figures
