"""Routes for clients of other servers: OpenAI's embeddings, text-embeddings-inference, Cohere.

Requests and responses have the shapes of those servers, so their clients work unchanged. Where a route has
the same name as one of ours, the key decides: `inputs` is text-embeddings-inference's, `texts` is ours.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import Response

from polytask.core.errors import listed, nearest
from polytask.serve.engine import ServedModel, TaskAnswer, TaskInfo
from polytask.serve.limits import ServeError, short
from polytask.serve.requests import EmbedBody, OpenAIBody, PredictBody, RerankBody, SimilarityBody
from polytask.serve.responses import AsciiJson
from polytask.serve.service import Service, vectors


def info(model: ServedModel) -> dict[str, Any]:
    """Return what text-embeddings-inference's `/info` says of its model, which is of one kind; ours is each
    kind that it has a task for, embeddings first."""
    # In that server's words, a pooler over the first token is "cls".
    pooling = {"pooler": "cls"}.get(model.pooling, model.pooling)
    kinds: dict[str, Any] = {"embedding": {"pooling": pooling}}
    for task in model.tasks.values():
        kind = "classifier" if task.texts == 1 else "reranker"
        classes = task.classes or (task.name,)
        if kind == "classifier" or task.kind in ("binary", "regression"):
            kinds.setdefault(kind, {"id2label": {str(k): name for k, name in enumerate(classes)},
                                    "label2id": {name: k for k, name in enumerate(classes)}})
    return {"model_id": model.name, "model_sha": None,
            "model_dtype": "int8" if model.engine == "int8" else "float32", "model_type": kinds,
            "sha": None, "docker_label": None, "max_batch_requests": None, "tokenization_workers": None}


async def predict(request: Request, service: Service, body: PredictBody) -> Response:
    """Answer text-embeddings-inference's `/predict`: [{label, score}], the likeliest first."""
    inputs, batch = classified_inputs(body.inputs)
    model = service.model(body.model)
    if {len(texts) for texts in inputs} - {1, 2} or len({len(texts) for texts in inputs}) > 1:
        raise ServeError(400, "validation", "inputs: expected all of them with one text, or all with two")
    texts = len(inputs[0])
    names = [body.tasks] if isinstance(body.tasks, str) else body.tasks
    if names is not None and len(names) != 1:
        raise ServeError(400, "validation", f"tasks: found {len(names)} names, expected one beside "
                         '"inputs"; several tasks answer "texts" or "pairs"')
    named = names[0] if names else None
    task = service.task(model, named, texts) if named else service.default_task(model, texts)
    most, raw = classifier_parameters(body.parameters or {}, task)
    answered = await service.answer(request, model, inputs, [task], truncate=body.truncate)
    raw = raw or body.raw_scores
    rows = [ranked(task, answer.tasks[task.name], raw) for answer in answered.answers]
    rows = [row[:most] for row in rows]
    # The hub's inference client sends `parameters` and reads the first of a batch.
    return AsciiJson(rows if batch or body.parameters is not None else rows[0])


def classifier_parameters(parameters: Mapping[str, Any], task: TaskInfo) -> tuple[int | None, bool]:
    """Return how many labels the hub's client asks for, None for all, and whether for raw numbers."""
    for name in parameters:
        if name not in ("top_k", "function_to_apply"):
            raise ServeError(400, "validation", f'parameters: "{short(name)}" is not a parameter'
                             f"{nearest(name, ('top_k', 'function_to_apply'))}")
    most, function = parameters.get("top_k"), parameters.get("function_to_apply")
    if most is not None and (type(most) is not int or most < 1):
        raise ServeError(400, "validation", f"parameters.top_k: found {short(repr(most))}, expected a "
                         "whole number of 1 or more")
    own = {"multi-label": ("sigmoid",), "binary": ("sigmoid", "softmax"), "regression": ()}
    functions = ("none", *own.get(task.kind, ("softmax",)))
    if function is not None and function not in functions:
        raise ServeError(400, "validation", "parameters.function_to_apply: found "
                         f'{short(repr(function))}, expected one of {listed(functions)} for "{task.name}"')
    return most, function == "none"


def classified_inputs(inputs: Any) -> tuple[list[tuple[str, ...]], bool]:
    """Return the inputs of `/predict`, and whether they are a batch: a text, a pair, or a list of lists."""
    if isinstance(inputs, str):
        return [(inputs,)], False
    if isinstance(inputs, list) and len(inputs) == 2 and all(isinstance(text, str) for text in inputs):
        return [tuple(inputs)], False
    if isinstance(inputs, list) and inputs:
        rows = [(text,) if isinstance(text, str) else text for text in inputs]
        if all(isinstance(row, list | tuple) and row and all(isinstance(text, str) for text in row)
               for row in rows):
            return [tuple(row) for row in rows], True
    raise ServeError(400, "validation", "inputs: expected a text, a pair [a, b], or a batch [[a], [b], …]")


def ranked(task: TaskInfo, answer: TaskAnswer, raw: bool) -> list[dict[str, Any]]:
    """Return a label and score for each class, the highest first; of a number, the number itself."""
    if answer.probabilities is None:
        if isinstance(answer.score, list):
            scores = dict(zip(task.classes, answer.score, strict=True))
        else:
            scores = {task.name if not task.classes else str(answer.label): float(answer.score)}
    else:
        scores = dict(answer.probabilities)
    if raw and len(answer.logits) == len(scores):
        scores = dict(zip(scores, answer.logits, strict=True))
    return [{"score": score, "label": label}
            for label, score in sorted(scores.items(), key=lambda pair: -pair[1])]


