"""Connections that are slow, silent, endless or too many: closed in their time, and nobody else waits."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import pytest
from echo import Echo, Live, live, one_answer, read_all, request_bytes

from polytask.serve.connections import SPARE_CONNECTIONS

# Seconds within which a connection of 0.4 s is closed on a busy machine, too; no test lasts so long.
SOON = 8.0


@pytest.fixture(scope="module", params=["auto", "h11"])
def server(request: pytest.FixtureRequest) -> Iterator[Live]:
    with live(Echo(), parser=request.param, read_timeout=0.4, timeout=5.0, max_bytes=100_000) as running:
        yield running


def refused(server: Live, reason: str) -> float:
    line = f'polytask_connections_refused_total{{reason="{reason}"}} '
    found = [text for text in server.service.counters.text().decode().splitlines() if text.startswith(line)]
    return float(found[0].removeprefix(line)) if found else 0.0


def answer_of(received: bytes) -> tuple[int, dict[str, str]]:
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def trickled(connection: socket.socket, data: bytes, pause: float = 0.05) -> float:
    """Send a byte now and then until the server closes; return the seconds that took."""
    began = time.monotonic()
    try:
        for place in range(len(data)):
            connection.sendall(data[place:place + 1])
            time.sleep(pause)
    except OSError:
        pass
    return time.monotonic() - began


def test_a_slow_head_is_answered_408_and_closed(server: Live) -> None:
    before = refused(server, "slow head")
    with server.connect() as connection:
        began = time.monotonic()
        trickled(connection, request_bytes()[:12])
        status, body = answer_of(read_all(connection))
        assert time.monotonic() - began < SOON
    assert status == 408 and body["error_type"] == "timeout" and "0.4 s" in body["error"]
    assert refused(server, "slow head") == before + 1
    assert server.answers()


def test_a_silent_connection_is_closed_without_a_word(server: Live) -> None:
    with server.connect() as connection:
        began = time.monotonic()
        assert read_all(connection) == b""
        assert 0.2 < time.monotonic() - began < SOON


def test_a_head_without_end_is_refused_before_it_fills_the_memory(server: Live) -> None:
    with server.connect() as connection:
        sent = 0
        try:
            connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n")
            while sent < 50_000_000:
                sent += connection.send(b"x-filler: " + b"y" * 8000 + b"\r\n")
        except OSError:
            pass
        assert sent < 20_000_000
        received = read_all(connection)
        assert not received or answer_of(received)[0] in (400, 431)
    assert server.answers()


def test_a_slow_body_is_answered_408(server: Live) -> None:
    with server.connect() as connection:
        connection.sendall(request_bytes(body=b'{"te', length=500))
        began = time.monotonic()
        status, body = answer_of(read_all(connection))
        assert time.monotonic() - began < SOON
    assert status == 408 and "body did not arrive" in body["error"]


def test_a_body_that_no_route_reads_does_not_stream_for_ever(server: Live) -> None:
    with server.connect() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\ncontent-length: 90000\r\n\r\n")
        assert trickled(connection, b"z" * 300) < SOON
        received = read_all(connection)
    assert received.startswith(b"HTTP/1.1 200") and received.count(b"HTTP/1.1") == 1


def test_a_connection_that_is_used_again_is_as_bounded(server: Live) -> None:
    with server.connect() as connection:
        connection.sendall(request_bytes())
        assert one_answer(connection).startswith(b"HTTP/1.1 200")
        connection.sendall(request_bytes())
        assert one_answer(connection).startswith(b"HTTP/1.1 200")
        began = time.monotonic()
        connection.sendall(b"POST /ta")
        assert read_all(connection) == b""  # the client would take a word of ours for its next answer
        assert time.monotonic() - began < SOON


def test_a_refusal_keeps_the_connection_where_little_is_unread() -> None:
    for parser in ("auto", "h11"):
        with live(Echo(), parser=parser, keys=[b"key"], read_timeout=0.4) as running:
            for headers, body, kept in (("", b'{"texts": "7"}', True), ("", b"x" * 20_000, False),
                                        ("expect: 100-continue\r\n", b'{"texts": "7"}', False)):
                with running.connect() as connection:
                    first = request_bytes(body=body).replace(b"host", headers.encode() + b"host", 1)
                    connection.sendall(first)
                    refusal = one_answer(connection)
                    assert refusal.startswith(b"HTTP/1.1 401")
                    assert (b"connection: close" in refusal) != kept
                    if kept:  # and what comes next is answered for itself
                        connection.sendall(request_bytes().replace(b"host", b"x-api-key: key\r\nhost", 1))
                        assert one_answer(connection).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02\x00\x01\x00", b"hello there\r\n\r\n",
                                  b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
                                  b"CONNECT nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"])
def test_what_is_not_http_is_answered_with_a_sentence(server: Live, data: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(data)
        status, body = answer_of(read_all(connection))
    assert status in (400, 404, 405) and set(body) == {"error", "error_type"}
    assert server.answers()


def test_a_client_that_reads_nothing_is_cut() -> None:
    with live(Echo(width=4000), send_buffer=8192, timeout=0.5, read_timeout=0.5) as server:
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", server.port))
            body = json.dumps({"texts": [str(n) for n in range(30)]}).encode()
            connection.sendall(request_bytes("/embed", body))
            until = time.monotonic() + 3
            while not refused(server, "slow reader") and time.monotonic() < until:
                time.sleep(0.05)
            assert refused(server, "slow reader") == 1
        assert server.answers()


def test_a_flood_of_connections_leaves_health_and_comes_to_an_end() -> None:
    with live(Echo(), max_connections=3, read_timeout=5) as server:
        idle = [server.connect() for _ in range(3)]
        time.sleep(0.1)
        began = time.monotonic()
        full = server.post("/tasks/a", {"texts": "7"})
        assert full.status_code == 429 and full.headers["retry-after"] == "1"
        assert "3 connections are open" in full.json()["error"]
        assert time.monotonic() - began < 0.5
        assert server.get("/health").status_code == 200
        idle += [server.connect() for _ in range(SPARE_CONNECTIONS)]
        with server.connect() as above:
            status, body = answer_of(read_all(above))
        assert status == 429 and body["error_type"] == "overloaded"
        for connection in idle:
            connection.close()
        until = time.monotonic() + 3
        while not server.answers():
            assert time.monotonic() < until
            time.sleep(0.05)
