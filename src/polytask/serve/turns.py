"""Few requests at a time do what costs the event loop milliseconds: routing, checks, the answer's JSON.

A batch that ends frees the places of some eighty requests at once. If all of them, and the eighty that take
their places, went through the loop in one go, a request that is refused would wait for all of these.
"""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive

TURNS = 4
STATE = "turn"
"""Key of the request's state under which its turn is."""


class Turn:
    """A request's turn: taken, given back while it waits for others, and taken again."""

    def __init__(self, turns: asyncio.Semaphore) -> None:
        self._turns, self._taken = turns, False

    async def take(self) -> None:
        if not self._taken:
            await self._turns.acquire()
            self._taken = True

    def give_back(self) -> None:
        """Let the next request have it; without effect if it was not taken."""
        if self._taken:
            self._taken = False
            self._turns.release()


async def received(receive: Receive) -> Receive:
    """Wait for a request's whole body, and return a `receive` that begins with it.

    So a client that sends its body slowly waits for itself, and takes no turn meanwhile.
    """
    messages: list[Message] = []
    while True:
        message = await receive()
        messages.append(message)
        if message["type"] != "http.request" or not message.get("more_body", False):
            break
    messages.reverse()

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again
