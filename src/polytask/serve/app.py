"""The HTTP interface: our routes and the page; those for clients of other servers are in `compatible`."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from polytask.core.errors import nearest
from polytask.inference.records import finite
from polytask.serve import compatible
from polytask.serve.engine import TaskInfo
from polytask.serve.explanations import add_explanations
from polytask.serve.limits import Gate, ServeError, refusal_body, short
from polytask.serve.requests import EmbedBody, PredictBody, TaskBody
from polytask.serve.responses import AsciiJson
from polytask.serve.service import Answered, Service, vectors
from polytask.serve.settings import ServeSettings

CSP = ("default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
       "frame-ancestors 'none'")
_KINDS = {404: "not_found", 405: "method_not_allowed"}
# Parts of pydantic's locations that say which type of a union was tried.
_A_TYPE = re.compile(r"(str|list|tuple|dict|int|function-\w+)(\[|$)")


def create_app(service: Service, keys: Sequence[bytes] = ()) -> FastAPI:
    """Return the ASGI application of a service."""
    settings = service.settings

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    # FastAPI's own pages load their scripts from other hosts; ours is `/`.
    app = FastAPI(title="polytask", version=version("polytask"), docs_url=None, redoc_url=None,
                  lifespan=lifespan, default_response_class=AsciiJson, redirect_slashes=False)
    app.root_path = settings.root_path
    app.state.service = service
    app.add_middleware(Gate, settings=settings, keys=keys, counters=service.counters,
                       check_room=service.check_room)
    if settings.allow_origin:
        app.add_middleware(CORSMiddleware, allow_origins=[settings.allow_origin],
                           allow_methods=["GET", "POST"], allow_headers=["*"])
    _errors(app)
    _state(app, service, settings)
    _predict(app, service)
    compatible.add_routes(app, service)
    add_explanations(app, service)
    if settings.page:
        _page(app)
    return app


def _errors(app: FastAPI) -> None:
    """Turn every refusal into JSON with a sentence; the gate answers for all other failures."""

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, ServeError)
        return AsciiJson(error.body(request.url.path), error.status, headers=error.headers())

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        sentence = _sentence(error, request.headers.get("content-type", ""))
        return AsciiJson(refusal_body(sentence, "validation", request.url.path), 400)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        path = short(request.url.path)
        routes = [str(getattr(route, "path", "")) for route in app.routes]
        allowed = (error.headers or {}).get("Allow", "another method")
        if error.status_code == 400:  # FastAPI's, for bytes that no decoder took
            encoding = request.headers.get("content-encoding")
            sent = f"was sent as {short(encoding)}" if encoding else "is not UTF-8"
            return AsciiJson(refusal_body(f"the body {sent}, expected JSON in UTF-8, not compressed",
                                          "validation", path), 400)
        sentence = {404: f"{path} is not a route here{nearest(path, routes)}; /openapi.json lists them",
                    405: f"{request.method} is not supported at {path}; send {allowed}"}
        body = refusal_body(sentence.get(error.status_code, str(error.detail)),
                            _KINDS.get(error.status_code, "validation"), path)
        return AsciiJson(body, error.status_code, headers=error.headers)

    app.add_exception_handler(ServeError, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)


def _sentence(error: RequestValidationError, content_type: str) -> str:
    """Return the first mistake of a body: where it is and what is wrong."""
    first = error.errors()[0]
    whole = tuple(first["loc"]) == ("body",)
    if whole and isinstance(first["input"], bytes):  # not sent as JSON, so not read as JSON
        sent = f"was sent as {short(content_type)}" if content_type else "has no content-type"
        return f"the body {sent}, expected application/json (curl: -H 'content-type: application/json')"
    if first["type"] == "json_invalid":
        return f"the body is not JSON: {first.get('ctx', {}).get('error', 'it cannot be read')}"
    if whole and first["type"] == "model_attributes_type":
        return f"the body is {_named(first['input'])}, expected a JSON object"
    if first["type"] == "missing" and whole:
        return "the body is missing, expected a JSON object"
    if first["type"] == "unknown_key":
        return str(first["msg"])
    # Of the ways to read a key, such as one text or several, the one that came furthest.
    deepest = max(error.errors(), key=lambda each: len(each["loc"]))
    place = short(".".join(str(part) for part in deepest["loc"]
                           if part != "body" and not _A_TYPE.match(str(part)))) or "the body"
    wrong = deepest["msg"].replace("tuple", "list")  # JSON has no tuples
    return f"{place}: {wrong[:1].lower()}{wrong[1:]}"


def _named(value: object) -> str:
    """Return what JSON calls a value that is no object."""
    kinds = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _state(app: FastAPI, service: Service, settings: ServeSettings) -> None:
    @app.get("/tasks", summary="The tasks")
    async def tasks(model: str | None = None) -> list[dict[str, Any]]:
        return [task.to_json() for task in service.model(model).tasks.values()]

    @app.get("/info", summary="The models, their tasks and the limits")
    async def info() -> dict[str, Any]:
        first = service.model(None)
        return {
            **compatible.info(first), "version": version("polytask"),
            "models": {name: {"engine": model.engine, "width": model.width,
                              "max_input_length": model.max_length,
                              "tasks": [task.to_json() for task in model.tasks.values()]}
                       for name, model in service.models.items()},
            "max_concurrent_requests": settings.max_requests,
            "max_input_length": first.max_length, "max_batch_tokens": settings.max_batch_tokens,
            "max_client_batch_size": settings.max_inputs, "auto_truncate": settings.truncate,
            "max_bytes": settings.max_bytes, "max_characters": settings.max_characters,
        }

    @app.get("/health", summary="Whether the process is alive")
    async def health() -> dict[str, str]:
        if not service.alive:
            raise ServeError(503, "failed", "the thread that answers has stopped; restart the server")
        return {"status": "ok"}

    @app.get("/ready", summary="Whether a request would be accepted")
    async def ready() -> dict[str, str]:
        if not service.ready:
            raise ServeError(503, "unavailable", "the server is full, failing, or shutting down",
                             retry_after=1)
        return {"status": "ready"}

    @app.get("/metrics", summary="Figures in Prometheus' text format")
    async def metrics() -> Response:
        return Response(service.counters.text(), media_type="text/plain; version=0.0.4")


def _predict(app: FastAPI, service: Service) -> None:
    async def answered(request: Request, body: TaskBody | PredictBody, tasks: str | list[str] | None,
                       model_name: str | None) -> Response:
        inputs, texts = inputs_of(body.texts, body.pairs)
        names = [tasks] if isinstance(tasks, str) else tasks or []
        model = service.model(model_name, [name for name in names if name != "all"])
        wanted = service.wanted_tasks(model, tasks, texts)
        answered = await service.answer(request, model, inputs, wanted,
                                        truncate=getattr(body, "truncate", None))
        return AsciiJson(result(answered, wanted, body.logits))

    @app.post("/predict", summary="Every task's answer to texts or pairs, for one pass of the encoder")
    async def predict(request: Request, body: PredictBody) -> Response:
        if body.inputs is not None:
            body.without("inputs", "texts", "pairs", "logits")
            return await compatible.predict(request, service, body)
        body.without("texts", "raw_scores", "parameters")
        body.without("pairs", "raw_scores", "parameters")
        return await answered(request, body, body.tasks, body.model)

    @app.post("/tasks/{task}", summary="One task's answer")
    async def one_task(request: Request, task: str, body: TaskBody) -> Response:
        return await answered(request, body, task, None)

    @app.post("/embed", summary="The vector of each text")
    async def embed(request: Request, body: EmbedBody) -> Response:
        if body.inputs is not None:
            body.without("inputs", "texts", "parameters")
            return await compatible.embed(request, service, body)
        body.without("texts", "parameters")
        if body.texts is None:
            raise ServeError(400, "validation", 'expected "texts" (or "inputs")')
        inputs, _ = inputs_of(body.texts, None)
        model = service.model(body.model)
        compatible.check_width(body.dimensions, model.width)
        answered = await service.answer(request, model, inputs, (), embed=True,
                                        truncate=body.truncate)
        return AsciiJson({"embeddings": vectors(answered, bool(body.normalize)).tolist(),
                             "tokens": answered.tokens, "truncated": answered.truncated})


def inputs_of(texts: str | list[str] | None,
              pairs: Any) -> tuple[list[tuple[str, ...]], int]:
    """Return the inputs of a request, and how many texts each has."""
    if (texts is None) == (pairs is None):
        raise ServeError(400, "validation", 'expected either "texts" or "pairs" (or "inputs")')
    if texts is not None:
        return [(text,) for text in ([texts] if isinstance(texts, str) else texts)], 1
    several = [pairs] if len(pairs) == 2 and isinstance(pairs[0], str) else pairs
    return [tuple(pair) for pair in several], 2


def result(answered: Answered, tasks: Sequence[TaskInfo], logits: bool) -> dict[str, Any]:
    """Return the body of a response in our own format."""
    rows = [{task.name: finite(answer.tasks[task.name].to_json(logits)) for task in tasks}
            for answer in answered.answers]
    return {"results": rows, "tokens": answered.tokens, "truncated": answered.truncated}


def _page(app: FastAPI) -> None:
    kinds = {"/": ("page.html", "text/html"), "/page.js": ("page.js", "text/javascript"),
             "/page.css": ("page.css", "text/css")}
    for route, (name, kind) in kinds.items():
        content = (files("polytask.serve") / name).read_bytes()

        async def asset(content: bytes = content, kind: str = kind) -> Response:
            return Response(content, media_type=f"{kind}; charset=utf-8", headers={
                "content-security-policy": CSP, "x-content-type-options": "nosniff",
                "referrer-policy": "no-referrer"})

        app.add_api_route(route, asset, methods=["GET"], include_in_schema=False)
