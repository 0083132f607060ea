"""The server under abuse: floods, slow writers, huge bodies, poison, clients that leave, guessed keys."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import random
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from echo import POISON, Echo, Live, live, number_of, read_all, request_bytes

from polytask.serve import limits


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    with live(Echo(), read_timeout=2) as running:
        yield running


def test_a_flood_of_all_kinds_gets_right_answers_and_refusals_only() -> None:
    """Every answer is compared with what its request asked: nothing is lost or mixed up."""
    model, rows = Echo(seconds=0.005), random.Random(3)

    async def one(client: httpx.AsyncClient) -> int:
        texts = [f"text {rows.randrange(50)}" for _ in range(rows.randint(1, 12))]
        expected = [number_of(text) for text in texts]
        if rows.random() < 0.3:
            answer = await client.post("/embed", json={"texts": texts})
            found = [[float(number)] for number in expected]
            same = answer.status_code == 200 and all(
                a == pytest.approx(b) for a, b in zip(answer.json()["embeddings"], found, strict=True))
        else:
            answer = await client.post("/predict", json={"texts": texts})
            same = answer.status_code == 200 and [
                row["a"]["label"] for row in answer.json()["results"]] == expected
        assert same or answer.status_code == 429, answer.text
        return answer.status_code

    with live(model, max_queue=64, max_batch_tokens=200) as server:
        async def flood() -> list[int]:
            async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
                return await asyncio.gather(*(one(client) for _ in range(150)))

        statuses = asyncio.run(flood())
        assert len(statuses) == 150 and {*statuses} == {200, 429}
        assert server.answers()


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_a_gigabyte_is_refused_before_it_is_read(server: Live, declared: bool) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with server.connect() as connection:
        sent = 0
        if declared:
            connection.sendall(request_bytes(body=b'{"texts": "', length=1_000_000_000))
        else:
            connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                               b"transfer-encoding: chunked\r\n\r\n")
            try:
                while sent < 1_000_000_000:
                    sent += connection.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            except OSError:
                pass
        received = read_all(connection)
        assert sent < 30_000_000  # what the buffers of both sides hold, above the limit of two megabytes
    assert b" 413 " in received[:20] and b"max_bytes" in received
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes
    assert server.answers()


def test_many_slow_writers_hold_up_nobody(server: Live) -> None:
    slow = [server.connect() for _ in range(40)]
    for place, connection in enumerate(slow):
        connection.sendall(b"POST /pre" if place % 2 else request_bytes(body=b'{"te', length=900))
    began = time.monotonic()
    for _ in range(10):
        assert server.answers()
    assert time.monotonic() - began < 1.5
    for connection in slow:
        assert b" 408 " in read_all(connection)[:20]
        connection.close()


def test_a_poisoned_text_fails_alone_in_its_batch() -> None:
    model = Echo()
    with live(model) as server, ThreadPoolExecutor(12) as pool:
        model.gate.clear()
        first = pool.submit(server.post, "/tasks/a", {"texts": "1"})
        time.sleep(0.1)
        others = [pool.submit(server.post, "/tasks/a", {"texts": [str(n), str(n + 1)]})
                  for n in range(10, 18)]
        poisoned = pool.submit(server.post, "/tasks/a", {"texts": ["3", str(POISON)]})
        until = time.monotonic() + 10
        while len(server.service.batcher._queue) < 18 and time.monotonic() < until:
            time.sleep(0.01)
        model.gate.set()
        assert first.result().status_code == 200
        assert [[row["a"]["label"] for row in each.result().json()["results"]] for each in others] == [
            [n, n + 1] for n in range(10, 18)]
        assert poisoned.result().status_code == 500
        assert poisoned.result().json()["error"] == "input 1: the model failed on it (RuntimeError)"
    assert max(model.sizes) > 10  # they did share a batch


def test_requests_whose_clients_left_are_not_computed() -> None:
    model = Echo()
    with live(model, max_queue=40) as server:
        model.gate.clear()
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(server.post, "/tasks/a", {"texts": "1"})
            time.sleep(0.1)
            gone = [server.connect() for _ in range(20)]
            for number, connection in enumerate(gone):
                connection.sendall(request_bytes(body=json.dumps({"texts": str(1000 + number)}).encode()))
            time.sleep(0.2)
            for connection in gone:
                connection.close()
            time.sleep(0.6)  # two looks at whether they are there
            model.gate.set()
            assert first.result().status_code == 200
        assert server.answers()
    assert model.sizes == [1, 1]


def test_ten_thousand_texts_at_once_are_refused_at_once(server: Live) -> None:
    began = time.monotonic()
    answer = server.post("/predict", {"texts": ["a"] * 10_000})
    assert answer.status_code == 413 and "10,000 inputs, expected at most 32" in answer.json()["error"]
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("body", [
    b'{"texts": [' + b"1," * 600_000 + b"1]}",
    b'{"pairs": [' + b'["a"],' * 200_000 + b'["a"]]}',
    json.dumps({f"key{n}": 0 for n in range(100_000)}).encode(),
    b'{"texts": "' + b"\\u0000" * 300_000 + b'"}',
    b'{"tasks": "' + b"a" * 1_900_000 + b'", "texts": "a"}',
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    b"[" * 1_000_000,
    b'{"texts": ' + b"1" * 1_000_000 + b"}",
], ids=["numbers", "short pairs", "keys", "NULs", "long name", "deep objects", "deep lists", "long number"])
def test_a_body_made_to_be_slow_is_answered_quickly(server: Live, body: bytes) -> None:
    began = time.process_time()
    answer = server.post("/predict", body)
    assert time.process_time() - began < 2
    assert answer.status_code in (200, 400, 404)
    assert answer.status_code == 200 or set(answer.json()) == {"error", "error_type"}
    assert len(answer.content) < 2000
    assert server.answers()


def test_every_key_is_compared_by_digests_of_one_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the time could tell: how many keys were tried, how long they are, how far one agrees."""
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def noted(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return real(a, b)

    monkeypatch.setattr(limits.hmac, "compare_digest", noted)
    keys = (b"a", b"longer-key-of-some-length", b"third")
    with live(Echo(), keys=keys) as server:
        for token, status in ((b"a", 200), (b"third", 200), (b"thirs", 401), (b"-", 401),
                              (b"x" * 4000, 401), ("schlüssel".encode(), 401)):
            compared.clear()
            answer = server.post("/tasks/a", {"texts": "7"}, authorization=b"Bearer " + token)
            assert answer.status_code == status, token
            assert compared == [(32, 32)] * 3
        assert server.post("/tasks/a", {"texts": "7"}).status_code == 401
        assert server.get("/metrics").status_code == 401
        assert server.get("/ready").status_code == 200


def test_logs_have_neither_texts_nor_keys(caplog: pytest.LogCaptureFixture) -> None:
    secret = "a very private sentence"
    caplog.set_level(logging.DEBUG)

    class Breaks(Echo):
        def tokenize(self, inputs: Any) -> Any:
            if inputs[0][0].endswith("!"):
                raise ValueError(f"cannot read {inputs}")
            return super().tokenize(inputs)

    with live(Breaks(), log="json", keys=(b"the-key",)) as server:
        allowed = {"authorization": "Bearer the-key"}
        assert server.post("/predict", {"texts": secret}, **allowed).status_code == 200
        broken = server.post("/predict", {"texts": secret + "!"}, **allowed)
        assert broken.status_code == 500 and broken.headers["x-request-id"] in broken.json()["error"]
        server.post("/predict", {"texts": [secret, ""]}, **allowed)
        server.post("/predict", {secret: secret}, **allowed)
        server.post(f"/{secret.replace(' ', '-')}", {"texts": secret}, authorization=f"Bearer {secret}")
    lines = [json.loads(record.getMessage()) for record in caplog.records
             if record.name == limits.LOG.name]
    assert [line["status"] for line in lines if "status" in line] == [200, 500, 400, 400, 401]
    assert any(line.get("failed") == "ValueError" and "test_abuse" in line["at"] for line in lines)
    shown = "\n".join(record.getMessage() + (record.exc_text or "") for record in caplog.records
                      if not record.name.startswith("http"))  # the client's own
    assert "private" not in shown and "the-key" not in shown and "Traceback" not in shown
