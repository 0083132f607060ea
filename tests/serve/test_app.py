"""The routes: every door gives the answers of `predict`, every bad request its status and a sentence."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

import polytask as pk
from polytask.core.errors import RunError
from polytask.serve.app import create_app
from polytask.serve.engine import TaskInfo
from polytask.serve.limits import ServeError
from polytask.serve.server import FolderWatch
from polytask.serve.service import Service, counted_labels
from polytask.serve.settings import ServeSettings
from polytask.serve.torch_engine import TorchEngine

TEXTS = ["good plot", "awful actor in a fine film", "bad"]
PAIRS = [("good plot", "fine plot"), ("awful", "a great scene"), ("bad bad bad", "good")]


@pytest.fixture(scope="module")
def model(served_run: Path) -> pk.Model:
    return pk.load(served_run)


def close(a: Any, b: Any) -> None:
    np.testing.assert_allclose(a, b, atol=2e-6)


def test_all_tasks_of_a_text_answer_as_predict_does(client: TestClient, model: pk.Model) -> None:
    body = client.post("/predict", json={"texts": TEXTS}).json()
    assert [sorted(row) for row in body["results"]] == [["stars", "tags", "topic"]] * 3
    for task in ("stars", "topic", "tags"):
        for served, direct in zip(body["results"], model.predict(task, TEXTS), strict=True):
            label = served[task]["label"]
            assert ("|".join(label) if isinstance(label, list) else label) == direct.label
            close(served[task]["score"], direct.score)
            close(list(served[task]["probabilities"].values()), list(direct.probabilities.values()))
    assert body["tokens"] > 9 and body["truncated"] == []


def test_pairs_and_one_task(client: TestClient, model: pk.Model) -> None:
    body = client.post("/predict", json={"pairs": PAIRS, "tasks": ["near", "same"], "logits": True}).json()
    for task in ("near", "same"):
        for served, direct in zip(body["results"], model.predict(task, PAIRS), strict=True):
            assert served[task]["label"] == pytest.approx(direct.label, abs=1e-3)
            close(served[task]["score"], direct.score)
            assert len(served[task]["logits"]) == 1
    alone = client.post("/tasks/same", json={"pairs": PAIRS[0]}).json()
    close(alone["results"][0]["same"]["score"], body["results"][0]["same"]["score"])


def test_embeddings_are_those_of_embed_in_three_shapes(client: TestClient, model: pk.Model) -> None:
    direct = model.embed(TEXTS)
    close(client.post("/embed", json={"texts": TEXTS}).json()["embeddings"], direct)
    unit = direct / np.linalg.norm(direct, axis=1, keepdims=True)
    close(client.post("/embed", json={"inputs": TEXTS}).json(), unit)
    openai = client.post("/v1/embeddings", json={"input": TEXTS, "model": "run"}).json()
    close([each["embedding"] for each in openai["data"]], unit)
    assert openai["usage"]["prompt_tokens"] == openai["usage"]["total_tokens"] > 0
    packed = client.post("/v1/embeddings", json={"input": "bad", "encoding_format": "base64"}).json()
    close(np.frombuffer(base64.b64decode(packed["data"][0]["embedding"]), "<f4"), unit[2])


def test_the_shapes_of_text_embeddings_inference(client: TestClient, model: pk.Model) -> None:
    one = client.post("/predict", json={"inputs": "good plot"}).json()
    assert [set(each) for each in one] == [{"label", "score"}] * 5
    assert [each["score"] for each in one] == sorted((each["score"] for each in one), reverse=True)
    assert one[0]["label"] == model.predict("stars", ["good plot"])[0].label
    raw = client.post("/predict", json={"inputs": "good plot", "raw_scores": True}).json()
    assert sum(each["score"] for each in one) == pytest.approx(1, abs=1e-5) != sum(
        each["score"] for each in raw)
    asked = {"inputs": "good plot", "parameters": {"function_to_apply": "none", "top_k": 2}}
    assert client.post("/predict", json=asked).json() == [raw[:2]]
    many = client.post("/predict", json={"inputs": [["good plot"], ["bad"]]}).json()
    assert many[0] == one and len(many) == 2
    pair = client.post("/predict", json={"inputs": ["good plot", "bad"]}).json()
    assert {each["label"] for each in pair} == {"0", "1"}
    vectors = model.embed(["good plot", "bad", "fine"])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    close(client.post("/similarity", json={"inputs": {"source_sentence": "good plot",
                                                      "sentences": ["bad", "fine"]}}).json(),
          unit[1:] @ unit[0])
    query = {"query": "good plot", "texts": ["bad", "fine plot", "awful"]}
    ranked = client.post("/rerank", json={**query, "return_text": True}).json()
    scores = [p.score for p in model.predict("same", [("good plot", text) for text in query["texts"]])]
    assert [each["index"] for each in ranked] == list(np.argsort(scores)[::-1])
    assert ranked[0]["text"] == query["texts"][ranked[0]["index"]]
    cohere = client.post("/rerank", json={"query": "good plot", "documents": query["texts"],
                                          "top_n": 2}).json()
    assert [each["index"] for each in cohere["results"]] == [each["index"] for each in ranked[:2]]
    close([each["relevance_score"] for each in cohere["results"]], [each["score"] for each in ranked[:2]])


def test_tasks_info_health_and_metrics(client: TestClient) -> None:
    tasks = {each["task"]: each for each in client.get("/tasks").json()}
    assert tasks["stars"]["classes"] == ["0", "1", "2", "3", "4"]
    assert tasks["near"]["range"] == [0, 5] and tasks["near"]["texts"] == 2
    assert "accuracy" in tasks["topic"]["metrics"]
    info = client.get("/info").json()
    assert info["model_id"] == "run" and info["models"]["run"]["engine"] == "torch"
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").status_code == 200
    client.post("/predict", json={"texts": "good"})
    figures = client.get("/metrics").text
    assert 'polytask_requests_total{route="/predict",status="200"} 1.0' in figures
    assert 'polytask_answers_total{' in figures and "polytask_batch_tokens_sum" in figures
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/predict", "/embed", "/rerank", "/v1/embeddings", "/tasks/{task}"} <= set(paths)


@pytest.mark.parametrize(("path", "body", "status", "sentence"), [
    ("/predict", b"{", 400, "not JSON"),
    ("/predict", b"[1]", 400, "the body is a list, expected a JSON object"),
    ("/predict", b'"good"', 400, "the body is a text, expected a JSON object"),
    ("/predict", b"", 400, "body"),
    ("/predict", b"\xff\xfe", 400, ""),
    ("/predict", b"[" * 5000, 400, ""),
    ("/predict", {"texts": "x", "task": "stars"}, 400, 'is not a key of this body; did you mean "tasks"'),
    ("/predict", {"texts": "x", "\ud800" * 200: 1}, 400, "is not a key"),
    ("/predict", {"texts": "x", "tasks": "\ud800" * 999}, 404, "is not a task of run"),
    ("/predict", {"texts": ["x", *[1] * 6000]}, 400, "texts"),
    ("/predict", b'{"texts": ' + b"[" * 9000 + b"]" * 9000 + b"}", 400, ""),
    ("/predict", b'{"texts": ' + b"9" * 6000 + b"}", 400, ""),
    ("/predict", {"inputs": "x", "truncation_direction": "left"}, 400, "truncation_direction"),
    ("/predict", {"texts": 3}, 400, "texts"),
    ("/predict", {}, 400, '"texts" or "pairs"'),
    ("/predict", {"texts": "x", "pairs": ["a", "b"]}, 400, '"texts" or "pairs"'),
    ("/predict", {"texts": []}, 400, "at least one"),
    ("/predict", {"texts": ""}, 400, "input 0: the text is empty"),
    ("/predict", {"texts": ["x", " \n"]}, 400, "input 1: the text is empty"),
    ("/predict", {"texts": "x" * 501, "truncate": False}, 413, "501 characters"),
    ("/predict", {"texts": ["a", " " * 501]}, 400, "input 1: the text is empty"),
    ("/predict", {"texts": ["x"] * 9}, 413, "9 inputs, expected at most 8"),
    ("/predict", {"texts": "x", "tasks": "starz"}, 404, 'did you mean "stars"'),
    ("/predict", {"texts": "x", "tasks": ["stars", "same"]}, 400, '"same" takes 2 texts per input, found'),
    ("/predict", {"pairs": ["a", "b"], "tasks": "stars"}, 400, "use texts"),
    ("/predict", {"texts": "x", "tasks": []}, 400, "tasks"),
    ("/predict", {"inputs": [["a"], ["b", "c"]]}, 400, "all of them with one text"),
    ("/predict", {"inputs": {"a": 1}}, 400, "expected a text, a pair"),
    ("/tasks/nothing", {"texts": "x"}, 404, "not a task of run"),
    ("/v1/embeddings", {"input": [1, 2, 3]}, 400, "token numbers"),
    ("/v1/embeddings", {"input": "x", "dimensions": 3}, 400, "expected 16"),
    ("/rerank", {"query": "x"}, 400, '"documents" or "texts"'),
    ("/rerank", {"query": "x", "texts": []}, 400, "documents"),
    ("/rerank", {"query": "x", "texts": ["y"], "task": "stars"}, 400, "takes 1 text"),
    ("/similarity", {"inputs": {"source_sentence": "x", "sentences": []}}, 400, "at least one"),
    ("/predict", {"texts": ["x", 3]}, 400, "texts.1: input should be a valid string"),
    ("/predict", {"pairs": [["a", "b"], ["c"]]}, 400, "pairs.1.1: field required"),
    ("/predict", {"pairs": "ab"}, 400, "pairs: input should be a valid list"),
    ("/predict", {"inputs": "x", "texts": "y"}, 400, 'and "texts", which do not go together'),
    ("/predict", {"inputs": "x", "logits": True}, 400, 'found "inputs" and "logits"'),
    ("/predict", {"texts": "x", "raw_scores": True}, 400, 'found "texts" and "raw_scores"'),
    ("/predict", {"pairs": ["x", "y"], "parameters": {"top_k": 1}}, 400, 'found "pairs" and "parameters"'),
    ("/predict", {"inputs": "x", "tasks": ["stars", "nope"]}, 400, "found 2 names, expected one"),
    ("/predict", {"inputs": "x", "tasks": []}, 400, "found 0 names, expected one"),
    ("/predict", {"inputs": "x", "parameters": {"top_k": 0}}, 400, "top_k: found 0, expected a whole"),
    ("/predict", {"inputs": "x", "parameters": {"top_k": "1"}}, 400, "top_k: found '1', expected a whole"),
    ("/predict", {"inputs": "x", "parameters": {"topk": 1}}, 400, 'did you mean "top_k"'),
    ("/predict", {"inputs": "x", "parameters": {"function_to_apply": "sigmoid"}}, 400,
     'expected one of "none", "softmax" for "stars"'),
    ("/embed", {"texts": "x", "dimensions": 8}, 400, "dimensions: found 8, expected 16"),
    ("/embed", {"inputs": "x", "parameters": {"dimensions": 8}}, 400, 'found "inputs" and "parameters"'),
    ("/rerank", {"query": "x", "documents": ["y"], "return_text": True}, 400,
     'found "documents" and "return_text"'),
    ("/rerank", {"query": "x", "texts": ["y"], "return_documents": True}, 400,
     'found "texts" and "return_documents"'),
    ("/predict", {"inputs": "x", "pairs": ["a", "b"]}, 400, 'found "inputs" and "pairs"'),
    ("/predict", '{"texts": "é"}'.encode("latin-1"), 400, "the body is not UTF-8"),
    ("/embed", {"inputs": "x", "texts": "y"}, 400, 'found "inputs" and "texts"'),
    ("/embed", {}, 400, 'expected "texts" (or "inputs")'),
    ("/nowhere", {}, 404, "/nowhere is not a route here"),
    ("/predict/", {"texts": "x"}, 404, 'did you mean "/predict"'),
    ("/v1/embedding", {"input": "x"}, 404, 'did you mean "/v1/embeddings"'),
    ("/info", {}, 405, "POST is not supported at /info; send GET"),
])
def test_a_bad_request_gets_its_status_and_a_sentence(
    client: TestClient, path: str, body: Any, status: int, sentence: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post(path, content=content, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]  # in OpenAI's shape where their clients ask
    assert sentence in (error["message"] if path.startswith("/v1/") else error)
    assert "Traceback" not in answer.text and set(answer.json()) == {"error", "error_type"}
    assert len(answer.text) < 2000
    assert client.post("/predict", json={"texts": "good"}).status_code == 200


@pytest.mark.parametrize(("path", "body"), [
    ("/predict", {"inputs": "x", "logits": False, "tasks": ["stars"], "parameters": {
        "function_to_apply": "softmax", "top_k": None}}),
    ("/predict", {"inputs": "x", "raw_scores": False, "truncate": True, "truncation_direction": "Right"}),
    ("/predict", {"texts": "x", "raw_scores": False, "parameters": {}}),
    ("/embed", {"texts": "x", "dimensions": 16, "parameters": None}),
    ("/rerank", {"query": "x", "documents": ["y"], "return_text": False}),
    ("/rerank", {"query": "x", "texts": ["y"], "return_documents": False, "raw_scores": False}),
])
def test_what_clients_send_without_asking_for_anything_is_answered(
    client: TestClient, path: str, body: dict[str, Any],
) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text


def test_a_body_that_was_not_sent_as_json_is_told_the_header(client: TestClient) -> None:
    answer = client.post("/predict", content=b'{"texts": "good"}',
                         headers={"content-type": "application/x-www-form-urlencoded"})  # as curl -d does
    assert answer.status_code == 400 and answer.json()["error"] == (
        "the body was sent as application/x-www-form-urlencoded, expected application/json "
        "(curl: -H 'content-type: application/json')")


def test_a_text_that_the_first_model_does_not_take_is_told_which_one_does(service: Service) -> None:
    pairs: Any = SimpleNamespace(name="pairs", tasks={"same": SimpleNamespace(texts=2)})
    tags: Any = SimpleNamespace(name="tags", tasks={"tags": SimpleNamespace(texts=1)})
    service.models = {"pairs": pairs, "tags": tags}
    with pytest.raises(ServeError, match=r'or ask the model that has one: "model": "tags"$'):
        service.default_task(pairs, 1)
    service.models = {"pairs": pairs}
    with pytest.raises(ServeError, match=r'second text"\]\]}$'):
        service.default_task(pairs, 1)


def test_a_compressed_body_is_refused_by_its_name(client: TestClient) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = client.post("/predict", content=gzip.compress(b'{"texts": "x"}'), headers=headers)
    assert answer.status_code == 400
    assert "was sent as gzip, expected JSON in UTF-8" in answer.json()["error"]


def test_odd_texts_are_answered(client: TestClient) -> None:
    odd = ["NUL \x00 inside", "\ud800 alone", "‮ rtl", "\x00", "a b " * 60]

    def post(path: str, body: Any) -> Any:
        answer = client.post(path, content=json.dumps(body).encode(),
                             headers={"content-type": "application/json"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    answer = post("/predict", {"texts": odd})
    assert len(answer["results"]) == 5 and answer["truncated"] == [4]
    assert len(post("/embed", {"texts": odd})["embeddings"]) == 5
    ranked = post("/rerank", {"query": odd[1], "documents": odd, "return_documents": True})["results"]
    # What was sent comes back as it was sent, a surrogate that no UTF-8 can hold as well.
    assert sorted(each["document"]["text"] for each in ranked) == sorted(odd)
    assert post("/v1/embeddings", {"input": odd, "model": odd[1]})["model"] == odd[1]


def test_a_text_that_is_too_long_is_cut_and_reported_or_refused(client: TestClient) -> None:
    long = "good " * 90
    cut = client.post("/predict", json={"texts": ["bad", "good " * 2000]}).json()
    assert cut["truncated"] == [1] and cut["results"] == client.post(
        "/predict", json={"texts": ["bad", long]}).json()["results"]
    assert client.post("/predict", json={"texts": ["bad", long]}).json()["truncated"] == [1]
    refused = client.post("/predict", json={"inputs": long, "truncate": False})
    assert refused.status_code == 413 and "more tokens" in refused.json()["error"]


def test_a_body_above_the_limit_is_refused_with_or_without_its_length(client: TestClient) -> None:
    big = b'{"texts": "' + b"x" * 30_000 + b'"}'
    assert client.post("/predict", content=big).status_code == 413
    chunks = (big[start:start + 1000] for start in range(0, len(big), 1000))
    assert client.post("/predict", content=chunks).status_code == 413
    assert client.post("/predict", json={"texts": "good"}).status_code == 200


def test_keys_are_asked_for_where_there_are_any(service: Service) -> None:
    with TestClient(create_app(service, keys=(b"secret-1", b"secret-2"))) as client:
        # What the page of routes needs before anybody types a key; none of it is about the model.
        for route in ("/health", "/ready", "/", "/page.js", "/openapi.json"):
            assert client.get(route).status_code == 200
        assert "stars" not in client.get("/openapi.json").text
        for route in ("/info", "/tasks", "/metrics"):
            assert client.get(route).status_code == 401
        refused = client.post("/predict", json={"texts": "good"})
        assert refused.status_code == 401 and "API key" in refused.json()["error"]
        for header in ({"authorization": "Bearer secret-2"}, {"x-api-key": "secret-1"}):
            assert client.post("/predict", json={"texts": "good"}, headers=header).status_code == 200
        wrong = {"authorization": "Bearer secret-"}
        assert client.post("/predict", json={"texts": "good"}, headers=wrong).status_code == 401


@pytest.mark.parametrize(("task", "label", "counted"), [
    (TaskInfo("t", 1, "classes", ("a", "b"), None, "single", "s"), "b", ["b"]),
    (TaskInfo("t", 1, "multi-label", ("a", "b", "c"), None, "single", "s"), ["a", "c"], ["a", "c"]),
    (TaskInfo("t", 1, "multi-label", ("a", "b", "c"), None, "single", "s"), [], ["(none)"]),
    (TaskInfo("t", 1, "regression", (), (0.0, 5.0), "single", "s"), 3.7, ["3.5"]),
    (TaskInfo("t", 1, "regression", (), (-1e6, 1e6), "single", "s"), 1e6, ["800000"]),
    (TaskInfo("t", 1, "regression", (), (0.0, 5.0), "single", "s"), float("nan"), ["nan"])])
def test_answers_are_counted_under_few_names(task: TaskInfo, label: Any, counted: list[str]) -> None:
    """A time series for each set of labels, or for each number, would fill the memory."""
    assert counted_labels(task, label) == counted


def test_no_other_origin_may_call_unless_allowed(service: Service, engine: TorchEngine) -> None:
    origin = {"origin": "https://elsewhere.example"}
    with TestClient(create_app(service)) as client:
        assert "access-control-allow-origin" not in client.post(
            "/predict", json={"texts": "good"}, headers=origin).headers
    allowing = Service([engine], ServeSettings(allow_origin="https://elsewhere.example", log="none"))
    with TestClient(create_app(allowing)) as client:
        assert client.post("/predict", json={"texts": "good"}, headers=origin).headers[
            "access-control-allow-origin"] == "https://elsewhere.example"


def test_the_page_asks_nobody_else(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    for route in ("/", "/page.js", "/page.css"):
        text = client.get(route).text
        assert "http://" not in text and "https://" not in text and "innerHTML" not in text


def test_the_server_never_imports_learning() -> None:
    code = ("import sys, polytask.serve.server, polytask.serve.torch_engine;"
            "print([name for name in sys.modules if name.startswith('polytask.learn')])")
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_under_a_path_of_a_proxy_the_routes_answer_with_and_without_it(engine: TorchEngine) -> None:
    service = Service([engine], ServeSettings(root_path="/models/v1", log="none"))
    with warnings.catch_warnings(), TestClient(create_app(service, [b"key"])) as client:
        warnings.simplefilter("error")
        for prefix in ("", "/models/v1"):
            assert client.get(f"{prefix}/health").status_code == 200
            assert client.get(f"{prefix}/tasks").status_code == 401
            allowed = client.get(f"{prefix}/tasks", headers={"authorization": "Bearer key"})
            assert allowed.status_code == 200
        for path in ("/models/v1/models/v1/health", "/models/v1x/tasks", "/models/v1/tasks/../tasks"):
            assert client.get(path).status_code in (401, 404)
        assert client.get("/openapi.json").json()["servers"] == [{"url": "/models/v1"}]


def test_a_folder_that_cannot_be_looked_at_for_a_moment_is_looked_at_again(
        service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tasks.json").touch()
    loads: list[Path] = []

    def load(folder: Path, name: str) -> Any:
        loads.append(folder)
        raise RunError("not yet")

    watch = FolderWatch(service, {"run": tmp_path}, load)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "is_file", lambda self: os.scandir(self / "not" / "there"))
        watch.look()
    (tmp_path / "tasks.json").write_text("{}")
    watch.look()
    watch.look()
    assert loads == [tmp_path]
