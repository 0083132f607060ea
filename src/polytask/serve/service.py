"""What the routes share: requests become inputs of the batcher, whose answers become results."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request

from polytask.core.errors import nearest
from polytask.serve.batch_requests import (
    BatcherStopped,
    DeadlinePassed,
    InputAnswer,
    InputFailed,
    Overloaded,
    ReservedPlaces,
    WantedInput,
)
from polytask.serve.batcher import Batcher
from polytask.serve.counters import Counters
from polytask.serve.engine import ServedModel, TaskInfo
from polytask.serve.limits import ServeError, short
from polytask.serve.settings import ServeSettings
from polytask.serve.turns import STATE, Turn


@dataclass
class Answered:
    """The answers to a request's inputs, its tokens, and which inputs were cut."""

    answers: list[InputAnswer]
    tokens: int
    truncated: list[int]


@dataclass(frozen=True)
class PreparedInput:
    """An input of a request in one layout, and whether its tokens were cut."""

    place: int
    wanted: WantedInput
    cut: bool


class Service:
    """A server's models and the batcher in front of them."""

    def __init__(self, models: Sequence[ServedModel], settings: ServeSettings,
                 counters: Counters | None = None, folders: Mapping[str, Path] | None = None) -> None:
        self.settings, self.counters = settings, counters or Counters()
        self.models = {model.name: model for model in models}
        self.batcher = Batcher(settings.max_batch_tokens, settings.max_queue, settings.max_wait_ms,
                               self.counters)
        # The folder of each model, by its name: a run has more to show than its model.
        self.folders = dict(folders or {})
        self.draining = False
        self._pool = ThreadPoolExecutor(2, "polytask-tokenizer")

    @property
    def alive(self) -> bool:
        """Whether the thread that answers is running; if not, only a restart helps."""
        return self.batcher.alive

    @property
    def ready(self) -> bool:
        return not self.draining and self.batcher.ready

    def check_room(self, waiting: int) -> None:
        """Raise the refusal of a request that finds the queue full once `waiting` others are in it."""
        with _refusals():
            self.batcher.check_room(waiting)

    def replace(self, model: ServedModel) -> None:
        """Replace the model of the same name; requests in progress finish with the old one."""
        self.models[model.name] = model
        self.counters.reload()

    def close(self) -> None:
        self.draining = True
        self.batcher.close(self.settings.timeout)
        self._pool.shutdown(wait=False, cancel_futures=True)

    # ---- names

    def model(self, name: str | None, tasks: Sequence[str] = ()) -> ServedModel:
        """Return the model called `name`; without a name, the first that has all of the tasks."""
        if name is not None and name in self.models:
            return self.models[name]
        if name is not None and len(self.models) > 1:
            raise ServeError(404, "not_found", f'model: "{short(name)}" is not a model here'
                             f"{_instead(name, self.models)}")
        fitting = [model for model in self.models.values() if all(task in model.tasks for task in tasks)]
        return (fitting or list(self.models.values()))[0]

    def task(self, model: ServedModel, name: str, texts: int | None = None) -> TaskInfo:
        """Return a task; refuse an unknown one, and one that takes another number of texts."""
        if name not in model.tasks:
            raise ServeError(404, "not_found", f'"{short(name)}" is not a task of {model.name}'
                             f"{_instead(name, model.tasks)}")
        task = model.tasks[name]
        if texts is not None and task.texts != texts:
            raise ServeError(400, "validation", f'task "{name}" takes {_texts(task.texts)} per input, '
                             f"found {_texts(texts)}; use {'pairs' if task.texts == 2 else 'texts'}")
        return task

    def default_task(self, model: ServedModel, texts: int) -> TaskInfo:
        """Return the first task that takes this number of texts."""
        for task in model.tasks.values():
            if task.texts == texts:
                return task
        body = '{"pairs": [["first text", "second text"]]}' if texts == 1 else '{"texts": ["a text"]}'
        fitting = next((name for name, other in self.models.items()
                        if any(task.texts == texts for task in other.tasks.values())), None)
        elsewhere = "" if fitting is None else f', or ask the model that has one: "model": "{fitting}"'
        raise ServeError(400, "validation", f"{model.name} has no task that takes {_texts(texts)} per "
                         f"input (its tasks: {', '.join(model.tasks)}); send {body}{elsewhere}")

    def wanted_tasks(self, model: ServedModel, names: str | Sequence[str] | None,
                     texts: int) -> list[TaskInfo]:
        """Return the tasks that a request names; by default all that take so many texts."""
        if names is None or names in ("all", ["all"]):
            fitting = [task for task in model.tasks.values() if task.texts == texts]
            return fitting or [self.default_task(model, texts)]
        listed = [names] if isinstance(names, str) else list(dict.fromkeys(names))
        if not listed:
            raise ServeError(400, "validation", "tasks: found no name, expected at least one "
                             f"of {', '.join(model.tasks)}")
        return [self.task(model, name, texts) for name in listed]

    # ---- inputs

    def checked(self, inputs: Sequence[tuple[str, ...]],
                truncate: bool) -> tuple[list[tuple[str, ...]], set[int]]:
        """Return the inputs with texts cut to the limits, and the places of those that were cut.

        What cannot be encoded in UTF-8 becomes "?".
        """
        if not inputs:
            raise ServeError(400, "validation", "found no text, expected at least one")
        if len(inputs) > self.settings.max_inputs:
            raise ServeError(413, "too_many", f"found {len(inputs):,} inputs, expected at most "
                             f"{self.settings.max_inputs:,} a request (max_inputs)")
        most, cut = self.settings.max_characters, set()
        for place, texts in enumerate(inputs):
            for text in texts:
                if len(text) > most:
                    if not truncate:
                        raise ServeError(413, "too_large", f"input {place}: found {len(text):,} "
                                         f"characters, expected at most {most:,} (max_characters)")
                    cut.add(place)
                if not text[:most].strip():
                    raise ServeError(400, "validation", f"input {place}: the text is empty")
        return [tuple(text[:most].encode("utf-8", "replace").decode() for text in texts)
                for texts in inputs], cut

    async def answer(self, request: Request, model: ServedModel, inputs: Sequence[tuple[str, ...]],
                     tasks: Sequence[TaskInfo], embed: bool = False,
                     truncate: bool | None = None) -> Answered:
        """Return the answers to inputs; tasks that read them alike share one pass of the encoder.

        Raises `ServeError` with the status of the refusal.
        """
        if self.draining:
            raise ServeError(503, "unavailable", "the server is shutting down", retry_after=5)
        may_cut = self.settings.truncate if truncate is None else truncate
        checked, cut = self.checked(inputs, may_cut)
        layouts: dict[Hashable, list[str]] = {}
        for task in tasks:
            layouts.setdefault(task.layout, []).append(task.name)
        if embed:
            layouts.setdefault(model.embedding_layout, [])
        until = time.monotonic() + self.settings.timeout
        with _refusals(), self._places(len(checked) * len(layouts)) as places:
            rows = await self._prepared(model, checked, layouts, embed, until)
            cut |= {row.place for row in rows if row.cut}
            if cut and not may_cut:
                raise ServeError(413, "too_long", f"input {min(cut)}: has more tokens than the model "
                                 "reads; shorten it, or have it cut with truncate = true")
            answers = await self._submitted(request, [row.wanted for row in rows], until, places)
        merged = [InputAnswer({}, None) for _ in checked]
        for row, answer in zip(rows, answers, strict=True):
            merged[row.place].tasks |= answer.tasks
            if answer.vector is not None:
                merged[row.place].vector = answer.vector
        for answer in merged:
            for name, task_answer in answer.tasks.items():
                for label in counted_labels(model.tasks[name], task_answer.label):
                    self.counters.answer(name, label)
        total = sum(row.wanted.tokens for row in rows)
        request.state.counts = {"inputs": len(checked), "tokens": total}
        return Answered(merged, total, sorted(cut))

    @contextmanager
    def _places(self, count: int) -> Iterator[ReservedPlaces]:
        places = self.batcher.reserve(count)
        try:
            yield places
        finally:
            self.batcher.give_back(places)

    async def _prepared(self, model: ServedModel, inputs: Sequence[tuple[str, ...]],
                        layouts: Mapping[Hashable, Sequence[str]], embed: bool,
                        until: float) -> list[PreparedInput]:
        """Tokenize the inputs once per layout, in a thread because long texts take a while."""
        def prepare() -> list[PreparedInput]:
            rows = []
            for place, text in enumerate(model.tokenize(inputs)):
                for layout, names in layouts.items():
                    kept, full = model.tokens(layout, text)
                    wants = embed and layout == model.embedding_layout
                    wanted = WantedInput(model, text, layout, tuple(names), wants, kept)
                    rows.append(PreparedInput(place, wanted, kept < full))
            return rows

        working = asyncio.get_running_loop().run_in_executor(self._pool, prepare)
        try:
            return await asyncio.wait_for(working, until - time.monotonic())
        except TimeoutError:
            raise DeadlinePassed(f"not answered within {self.settings.timeout:g} s") from None

    async def _submitted(self, request: Request, wanted: Sequence[WantedInput], until: float,
                         places: ReservedPlaces) -> list[InputAnswer]:
        answered = asyncio.ensure_future(
            self.batcher.submit(wanted, max(0.0, until - time.monotonic()), places))
        turn: Turn = getattr(request.state, STATE)
        turn.give_back()
        # The body has been read, so the next message says that the client has disconnected.
        gone = asyncio.ensure_future(request.receive())
        try:
            await asyncio.wait({answered, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not answered.done():
                raise ServeError(499, "cancelled", "the client went away")
            await turn.take()
            return answered.result()
        finally:
            answered.cancel()
            gone.cancel()


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn the batcher's exceptions into refusals with a status."""
    try:
        yield
    except Overloaded as error:
        raise ServeError(429, "overloaded", str(error), retry_after=error.retry_after) from None
    except DeadlinePassed as error:
        raise ServeError(504, "timeout", str(error)) from None
    except InputFailed as error:
        raise ServeError(500, "failed", str(error)) from None
    except BatcherStopped as error:
        raise ServeError(503, "unavailable", str(error), retry_after=5) from None


def vectors(answered: Answered, normalize: bool) -> NDArray[np.float32]:
    """Return the vectors of a request's inputs: (inputs, width)."""
    stacked = np.stack([answer.vector for answer in answered.answers if answer.vector is not None])
    if not normalize:
        return stacked
    scaled: NDArray[np.float32] = stacked / np.maximum(
        np.linalg.norm(stacked, axis=1, keepdims=True), 1e-12)
    return scaled


def _instead(name: str, known: Iterable[str]) -> str:
    """Return the name that was probably meant, and all names there are."""
    return f"{nearest(short(name), known)} (expected one of {', '.join(known)})"


def _texts(number: int) -> str:
    return "1 text" if number == 1 else f"{number} texts"


def counted_labels(task: TaskInfo, label: Any) -> list[str]:
    """Return what an answer is counted as: as few names as the task has classes, or tenths of its range."""
    if isinstance(label, list):
        return label or ["(none)"]
    if not isinstance(label, float) or task.range is None:
        return [str(label)]
    low, high = task.range
    if not math.isfinite(label):
        return [str(label)]
    tenth = min(9, max(0, int(10 * (label - low) / (high - low))))
    return [f"{low + tenth * (high - low) / 10:g}"]
