"""What the page shows besides answers: the nearest known errors, and where attention goes."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from polytask.core.errors import PolytaskError
from polytask.inference.records import finite
from polytask.serve.engine import ServedModel
from polytask.serve.known_errors import ErrorSearch
from polytask.serve.limits import ServeError
from polytask.serve.requests import AttentionBody, ErrorsBody
from polytask.serve.responses import AsciiJson
from polytask.serve.service import Service

# The most texts whose attention is being computed or waits for its turn.
MOST_WAITING = 4


def add_explanations(app: FastAPI, service: Service) -> None:
    """Add `/errors` and `/attention`."""
    search, turn = ErrorSearch(service), asyncio.Lock()
    waiting: list[None] = []

    @app.post("/errors", summary="The errors on dev nearest to a text or pair")
    async def errors(request: Request, body: ErrorsBody) -> Response:
        texts = _texts(body)
        model = service.model(body.model)
        tasks = service.wanted_tasks(model, body.tasks, len(texts))
        return AsciiJson({"errors": finite(await search.nearest(request, model, tasks, texts, body.count))})

    @app.post("/attention", summary="How much attention each token of a text or pair gets, layer by layer")
    async def attention(body: AttentionBody) -> Response:
        texts = _texts(body)
        model = service.model(body.model, [body.task] if body.task else [])
        task = service.task(model, body.task, len(texts)) if body.task else (
            service.default_task(model, len(texts)))
        checked, _ = service.checked([texts], truncate=True)
        if len(waiting) >= MOST_WAITING:
            raise ServeError(429, "overloaded", f"the attention of {MOST_WAITING} texts is being computed; "
                             "try again in 1 s", retry_after=1)
        waiting.append(None)
        try:
            async with turn:  # the maps are large: one text at a time
                return AsciiJson(finite(await asyncio.to_thread(_attention, model, task.name, checked[0])))
        finally:
            waiting.pop()


def _texts(body: ErrorsBody | AttentionBody) -> tuple[str, ...]:
    if (body.text is None) == (body.pair is None):
        raise ServeError(400, "validation", 'expected either "text" or "pair"')
    return (body.text,) if body.text is not None else tuple(body.pair or ())


def _attention(model: ServedModel, task: str, texts: tuple[str, ...]) -> dict[str, Any]:
    reason = f"attention needs the torch engine, and {model.name} is served by {model.engine}"
    if model.engine != "torch":
        raise ServeError(404, "not_found", f"{reason}; start the server with --engine torch")
    try:
        tokens, layers = model.attention(task, texts)
    except PolytaskError as error:
        raise ServeError(404, "not_found", str(error)) from None
    return {"task": task, "tokens": tokens, "layers": layers.round(6).tolist()}