async def embed(request: Request, service: Service, body: EmbedBody) -> Response:
    """Answer text-embeddings-inference's `/embed`: a vector for each text, normalized by default."""
    model = service.model(body.model)
    check_width(body.dimensions, model.width)
    inputs = [body.inputs] if isinstance(body.inputs, str) else body.inputs or []
    answered = await service.answer(request, model, [(text,) for text in inputs], (), embed=True,
                                    truncate=body.truncate)
    return AsciiJson(vectors(answered, body.normalize is not False).tolist())


def add_routes(app: FastAPI, service: Service) -> None:
    """Add `/v1/embeddings`, `/similarity`, and `/rerank` under its three names."""

    @app.post("/v1/embeddings", summary="OpenAI's embeddings")
    async def openai(request: Request, body: OpenAIBody) -> Response:
        # A client may call a server's only model by any name.
        model = service.model(body.model)
        check_width(body.dimensions, model.width)
        texts: Any = [body.input] if isinstance(body.input, str) else body.input
        if not all(isinstance(text, str) for text in texts):
            raise ServeError(400, "validation", "input: found token numbers, expected texts; this server "
                             "tokenizes them itself")
        answered = await service.answer(request, model, [(text,) for text in texts], (), embed=True)
        rows = vectors(answered, normalize=True)
        return AsciiJson({
            "object": "list", "model": body.model or model.name,
            "data": [{"object": "embedding", "index": place, "embedding": _shown(row, body.encoding_format)}
                     for place, row in enumerate(rows)],
            "usage": {"prompt_tokens": answered.tokens, "total_tokens": answered.tokens}})

    @app.post("/similarity", summary="The cosine of a sentence with others")
    async def similarity(request: Request, body: SimilarityBody) -> Response:
        texts = [body.inputs.source_sentence, *body.inputs.sentences]
        if len(texts) == 1:
            raise ServeError(400, "validation", "inputs.sentences: found none, expected at least one")
        answered = await service.answer(request, service.model(None), [(text,) for text in texts], (),
                                        embed=True)
        first, *others = vectors(answered, normalize=True)
        return AsciiJson([float(first @ other) for other in others])

    @app.post("/rerank", summary="Documents ranked by their score with a query")
    @app.post("/v1/rerank", summary="/rerank, where Cohere's and Jina's clients look for it")
    @app.post("/v2/rerank", summary="/rerank, where newer clients of Cohere look for it")
    async def rerank(request: Request, body: RerankBody) -> Response:
        return await _rerank(request, service, body)


async def _rerank(request: Request, service: Service, body: RerankBody) -> Response:
    model = service.model(body.model, [body.task] if body.task else [])
    task = service.task(model, body.task, 2) if body.task else _ranking_task(model.tasks.values())
    if task.kind not in ("binary", "regression"):
        raise ServeError(400, "validation", f'task "{task.name}" has {len(task.classes)} classes, '
                         "expected a task of two classes or of numbers")
    if (body.texts is None) == (body.documents is None):
        raise ServeError(400, "validation", 'expected either "documents" or "texts"')
    body.without("documents", "return_text")
    body.without("texts", "return_documents")
    documents = [_document(document) for document in body.documents or body.texts or []]
    if not documents:
        raise ServeError(400, "validation", "documents: found none, expected at least one")
    answered = await service.answer(request, model, [(body.query, text) for text in documents], [task],
                                    truncate=body.truncate)
    scored = [answer.tasks[task.name] for answer in answered.answers]
    scores = [answer.logits[-1] if body.raw_scores else float(answer.score) for answer in scored]
    order = sorted(range(len(scores)), key=lambda place: -scores[place])[:body.top_n]
    if body.texts is not None:
        return AsciiJson([{"index": place, "score": scores[place]}
                             | ({"text": documents[place]} if body.return_text else {}) for place in order])
    results = [{"index": place, "relevance_score": scores[place]}
               | ({"document": {"text": documents[place]}} if body.return_documents else {})
               for place in order]
    return AsciiJson({"id": request.state.request_id, "model": model.name, "results": results,
                         "usage": {"prompt_tokens": answered.tokens, "total_tokens": answered.tokens}})


def _ranking_task(tasks: Any) -> TaskInfo:
    for task in tasks:
        if task.texts == 2 and task.kind in ("binary", "regression"):
            return task  # type: ignore[no-any-return]
    raise ServeError(400, "validation", "no task here gives two texts one score, so nothing can "
                     "be ranked")


def _document(document: str | dict[str, Any]) -> str:
    text = document if isinstance(document, str) else document.get("text")
    if not isinstance(text, str):
        raise ServeError(400, "validation", 'documents: expected texts, or tables with "text"')
    return text


def check_width(dimensions: int | None, width: int) -> None:
    """Refuse another width than the model's."""
    if dimensions is not None and dimensions != width:
        raise ServeError(400, "validation", f"dimensions: found {dimensions}, expected {width}, the width "
                         "of this model")


def _shown(vector: np.ndarray[Any, Any], form: str | None) -> list[float] | str:
    if form == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return vector.tolist()  # type: ignore[no-any-return]


