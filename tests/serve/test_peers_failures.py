"""What went wrong in other servers, as their users reported it, does not in this one."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from echo import POISON, Echo, Live, live

from polytask.core.errors import RunError
from polytask.serve.batch_requests import WantedInput
from polytask.serve.batcher import Batcher
from polytask.serve.engine import EncodedText
from polytask.serve.server import serve
from polytask.serve.settings import ServeSettings


@pytest.fixture
def model() -> Echo:
    return Echo()


@pytest.fixture
def server(model: Echo) -> Iterator[Live]:
    with live(model, max_queue=8, max_inputs=20) as running:
        yield running
        model.gate.set()


def status(server: Live, path: str) -> int:
    return server.get(path).status_code


def test_after_an_exception_requests_are_still_taken(server: Live) -> None:
    """infinity #242: after one exception the server took no more requests."""
    for _ in range(5):
        failed = server.post("/tasks/a", {"texts": [str(POISON)]})
        assert failed.status_code == 500 and "model failed" in failed.json()["error"]
        assert "secret" not in failed.text
        assert server.answers()


def test_a_worker_that_ended_shows_in_health(server: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """infinity #609, LitServe #660: a bad input killed the worker, and /health said 200 for ever."""
    assert status(server, "/health") == 200
    batcher = server.service.batcher
    monkeypatch.setattr(threading, "excepthook", lambda given: None)

    def ends() -> None:
        raise SystemExit  # what no handler of exceptions sees

    monkeypatch.setattr(batcher, "_taken", ends)
    for _ in range(2):  # the request that ended it, and the next
        began = time.monotonic()
        refused = server.post("/tasks/a", {"texts": "7"})
        assert refused.status_code == 503 and "restart" in refused.json()["error"]
        assert time.monotonic() - began < 2
    assert status(server, "/health") == 503 and status(server, "/ready") == 503


def test_an_error_of_our_own_in_a_batch_ends_the_batch_and_not_the_worker(
    server: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """infinity #609, from the other side: whatever goes wrong around the model, the thread lives."""
    counters = server.service.counters
    monkeypatch.setattr(counters, "batch", lambda *figures: 1 / 0)
    failed = server.post("/tasks/a", {"texts": "7"})
    assert failed.status_code == 500 and "ZeroDivisionError" in failed.json()["error"]
    monkeypatch.undo()
    assert server.answers() and status(server, "/health") == 200


def test_batches_are_bounded_by_tokens_not_by_rows() -> None:
    """infinity #517: memory grew with long inputs, as batches counted rows."""
    class Long(Echo):
        def tokens(self, layout: object, text: EncodedText) -> tuple[int, int]:
            return 400, 400

    model = Long()
    with live(model, max_batch_tokens=1000, max_queue=100) as server:
        answer = server.post("/tasks/a", {"texts": [str(n) for n in range(30)]})
        assert [row["a"]["label"] for row in answer.json()["results"]] == [*range(30)]
    assert max(model.batch_tokens) <= 1000 and len(model.batch_tokens) >= 15


def test_single_and_batched_requests_meet_one_limit(model: Echo, server: Live) -> None:
    """text-embeddings-inference #662: single requests got 429 while batches slipped through."""
    model.gate.clear()
    with ThreadPoolExecutor(12) as pool:
        first = pool.submit(server.post, "/tasks/a", {"texts": "0"})
        time.sleep(0.15)  # it occupies the model
        waiting = [pool.submit(server.post, "/tasks/a", {"texts": [str(n) for n in range(4)]})
                   for _ in range(2)]
        time.sleep(0.15)
        began = time.monotonic()
        refused = [server.post("/tasks/a", {"texts": ["1"] * count}) for count in (1, 2, 8, 9, 20)]
        ready, health = status(server, "/ready"), status(server, "/health")
        model.gate.set()
        assert [each.status_code for each in refused] == [429] * 5
        assert time.monotonic() - began < 1.0
        assert all(int(each.headers["retry-after"]) >= 1 for each in refused)
        assert (ready, health) == (503, 200)
        assert [each.result().status_code for each in (first, *waiting)] == [200] * 3
    assert sum(model.sizes) == 5  # 0, and 0 to 3 once: nothing that was refused


def test_overload_is_refused_and_over_when_it_is_over() -> None:
    """text-embeddings-inference #470: it panicked under overload."""
    model = Echo(seconds=0.05)
    with live(model, max_queue=4, max_batch_tokens=20) as server:
        async def one(client: httpx.AsyncClient, number: int) -> int:
            answer = await client.post("/tasks/a", json={"texts": str(number)})
            if answer.status_code == 200:
                assert answer.json()["results"][0]["a"]["label"] == number
            return answer.status_code

        async def flood() -> list[int]:
            async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
                return await asyncio.gather(*(one(client, number) for number in range(60)))

        statuses = asyncio.run(flood())
        assert set(statuses) == {200, 429} and len(statuses) == 60
        assert server.answers() and status(server, "/ready") == 200


def test_no_request_waits_while_a_model_loads() -> None:
    """LitServe #681: a request hung while the model was still loading."""
    loading, go_on = threading.Event(), threading.Event()
    caught: list[Exception] = []

    def load(folder: Path, name: str) -> Echo:
        loading.set()
        go_on.wait(10)
        return Echo()

    def run() -> None:
        try:
            serve([Path("model")], ServeSettings(port=port, log="none"), (), load,
                  started=lambda address: caught.append(AssertionError("it was served")))
        except RunError as error:
            caught.append(error)

    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        thread = threading.Thread(target=run)
        thread.start()
        assert loading.wait(10)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1)
        other.listen()  # the port is taken while the model loads: that is a sentence, too
        go_on.set()
        thread.join(10)
    assert len(caught) == 1 and "cannot listen there" in str(caught[0])


def test_batched_methods_do_not_hang(model: Echo) -> None:
    """ray #42593: batched methods hung, with a batch of none, of one, or from several loops."""
    batcher = Batcher()

    async def asked(*numbers: int) -> list[int]:
        wanted = [WantedInput(model, text, "single", ("a",), False, 10)
                  for text in model.tokenize([(str(number),) for number in numbers])]
        return [each.tasks["a"].label for each in await batcher.submit(wanted, 5)]

    async def run() -> None:
        assert await asked() == []
        assert await asked(1) == [1]
        assert await asyncio.gather(*(asked(n, 3) for n in range(40))) == [[n, 3] for n in range(40)]

    asyncio.run(run())
    asyncio.run(run())
    batcher.close()


def test_health_is_quick_under_load() -> None:
    """huggingface-inference-toolkit #12: /health was so slow under load that the pod was killed."""
    model = Echo(seconds=0.02)
    with live(model, max_queue=64) as server:
        body = {"texts": ["some words " * 200] * 30}
        ended = threading.Event()

        def load() -> None:
            while not ended.is_set():
                server.post("/tasks/a", body)

        with ThreadPoolExecutor(8) as pool:
            for _ in range(8):
                pool.submit(load)
            seconds = []
            for _ in range(20):
                began = time.perf_counter()
                assert status(server, "/health") == 200
                seconds.append(time.perf_counter() - began)
            ended.set()
    assert np.median(seconds) < 0.25, seconds


def test_a_batcher_that_closes_answers_or_refuses_and_never_hangs(model: Echo) -> None:
    batcher = Batcher()
    wanted = [WantedInput(model, text, "single", ("a",), False, 10) for text in model.tokenize([("3",)])]

    async def run() -> None:
        answered = asyncio.ensure_future(batcher.submit(wanted, 5))
        await asyncio.sleep(0)
        batcher.close(5)
        assert (await answered)[0].tasks["a"].label == 3

    asyncio.run(run())
    assert not batcher.alive
