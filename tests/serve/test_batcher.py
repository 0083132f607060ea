"""The batcher: nothing lost, nothing mixed up, nothing waited for that need not be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
from echo import Echo

from polytask.serve import batcher as module
from polytask.serve.batch_requests import DeadlinePassed, InputFailed, Overloaded, WantedInput
from polytask.serve.batcher import Batcher


@pytest.fixture
def model() -> Echo:
    return Echo()


@pytest.fixture
def batcher(model: Echo) -> Iterator[Batcher]:
    made = Batcher(max_batch_tokens=100, max_queue=20, max_wait_ms=5)
    yield made
    model.gate.set()
    made.close(10)


def wanted(model: Echo, *numbers: int, tasks: tuple[str, ...] = ("a",),
           embed: bool = False) -> list[WantedInput]:
    return [WantedInput(model, text, "single", tasks, embed, 10)
            for text in model.tokenize([(str(number),) for number in numbers])]


async def labels(batcher: Batcher, inputs: list[WantedInput], timeout: float = 10) -> list[int]:
    return [answer.tasks["a"].label for answer in await batcher.submit(inputs, timeout)]


def test_every_request_gets_its_own_answers_in_order(model: Echo, batcher: Batcher) -> None:
    async def run() -> None:
        asked = [[100 * n + k for k in range(1 + n % 4)] for n in range(200)]
        room = asyncio.Semaphore(5)  # inside the queue

        async def one(numbers: list[int]) -> list[int]:
            async with room:
                return await labels(batcher, wanted(model, *numbers))

        assert await asyncio.gather(*map(one, asked)) == asked

    asyncio.run(run())
    assert max(model.sizes) <= 10 and sum(model.sizes) == 500


def test_tasks_and_embeddings_of_equal_texts_share_a_pass(model: Echo, batcher: Batcher) -> None:
    async def run() -> None:
        model.gate.clear()
        first = asyncio.ensure_future(batcher.submit(wanted(model, 1), 10))
        await asyncio.sleep(0.05)  # it occupies the model
        rest = [asyncio.ensure_future(batcher.submit(inputs, 10)) for inputs in (
            wanted(model, 7), wanted(model, 7, tasks=("b",)), wanted(model, 7, 8, tasks=(), embed=True))]
        await asyncio.sleep(0.05)
        model.gate.set()
        await first
        a, b, c = await asyncio.gather(*rest)
        assert set(a[0].tasks) == {"a"} and set(b[0].tasks) == {"b"} and a[0].vector is None
        assert [float(each.vector[0]) for each in c] == [7, 8] and c[0].tasks == {}

    asyncio.run(run())
    assert model.sizes == [1, 2] and set(model.batches[1]) == {"a", "b"}


def test_one_poisoned_input_harms_nobody_else(model: Echo, batcher: Batcher) -> None:
    async def run() -> None:
        model.gate.clear()
        first = asyncio.ensure_future(labels(batcher, wanted(model, 1)))
        await asyncio.sleep(0.05)
        good = [asyncio.ensure_future(labels(batcher, wanted(model, n))) for n in (2, 3)]
        bad = asyncio.ensure_future(labels(batcher, wanted(model, 666)))
        more = asyncio.ensure_future(labels(batcher, wanted(model, 4, 5)))
        await asyncio.sleep(0.05)
        model.gate.set()
        assert await asyncio.gather(first, *good, more) == [[1], [2], [3], [4, 5]]
        with pytest.raises(InputFailed, match=r"RuntimeError"):
            await bad
        assert batcher.ready
        for _ in range(3):
            with pytest.raises(InputFailed):
                await labels(batcher, wanted(model, 666))
        until = time.monotonic() + 10  # a refusal is told before its batch is counted
        while batcher.ready and time.monotonic() < until:
            await asyncio.sleep(0.01)
        assert not batcher.ready
        assert await labels(batcher, wanted(model, 6)) == [6]
        assert batcher.ready

    asyncio.run(run())


def test_a_full_queue_refuses_all_of_a_request_at_once(model: Echo, batcher: Batcher) -> None:
    async def run() -> None:
        model.gate.clear()
        first = asyncio.ensure_future(labels(batcher, wanted(model, 0)))
        await asyncio.sleep(0.05)
        waiting = [asyncio.ensure_future(labels(batcher, wanted(model, *range(n, n + 6))))
                   for n in (10, 20, 30)]
        await asyncio.sleep(0.05)
        began = time.monotonic()
        with pytest.raises(Overloaded) as caught:
            await labels(batcher, wanted(model, 1, 2, 3))
        assert time.monotonic() - began < 0.05 and caught.value.retry_after >= 1
        model.gate.set()
        assert await asyncio.gather(first, *waiting) == [[0], *([*range(n, n + 6)] for n in (10, 20, 30))]

    asyncio.run(run())
    assert sum(model.sizes) == 19  # nothing of the refused request was computed


def test_the_cancelled_and_the_late_are_not_computed(model: Echo, batcher: Batcher) -> None:
    async def run() -> None:
        model.gate.clear()
        first = asyncio.ensure_future(labels(batcher, wanted(model, 1)))
        await asyncio.sleep(0.05)
        gone = asyncio.ensure_future(labels(batcher, wanted(model, 2)))
        late = asyncio.ensure_future(labels(batcher, wanted(model, 3), timeout=0.1))
        stays = asyncio.ensure_future(labels(batcher, wanted(model, 4)))
        await asyncio.sleep(0.05)
        gone.cancel()
        with pytest.raises(DeadlinePassed, match=r"0\.1 s"):
            await late
        model.gate.set()
        assert await asyncio.gather(first, stays) == [[1], [4]]

    asyncio.run(run())
    assert model.sizes == [1, 1]


def test_a_lone_client_does_not_wait(model: Echo) -> None:
    patient = Batcher(max_batch_tokens=1000, max_wait_ms=500)

    async def run() -> float:
        began = time.monotonic()
        for number in range(5):
            await labels(patient, wanted(model, number))
        return time.monotonic() - began

    assert asyncio.run(run()) < 0.4
    patient.close(5)


def test_closing_answers_what_waits_and_takes_nothing_more(model: Echo) -> None:
    batcher = Batcher(max_batch_tokens=20)

    async def run() -> None:
        model.gate.clear()
        waiting = [asyncio.ensure_future(labels(batcher, wanted(model, n))) for n in range(5)]
        await asyncio.sleep(0.05)
        closing = asyncio.ensure_future(asyncio.to_thread(batcher.close, 10))
        await asyncio.sleep(0.05)
        with pytest.raises(Overloaded):
            await labels(batcher, wanted(model, 9))
        model.gate.set()
        assert await asyncio.gather(*waiting) == [[n] for n in range(5)]
        await closing

    asyncio.run(run())
    assert not batcher.ready


def test_reserved_places_count_and_are_given_back(model: Echo, batcher: Batcher) -> None:
    async def run() -> None:
        places = batcher.reserve(19)
        batcher.reserve(1)
        assert not batcher.ready
        with pytest.raises(Overloaded):
            batcher.reserve(1)
        answers = await batcher.submit(wanted(model, *range(19)), 10, places)
        assert [each.tasks["a"].label for each in answers] == [*range(19)]
        batcher.give_back(places)
        batcher.give_back(places)
        batcher.reserve(19)
        with pytest.raises(Overloaded):
            batcher.reserve(1)

    asyncio.run(run())


def test_a_server_that_failed_lets_itself_be_tried_again(
    model: Echo, batcher: Batcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_UNREADY", 0.1)

    async def run() -> None:
        for _ in range(3):
            with pytest.raises(InputFailed):
                await labels(batcher, wanted(model, 666))
        assert not batcher.ready
        await asyncio.sleep(0.15)
        assert batcher.ready

    asyncio.run(run())


def test_a_waiter_whose_loop_has_ended_harms_nobody(model: Echo, batcher: Batcher) -> None:
    async def leaves() -> None:
        model.gate.clear()
        asyncio.ensure_future(labels(batcher, wanted(model, 1)))  # noqa: RUF006
        await asyncio.sleep(0.05)

    async def asks() -> None:
        assert await labels(batcher, wanted(model, 2)) == [2]

    asyncio.run(leaves())
    model.gate.set()
    asyncio.run(asks())


def test_a_request_without_inputs_is_answered_at_once(batcher: Batcher) -> None:
    assert asyncio.run(batcher.submit([], 10)) == []
