"""The micro-batcher: one thread owns the model, requests wait in one queue, batches fill by tokens.

A batch takes what is queued, in order, up to `max_batch_tokens` real tokens. It waits for more, at
most `max_wait_ms`, only if the batch before held several requests: a lone client never waits. Equal
inputs are encoded once, and tasks that read their texts alike share the pass. Either all inputs of a
request enter the queue or none does. A request that was cancelled or is past its deadline leaves it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from typing import Any

from polytask.serve.batch_requests import (
    BatcherStopped,
    DeadlinePassed,
    InputAnswer,
    InputFailed,
    Overloaded,
    PendingRequest,
    QueuedInput,
    ReservedPlaces,
    WantedInput,
)
from polytask.serve.counters import Counters
from polytask.serve.engine import BatchAnswers
from polytask.serve.memory import FreedMemory

# After this many failed batches in a row the server reports that it is not ready, and after this many
# seconds that it is: a load balancer sends no requests to an unready server, so nothing would show that it
# has recovered.
FAILURES_UNTIL_UNREADY, SECONDS_UNREADY = 3, 10.0


class Batcher:
    """Answers requests in batches, in a thread of its own."""

    def __init__(self, max_batch_tokens: int = 2048, max_queue: int = 512, max_wait_ms: float = 3.0,
                 counters: Counters | None = None) -> None:
        self.max_batch_tokens, self.max_queue = max_batch_tokens, max_queue
        self.max_wait = max_wait_ms / 1000
        self.counters = counters or Counters()
        self._queue: deque[QueuedInput] = deque()
        self._queued_tokens = self._reserved = 0
        self._changed = threading.Condition()
        self._closing = self._stopped = False
        self._several = False  # whether the last batch held more than one request
        self._failures, self._failed_at = 0, 0.0
        self._rate = 0.0  # tokens a second, a running mean
        self._freed = FreedMemory()
        self._thread = threading.Thread(target=self._run, name="polytask-batcher", daemon=True)
        self._thread.start()

    # ---- asking

    def reserve(self, count: int) -> ReservedPlaces:
        """Reserve places for a request; raise `Overloaded` if the queue has no room for it.

        A request that does not fit is thus refused before any work goes into it.
        """
        with self._changed:
            self._check_room(count)
            self._reserved += count
        return ReservedPlaces(count)

    def check_room(self, waiting: int) -> None:
        """Raise `Overloaded` if the queue is full once `waiting` requests of one input have entered it."""
        with self._changed:
            self._check_room(waiting + 1)

    def give_back(self, places: ReservedPlaces) -> None:
        """Free reserved places that were not used; used and freed ones are left alone."""
        with self._changed:
            self._free(places)

    async def submit(self, inputs: Sequence[WantedInput], timeout: float,
                     places: ReservedPlaces | None = None) -> list[InputAnswer]:
        """Return the answers to the inputs of one request; `places` are those it has reserved.

        Raises `Overloaded` and `BatcherStopped` at once, `DeadlinePassed` after `timeout` seconds,
        `InputFailed`. A cancelled task leaves the queue.
        """
        if not inputs:
            return []
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[InputAnswer]] = loop.create_future()

        def finish(result: list[InputAnswer] | Exception) -> None:
            with suppress(RuntimeError):  # the loop has ended, and its waiters with it
                loop.call_soon_threadsafe(_resolve, future, result)

        request = self.enqueue(inputs, timeout, finish, places)
        try:
            return await asyncio.wait_for(future, timeout)
        except TimeoutError:
            raise DeadlinePassed(f"not answered within {timeout:g} s") from None
        finally:
            request.cancelled = True

    def enqueue(self, inputs: Sequence[WantedInput], timeout: float,
                finish: Callable[[list[InputAnswer] | Exception], None],
                places: ReservedPlaces | None = None) -> PendingRequest:
        """Queue all inputs of a request; raise `Overloaded` if there is no room for all of them."""
        now = time.monotonic()
        request = PendingRequest(inputs, now + timeout, finish, now)
        with self._changed:
            if places is None or places.given_back:
                self._check_room(len(inputs))
            else:
                self._free(places)
            if self._stopped:
                raise BatcherStopped
            self._queue.extend((request, place) for place in range(len(inputs)))
            self._queued_tokens += sum(entry.tokens for entry in inputs)
            self.counters.queue(len(self._queue))
            self._changed.notify()
        return request

    def _check_room(self, count: int) -> None:
        if self._closing:
            raise Overloaded(1)
        taken = len(self._queue) + self._reserved
        # A request larger than the whole queue is accepted when nothing waits.
        if taken and taken + count > self.max_queue:
            raise Overloaded(self._retry_after())

    def _free(self, places: ReservedPlaces) -> None:
        if not places.given_back:
            places.given_back = True
            self._reserved -= places.count

    def _retry_after(self) -> int:
        return max(1, min(60, round(self._queued_tokens / self._rate))) if self._rate else 1

    @property
    def ready(self) -> bool:
        """Whether a request would be accepted: the last batches did not fail, and the queue has room."""
        failing = (self._failures >= FAILURES_UNTIL_UNREADY
                   and time.monotonic() - self._failed_at < SECONDS_UNREADY)
        return (not self._closing and not failing
                and len(self._queue) + self._reserved < self.max_queue and self.alive)

    @property
    def alive(self) -> bool:
        """Whether the thread that answers still runs."""
        return not self._stopped

    def close(self, timeout: float | None = None) -> None:
        """Accept no more requests, answer those waiting, end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout)

    # ---- the thread

    def _run(self) -> None:
        try:
            while (batch := self._next()) is not None:
                self._answer_all(batch)
                self._freed.give_back()
        finally:
            with self._changed:
                self._stopped = True
                for request, _ in self._queue:  # empty, unless something ended the thread
                    self._end(request, BatcherStopped())

    def _answer_all(self, batch: list[QueuedInput]) -> None:
        try:
            self._answer(batch)
        except Exception as error:  # a bug of ours must not end the thread that everyone waits for
            for request, place in batch:
                self._end(request, InputFailed(f"input {place}: its batch failed "
                                               f"({type(error).__name__})"))
        except BaseException:
            for request, _ in batch:
                self._end(request, BatcherStopped())
            raise

    def _next(self) -> list[QueuedInput] | None:
        """Wait for the next batch and return it; None once the batcher is closed."""
        with self._changed:
            while not self._queue:
                if self._closing:
                    return None
                self._changed.wait()
            if self._several and self.max_wait and not self._closing:
                until = time.monotonic() + self.max_wait
                while (self._queued_tokens < self.max_batch_tokens
                       and (left := until - time.monotonic()) > 0 and not self._closing):
                    self._changed.wait(left)
            return self._taken()

    def _taken(self) -> list[QueuedInput]:
        batch: list[QueuedInput] = []
        tokens, now = 0, time.monotonic()
        while self._queue:
            request, place = self._queue[0]
            size = request.inputs[place].tokens
            gone = request.cancelled or request.ended or request.deadline < now
            if not gone and batch and tokens + size > self.max_batch_tokens:
                break
            self._queue.popleft()
            self._queued_tokens -= size
            if gone:
                if request.deadline < now:
                    self._end(request, DeadlinePassed("not answered in time"))
                continue
            batch.append((request, place))
            tokens += size
        self.counters.queue(len(self._queue))
        self._several = len({id(request) for request, _ in batch}) > 1
        return batch

    def _answer(self, batch: list[QueuedInput]) -> None:
        if not batch:
            return
        began = time.monotonic()
        groups: dict[Hashable, list[QueuedInput]] = {}
        for request, place in batch:
            wanted = request.inputs[place]
            groups.setdefault((id(wanted.model), wanted.layout), []).append((request, place))
            self.counters.waited(began - request.since)
        answered = False
        failed: dict[PendingRequest, InputFailed] = {}
        for group in groups.values():
            try:
                self._compute(group)
                answered = True
            except Exception as error:  # of any kind: the thread must outlive it
                answered = self._one_by_one(group, error, failed) or answered
        self._failures = 0 if answered else self._failures + 1
        self._failed_at = self._failed_at if answered else time.monotonic()
        seconds = time.monotonic() - began
        tokens = sum(request.inputs[place].tokens for request, place in batch)
        self._rate = 0.8 * self._rate + 0.2 * tokens / max(seconds, 1e-6) if self._rate else (
            tokens / max(seconds, 1e-6))
        self.counters.batch(len(batch), tokens, seconds)
        for request, reason in failed.items():  # counted before it is told
            self._end(request, reason)
        for request in dict.fromkeys(request for request, _ in batch):
            if len(request.answers) == len(request.inputs):
                self._end(request, [request.answers[place] for place in range(len(request.inputs))])

    def _compute(self, group: Sequence[QueuedInput]) -> None:
        """Answer inputs of one model and layout: equal ones once, all their tasks from one pass."""
        wanted = [request.inputs[place] for request, place in group]
        tasks = list(dict.fromkeys(task for entry in wanted for task in entry.tasks))
        first: dict[tuple[bytes, ...], int] = {}
        where = [first.setdefault(entry.text.key, len(first)) for entry in wanted]
        texts = {place: entry.text for place, entry in zip(where, wanted, strict=True)}
        model, layout = wanted[0].model, wanted[0].layout
        answers = model.answer(layout, tasks, [texts[place] for place in range(len(first))],
                               any(entry.embed for entry in wanted))
        for (request, place), at, each in zip(group, where, wanted, strict=True):
            request.answers[place] = _of_input(answers, at, each)

    def _one_by_one(self, group: Sequence[QueuedInput], error: Exception,
                    failed: dict[PendingRequest, InputFailed]) -> bool:
        """Answer the inputs of a batch that failed one by one; return whether any could be answered.

        A request with an input that cannot be is added to `failed`.
        """
        answered = False
        for request, place in group:
            if request.ended or request in failed:
                continue
            try:
                if len(group) == 1:
                    raise error
                self._compute([(request, place)])
                answered = True
            except Exception as reason:
                self.counters.failure()
                failed[request] = InputFailed(f"input {place}: the model failed on it "
                                              f"({type(reason).__name__})")
        return answered

    @staticmethod
    def _end(request: PendingRequest, result: list[InputAnswer] | Exception) -> None:
        if not request.ended:
            request.ended = True
            request.finish(result)


def _of_input(answers: BatchAnswers, at: int, wanted: WantedInput) -> InputAnswer:
    vector = answers.vectors[at] if wanted.embed and answers.vectors is not None else None
    return InputAnswer({task: answers.by_task[task][at] for task in wanted.tasks}, vector)


def _resolve(future: asyncio.Future[Any], result: Any) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
