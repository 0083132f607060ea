"""Few requests at a time in the application: what is refused does not wait for those that are answered."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from polytask.serve.batch_requests import Overloaded
from polytask.serve.counters import Counters
from polytask.serve.limits import Gate, ServeError
from polytask.serve.settings import ServeSettings
from polytask.serve.turns import STATE, TURNS, Turn


class Application:
    """Holds the turns of the requests that came in until it is told to let them go."""

    def __init__(self, places: int = 1000) -> None:
        self.inside: list[str] = []
        self.go = asyncio.Event()
        self.places, self.bodies = places, []  # type: ignore[var-annotated]
        self.gate = Gate(self, ServeSettings(), [], Counters(), self.check_room)

    def check_room(self, waiting: int) -> None:
        if waiting >= self.places:
            raise ServeError(429, "overloaded", str(Overloaded(1)), retry_after=1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.inside.append(scope["path"])
        body = b""
        if scope["method"] == "POST":
            while (message := await receive())["type"] == "http.request":
                body += message.get("body", b"")
                if not message.get("more_body"):
                    break
        self.bodies.append(body)
        if scope["path"] == "/gives-back":
            scope["state"][STATE].give_back()
        await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def ask(self, path: str = "/predict", method: str = "POST",
            messages: asyncio.Queue[Message] | None = None) -> asyncio.Task[int]:
        """Send a request, its body whole unless its messages come from a queue; return its status."""
        async def status() -> int:
            sent: list[Any] = []
            scope = {"type": "http", "method": method, "path": path, "headers": []}

            async def receive() -> Message:
                if messages is not None:
                    return await messages.get()
                return {"type": "http.request", "body": b"{}", "more_body": False}

            async def send(message: Message) -> None:
                sent.append(message)

            await self.gate(scope, receive, send)
            return int(sent[0]["status"])

        return asyncio.ensure_future(status())


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_so_many_are_inside_and_the_next_enters_when_a_turn_is_given_back() -> None:
    async def run() -> None:
        application = Application()
        asked = [application.ask() for _ in range(TURNS + 3)]
        await settled()
        assert len(application.inside) == TURNS
        assert application.gate.waiting == 3
        application.go.set()
        assert await asyncio.gather(*asked) == [200] * (TURNS + 3)
        assert application.gate.waiting == 0

    asyncio.run(run())


def test_a_request_that_waits_for_its_batch_lets_the_next_one_in() -> None:
    async def run() -> None:
        application = Application()
        asked = [application.ask("/gives-back") for _ in range(3 * TURNS)]
        await settled()
        assert len(application.inside) == 3 * TURNS
        application.go.set()
        assert set(await asyncio.gather(*asked)) == {200}

    asyncio.run(run())


def test_refusals_and_the_state_of_the_server_wait_for_nobody() -> None:
    async def run() -> None:
        application = Application(places=2)
        asked = [application.ask() for _ in range(TURNS + 2)]
        await settled()
        assert await asyncio.wait_for(application.ask(), 1) == 429
        health = application.ask("/health", "GET")
        await settled()
        assert application.inside[-1] == "/health"
        application.go.set()
        assert set(await asyncio.gather(*asked, health)) == {200}

    asyncio.run(run())


def test_a_client_that_sends_slowly_takes_no_turn_and_its_body_arrives_whole() -> None:
    async def run() -> None:
        application = Application()
        queues: list[asyncio.Queue[Message]] = [asyncio.Queue() for _ in range(TURNS)]
        slow = [application.ask(messages=queue) for queue in queues]
        for queue in queues:
            queue.put_nowait({"type": "http.request", "body": b'{"te', "more_body": True})
        await settled()
        assert application.inside == []
        quick = application.ask()
        application.go.set()
        assert await asyncio.wait_for(quick, 1) == 200
        for queue in queues:
            queue.put_nowait({"type": "http.request", "body": b'xts": 1}', "more_body": False})
        assert set(await asyncio.gather(*slow)) == {200}
        assert application.bodies == [b"{}", *[b'{"texts": 1}'] * TURNS]

    asyncio.run(run())


def test_a_turn_is_taken_and_given_back_once_and_a_cancelled_wait_takes_none() -> None:
    async def run() -> None:
        turns = asyncio.Semaphore(1)
        first, second = Turn(turns), Turn(turns)
        await first.take()
        await first.take()
        waiting = asyncio.ensure_future(second.take())
        await settled()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        second.give_back()
        first.give_back()
        first.give_back()
        assert not turns.locked()
        await second.take()
        assert turns.locked()

    asyncio.run(run())
