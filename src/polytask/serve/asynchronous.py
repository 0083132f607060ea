"""A model for asyncio: its coroutines share one batcher, as the requests of a server do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.core.errors import ConfigError, nearest
from polytask.serve.batcher import Batcher, InputAnswer, WantedInput
from polytask.serve.engine import ServedModel, TaskAnswer, TaskInfo


class AsyncModel:
    """A model whose `predict`, `predict_all` and `embed` are coroutines.

    What is asked for at the same time is answered in one batch:

        model = AsyncModel(load_torch("runs/first", "first", threads=None))
        first, second = await asyncio.gather(model.predict("sst", ["A gem."]), model.embed(["A gem."]))
    """

    def __init__(self, model: ServedModel, max_batch_tokens: int = 2048, timeout: float = 60.0) -> None:
        self.model, self.timeout = model, timeout
        self.batcher = Batcher(max_batch_tokens, max_queue=1 << 20, max_wait_ms=2.0)

    async def predict(self, task: str, texts: Sequence[str | tuple[str, ...]]) -> list[TaskAnswer]:
        """Return a task's answer to each text, or pair of texts."""
        return (await self.predict_all([task], texts))[task]

    async def predict_all(self, tasks: Sequence[str],
                          texts: Sequence[str | tuple[str, ...]]) -> dict[str, list[TaskAnswer]]:
        """Return the answers of several tasks: one pass of the encoder where they read alike."""
        infos = [self._task(name) for name in tasks]
        answers = await self._answers(texts, infos, embed=False)
        return {name: [each.tasks[name] for each in answers] for name in tasks}

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vector of each text: (texts, width)."""
        answers = await self._answers(texts, [], embed=True)
        return np.stack([each.vector for each in answers if each.vector is not None])

    def close(self) -> None:
        """Answer what waits and end the thread."""
        self.batcher.close()

    def _task(self, name: str) -> TaskInfo:
        if name not in self.model.tasks:
            raise ConfigError(f'"{name}" is no task of {self.model.name}{nearest(name, self.model.tasks)}')
        return self.model.tasks[name]

    async def _answers(self, texts: Sequence[Any], tasks: Sequence[TaskInfo],
                       embed: bool) -> list[InputAnswer]:
        rows = [(text,) if isinstance(text, str) else tuple(text) for text in texts]
        for place, row in enumerate(rows):
            for task in tasks:
                if len(row) != task.texts:
                    raise ConfigError(f'texts[{place}]: found {len(row)} texts, expected {task.texts} for '
                                      f'task "{task.name}"')
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
        answers = await self.batcher.submit([each for _, each in wanted], self.timeout)
        for (place, _), answer in zip(wanted, answers, strict=True):
            merged[place].tasks |= answer.tasks
            merged[place].vector = answer.vector
        return merged
