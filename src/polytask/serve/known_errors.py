"""The mistakes on dev nearest to a text: what the model is known to get wrong in texts like it.

A run keeps its predictions for dev. The vectors of the mistakes are computed at the first question, in
small batches between other requests, and kept. A pair is as near as its two texts are on average.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request

from polytask.core.errors import PolytaskError
from polytask.core.paths import RunPaths
from polytask.data.decisions import split_names
from polytask.evaluation.predictions import Predictions, read_predictions
from polytask.serve.batch_requests import Overloaded, WantedInput
from polytask.serve.engine import ServedModel, TaskInfo
from polytask.serve.limits import ServeError
from polytask.serve.service import Service, vectors

# The most mistakes of a task that are searched, spread evenly over all; and inputs in a batch of them.
MOST_SEARCHED, CHUNK = 400, 8
_PATIENCE = 600.0


@dataclass(frozen=True)
class KnownErrors:
    """Mistakes of a task on dev: their texts, labels, predictions and vectors (rows, texts, width)."""

    known: int
    rows: list[tuple[tuple[str, ...], str, str]]
    vectors: NDArray[np.float32]

    def nearest(self, query: NDArray[np.float32], count: int) -> dict[str, Any]:
        """Return the mistakes nearest to the vectors of an input (texts, width), all of length 1."""
        if not self.rows:
            return {"known": 0, "nearest": []}
        similarity = np.einsum("rtw,tw->rt", self.vectors, query).mean(axis=1)
        return {"known": self.known, "nearest": [
            {"texts": list(texts), "label": label, "prediction": prediction,
             "similarity": round(float(similarity[row]), 4)}
            for row in np.argsort(-similarity)[:count].tolist()
            for texts, label, prediction in [self.rows[row]]]}


class ErrorSearch:
    """Finds the known errors near a text, for each model of a service."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._indexes: dict[tuple[str, str], tuple[ServedModel, asyncio.Task[KnownErrors]]] = {}

    async def nearest(self, request: Request, model: ServedModel, tasks: Sequence[TaskInfo],
                      texts: tuple[str, ...], count: int) -> dict[str, Any]:
        """Return task → its nearest known errors; raise `ServeError` where none are known."""
        folder = self.service.folders.get(model.name)
        evaluated = [] if folder is None else [
            task for task in tasks if RunPaths(folder).prediction_file(task.name, "dev").is_file()]
        if folder is None or not evaluated:
            raise ServeError(404, "not_found", f"{model.name} has no predictions for dev, so its errors "
                             "are not known; serve a run folder")
        query = await self.service.answer(request, model, [(text,) for text in texts], (), embed=True)
        until = time.monotonic() + self.service.settings.timeout
        answers = {}
        for task in evaluated:
            try:
                index = await asyncio.wait_for(asyncio.shield(self._index(folder, model, task)),
                                               max(0.0, until - time.monotonic()))
            except TimeoutError:
                raise ServeError(504, "timeout", "the vectors of the known errors are still being "
                                 "computed; try again in a minute") from None
            except PolytaskError as error:
                raise ServeError(404, "not_found", str(error)) from None
            answers[task.name] = index.nearest(vectors(query, normalize=True), count)
        return answers

    def _index(self, folder: Path, model: ServedModel, task: TaskInfo) -> asyncio.Task[KnownErrors]:
        """Return the index of a task; start computing it unless that has begun for this model."""
        key = (model.name, task.name)
        owner, index = self._indexes.get(key, (None, None))
        failed = index is not None and index.done() and (index.cancelled() or index.exception() is not None)
        if index is None or owner is not model or failed:
            index = asyncio.ensure_future(self._computed(folder, model, task))
            self._indexes[key] = model, index
        return index

    async def _computed(self, folder: Path, model: ServedModel, task: TaskInfo) -> KnownErrors:
        file = RunPaths(folder).prediction_file(task.name, "dev")
        predictions = await asyncio.to_thread(read_predictions, file, task.columns,
                                              task.kind == "multi-label")
        mistakes = wrong_rows(predictions, task)
        rows = mistakes[::-(-len(mistakes) // MOST_SEARCHED)] if mistakes else []
        texts = [(text,) for row in rows for text in predictions.texts[row]]
        encoded = await asyncio.to_thread(model.tokenize, texts)
        layout = model.embedding_layout
        wanted = [WantedInput(model, text, layout, (), True, model.tokens(layout, text)[0])
                  for text in encoded]
        parts: list[NDArray[np.float32]] = []
        while len(parts) < len(wanted):
            try:
                chunk = await self.service.batcher.submit(wanted[len(parts):len(parts) + CHUNK], _PATIENCE)
            except Overloaded as error:  # requests come first
                await asyncio.sleep(error.retry_after)
                continue
            parts += [answer.vector for answer in chunk if answer.vector is not None]
        stacked = np.stack(parts) if parts else np.zeros((0, model.width), np.float32)
        stacked /= np.maximum(np.linalg.norm(stacked, axis=1, keepdims=True), 1e-12)
        return KnownErrors(len(mistakes), [(predictions.texts[row], predictions.true[row],
                                            predictions.predicted[row]) for row in rows],
                           stacked.reshape(len(rows), task.texts, model.width))


def wrong_rows(predictions: Predictions, task: TaskInfo) -> list[int]:
    """Return the rows that a task got wrong; numbers are wrong if off by more than a fifth of the range."""
    if not predictions.labelled or any(len(texts) != task.texts for texts in predictions.texts):
        return []
    if task.range is not None:
        true, predicted = predictions.numbers()
        return [int(row) for row in np.flatnonzero(
            np.abs(true - predicted) > (task.range[1] - task.range[0]) / 5)]
    if task.kind == "multi-label":
        return [row for row, (true, predicted) in enumerate(
            zip(predictions.true, predictions.predicted, strict=True))
            if {*split_names(true)} != {*split_names(predicted)}]
    return [row for row, (true, predicted) in enumerate(
        zip(predictions.true, predictions.predicted, strict=True)) if true != predicted]
