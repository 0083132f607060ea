"""A model for asyncio: its coroutines share one batcher, as the requests of a server do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.core.errors import ConfigError, MissingExtra, RunError, nearest
from polytask.data.decisions import joined_names
from polytask.inference.answers import Answers, Prediction
from polytask.inference.contract import Predictor, Text, listed_texts, text_rows
from polytask.serve.engine import TaskAnswer, TaskInfo
from polytask.serve.engines import served

try:
    from polytask.serve.batch_requests import (
        BatcherStopped,
        DeadlinePassed,
        InputAnswer,
        InputFailed,
        Overloaded,
        WantedInput,
    )
    from polytask.serve.batcher import Batcher
except ModuleNotFoundError:
    raise MissingExtra("AsyncModel", "serve") from None


class AsyncModel:
    """A model whose `predict`, `predict_all` and `embed` are coroutines; the answers are the model's own.

    Calls made at the same time share a batch, in which each distinct text is encoded once:

        async with AsyncModel(pk.load("runs/first")) as model:
            first, second = await asyncio.gather(model.predict("sst", ["A gem."]), model.embed(["A gem."]))
    """

    def __init__(self, model: Predictor[Any], max_batch_tokens: int = 2048, timeout: float = 60.0) -> None:
        """timeout: seconds within which a call is answered; `TimeoutError` is raised after that.

        A call raises `RunError` where the model fails on a text, and once this model is closed.
        """
        self.model, self.timeout = served(model), timeout
        self._columns = {name: task.text for name, task in model.tasks.items()}
        self.batcher = Batcher(max_batch_tokens, max_queue=1 << 20, max_wait_ms=2.0)
        self._closed = False

    async def __aenter__(self) -> AsyncModel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.close)

    async def predict(self, task: str, texts: Iterable[Text]) -> Answers:
        """Return a prediction for each text, or pair of texts."""
        return (await self.predict_all([task], texts))[task]

    async def predict_all(self, tasks: Sequence[str], texts: Iterable[Text]) -> dict[str, Answers]:
        """Return the predictions of several tasks: one pass of the encoder where they read alike."""
        infos, listed = [self._task(name) for name in tasks], listed_texts(texts)
        rows: list[tuple[str, ...]] = []
        for info in infos:
            rows = text_rows(listed, info.texts, f' for task "{info.name}"')
        answers = await self._answers(rows, infos, embed=False)
        return {name: Answers([_prediction(each.tasks[name]) for each in answers], name,
                              self._columns[name], rows) for name in tasks}

    async def embed(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """Return the vector of each text: (texts, width) float32."""
        rows = text_rows(listed_texts(texts), 1, "")
        answers = await self._answers(rows, [], embed=True)
        vectors = [answer.vector for answer in answers if answer.vector is not None]
        return np.stack(vectors) if vectors else np.zeros((0, self.model.width), np.float32)

    def close(self) -> None:
        """Answer the calls that wait, then end the thread."""
        self._closed = True
        self.batcher.close()

    def _task(self, name: str) -> TaskInfo:
        if name not in self.model.tasks:
            raise ConfigError(f'"{name}" is not a task of '
                              f'{self.model.name}{nearest(name, self.model.tasks)}')
        return self.model.tasks[name]

    async def _answers(self, rows: Sequence[tuple[str, ...]], tasks: Sequence[TaskInfo],
                       embed: bool) -> list[InputAnswer]:
        if self._closed:
            raise RunError(f"{self.model.name}: this AsyncModel is closed; make another one")
        if not rows:
            return []
        encoded = await asyncio.to_thread(self.model.tokenize, rows)
        layouts: dict[Any, list[str]] = {}
        for task in tasks:
            layouts.setdefault(task.layout, []).append(task.name)
        if embed:
            layouts.setdefault(self.model.embedding_layout, [])
        merged = [InputAnswer({}, None) for _ in rows]
        wanted = [(place, WantedInput(self.model, text, layout, tuple(names), embed,
                                 self.model.tokens(layout, text)[0]))
                  for place, text in enumerate(encoded) for layout, names in layouts.items()]
        try:
            answers = await self.batcher.submit([each for _, each in wanted], self.timeout)
        except DeadlinePassed as error:
            raise TimeoutError(str(error)) from None
        except (InputFailed, Overloaded, BatcherStopped) as error:
            raise RunError(f"{self.model.name}: {error}") from None
        for (place, _), answer in zip(wanted, answers, strict=True):
            merged[place].tasks |= answer.tasks
            merged[place].vector = answer.vector
        return merged


def _prediction(answer: TaskAnswer) -> Prediction:
    label = joined_names(answer.label) if isinstance(answer.label, list) else answer.label
    return Prediction(label, answer.score, answer.probabilities)
