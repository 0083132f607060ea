"""The process as people run it: started, asked by real clients, overloaded, reloaded, ended."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import polytask as pk
from polytask.commands.serve import serve_runs
from polytask.core.errors import ConfigError, PolytaskError, RunError
from polytask.serve.settings import ServeSettings, api_keys, read_settings
from warm_processes import Zygote, warm

pytestmark = pytest.mark.usefixtures("forked_commands")


def start(run: Path, *flags: str, **environment: str) -> tuple[subprocess.Popen[str], str]:
    """Start `polytask serve` on a free port; return the process and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "polytask", "serve", str(run), "--port", "0", *flags], text=True,
        stderr=subprocess.PIPE, env={**os.environ, **environment})
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(r"http://[\d.:]+", line)
    assert found, line + process.stderr.read()
    return process, found[0]


def ended(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGTERM)
    _, _ = process.communicate(timeout=60)
    return process.returncode


@pytest.fixture(scope="module")
def address(served_run: Path, zygote: Zygote) -> Iterator[str]:
    with warm(zygote):
        process, address = start(served_run, "--set", "max_queue=64")
    yield address
    assert ended(process) == 0


def test_the_openai_client_works_unchanged(address: str, served_run: Path) -> None:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="none")
    vectors = client.embeddings.create(model="run", input=["good plot", "bad"]).data
    direct = pk.load(served_run).embed(["good plot", "bad"])
    direct /= np.linalg.norm(direct, axis=1, keepdims=True)
    np.testing.assert_allclose([each.embedding for each in vectors], direct, atol=2e-6)


def test_refusals_are_the_openai_clients_own_exceptions(address: str, served_run: Path) -> None:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
    with pytest.raises(openai.BadRequestError, match="input 1: the text is empty"):
        client.embeddings.create(model="run", input=["good", ""])
    with pytest.raises(openai.BadRequestError, match="dimensions: found 8, expected 16"):
        client.embeddings.create(model="run", input="good", dimensions=8)
    long = client.embeddings.create(model="run", input="good", encoding_format="float")
    assert len(long.data[0].embedding) == 16 and long.usage.total_tokens > 0


def test_a_client_of_text_embeddings_inference_works_unchanged(address: str, served_run: Path) -> None:
    tei = pytest.importorskip("tei_client")
    from tei_client.models import ModelType

    client, model = tei.HttpClient(address, timeout=120), pk.load(served_run)
    info = client.info()
    assert client.health() and (info.server_model_id, info.max_client_batch_size) == ("run", 32)
    direct = model.embed(["good plot", "bad"])
    unit = direct / np.linalg.norm(direct, axis=1, keepdims=True)
    np.testing.assert_allclose(client.embed(["good plot", "bad"]), unit, atol=2e-6)
    # It asks once of which one kind the server is; this one is of all three, embeddings first.
    client._ModelTypeMixin__model_type = ModelType.Classifier
    for texts, found in zip(["good plot", "bad"], client.classify(["good plot", "bad"]), strict=True):
        (want,) = model.predict("stars", [texts])
        assert found.scores[0].label == want.label
        assert {each.label: each.score for each in found.scores} == pytest.approx(
            want.probabilities, abs=2e-6)
    (pair,) = client.classify(("good plot", "bad"))
    assert {each.label for each in pair.scores} == {"0", "1"}
    client._ModelTypeMixin__model_type = ModelType.Reranker
    documents = ["bad", "fine plot", "awful scene"]
    want = [each.score for each in model.predict("same", [("good plot", text) for text in documents])]
    ranks = client.rerank("good plot", documents, return_text=True).ranks
    assert [each.index for each in ranks] == list(np.argsort(want)[::-1])
    assert [each.text for each in ranks] == [documents[each.index] for each in ranks]
    assert [each.score for each in ranks] == pytest.approx(sorted(want, reverse=True), abs=2e-6)
    client.client.close()


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=120) as client:
        yield client


def test_coheres_clients_work_unchanged(address: str, served_run: Path, http: httpx.Client) -> None:
    cohere = pytest.importorskip("cohere")
    documents = ["bad", "fine plot", "awful scene"]
    want = [each.score for each in pk.load(served_run).predict(
        "same", [("good plot", text) for text in documents])]
    for kind, given in ((cohere.Client, {"return_documents": True, "max_chunks_per_doc": 3}),
                        (cohere.ClientV2, {"max_tokens_per_doc": 400})):
        client = kind(api_key="none", base_url=address, httpx_client=http)
        found = client.rerank(model="any", query="good plot", documents=documents, top_n=2, **given)
        assert [each.index for each in found.results] == list(np.argsort(want)[::-1][:2])
        assert [each.relevance_score for each in found.results] == pytest.approx(
            sorted(want, reverse=True)[:2], abs=2e-6)
        if "return_documents" in given:
            assert [each.document.text for each in found.results] == [
                documents[each.index] for each in found.results]
        with pytest.raises(cohere.BadRequestError, match="documents: found none"):
            client.rerank(model="any", query="good plot", documents=[])


def test_the_hubs_inference_client_works_unchanged(
    address: str, served_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import InferenceClient, constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # this server is not a hub

    model = pk.load(served_run)
    labels = InferenceClient(model=f"{address}/predict").text_classification("good plot")
    assert labels[0].label == model.predict("stars", ["good plot"])[0].label
    vector = InferenceClient(model=f"{address}/embed").feature_extraction("good plot")
    direct = model.embed(["good plot"])
    np.testing.assert_allclose(np.reshape(vector, (1, -1)), direct / np.linalg.norm(direct), atol=2e-6)
    scores = InferenceClient(model=f"{address}/similarity").sentence_similarity(
        "good plot", other_sentences=["good plot", "bad"])
    assert scores[0] == pytest.approx(1, abs=1e-5) and scores[1] < 1


def test_at_many_times_its_capacity_no_answer_is_wrong_or_lost(address: str, served_run: Path) -> None:
    words = [f"{a} {b} film" for a in ("good", "bad", "fine", "poor") for b in ("plot", "actor", "scene")]
    texts = [f"{text} {n}" for text in words for n in range(14)]
    direct = pk.load(served_run).predict("topic", texts)
    expected = {text: (each.label, each.score) for text, each in zip(texts, direct, strict=True)}

    async def one(client: httpx.AsyncClient, pair: tuple[str, str]) -> int:
        answer = await client.post("/tasks/topic", json={"texts": pair})
        if answer.status_code == 200:
            for text, row in zip(pair, answer.json()["results"], strict=True):
                label, score = expected[text]
                assert row["topic"]["label"] == label
                assert row["topic"]["score"] == pytest.approx(score, abs=1e-5)
        else:
            assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
            assert "queue is full" in answer.json()["error"]
        return answer.status_code

    async def flood() -> list[int]:
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(base_url=address, limits=limits, timeout=240) as client:
            pairs = zip(texts, texts[1:] + texts[:1], strict=True)
            return await asyncio.gather(*(one(client, pair) for pair in pairs))

    def counted() -> Counter[str]:
        """Return status → requests, as the server counts them; most refusals come before the routes."""
        found = re.findall(r'requests_total\{route="(?:/tasks/\{task\}|none)",status="(\d+)"\} ([\d.]+)',
                           httpx.get(f"{address}/metrics", timeout=120).text)
        return sum((Counter({status: int(float(number))}) for status, number in found), Counter())

    before = counted()
    statuses = asyncio.run(flood())
    assert len(statuses) == len(texts) and statuses.count(200) > 30
    # Nobody was answered twice, or answered something that the server does not know of.
    assert counted() - before == Counter(map(str, statuses))
    assert httpx.get(f"{address}/ready", timeout=120).status_code == 200


def test_a_client_that_goes_away_leaves_the_queue(address: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    for _ in range(5):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                               b"content-length: 100\r\n\r\n{\"te")
    assert httpx.post(f"{address}/predict", json={"texts": "good"}, timeout=120).status_code == 200


def test_a_signal_in_the_middle_loses_nothing_that_was_accepted(served_run: Path) -> None:
    process, address = start(served_run)

    async def run() -> list[int]:
        async with httpx.AsyncClient(base_url=address, timeout=240) as client:
            asked = [asyncio.ensure_future(client.post("/predict", json={"texts": [f"good {n}"] * 20}))
                     for n in range(8)]
            await asyncio.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            answers = await asyncio.gather(*asked, return_exceptions=True)
            # A connection that was not taken up any more is refused, never answered by half.
            return [each.status_code for each in answers if isinstance(each, httpx.Response)]

    statuses = asyncio.run(run())
    assert statuses and set(statuses) <= {200, 503}
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_replaced_model_is_taken_up_without_a_lost_request(served_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(served_run, run)
    process, address = start(run, "--set", "reload_seconds=0.2")
    try:
        shutil.copytree(run / "model", run / "new")
        tasks = json.loads((run / "new" / "tasks.json").read_text(encoding="utf-8"))
        tasks["tasks"]["topic"]["labels"]["classes"] = ["x", "y", "z"]
        (run / "new" / "tasks.json").write_text(json.dumps(tasks), encoding="utf-8")
        (run / "model").rename(run / "old")
        (run / "new").rename(run / "model")
        until = time.monotonic() + 60
        while True:
            answer = httpx.post(f"{address}/tasks/topic", json={"texts": "good"}, timeout=120)
            assert answer.status_code == 200
            if answer.json()["results"][0]["topic"]["label"] in "xyz":
                break
            assert time.monotonic() < until
            time.sleep(0.1)
    finally:
        assert ended(process) == 0


def refusal(*runs: Path, **given: Any) -> str:
    """Return the sentence with which runs are refused before anything listens."""
    with pytest.raises(PolytaskError) as caught:
        serve_runs(runs, None, {"port": 0, **given}, quiet=True)
    assert "\n" not in str(caught.value).strip()
    return str(caught.value)


@pytest.mark.parametrize(("given", "sentence"), [
    ({"engine": "int9"}, "engine found 'int9'"),
    ({"max_quue": 3}, 'did you mean "max_queue"'),
    ({"port": 99999}, "port"),
    ({"api_keys_file": "/nowhere/keys"}, "API keys cannot be read"),
    ({"host": "256.1.1.1"}, "cannot listen there"),
    ({"engine": "onnx"}, "polytask export"),
])
def test_a_setting_that_cannot_be_is_one_sentence_before_it_listens(
    served_run: Path, given: dict[str, Any], sentence: str
) -> None:
    assert sentence in refusal(served_run, **given)


def test_a_folder_that_cannot_be_served_is_one_sentence_before_it_listens(
    served_run: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "runs").mkdir()
    assert refusal(tmp_path / "run").endswith(
        'there is no such folder; expected a run or a model folder; did you mean "runs"?')
    assert "another model is called" in refusal(served_run, served_run)
    assert "has no model" in refusal(tiny_checkpoint)  # an encoder that answers nothing

    def damaged(name: str) -> Path:
        return Path(shutil.copytree(served_run / "model", tmp_path / name))

    (damaged("headless") / "heads" / "topic" / "model.safetensors").unlink()
    assert "heads/topic" in refusal(tmp_path / "headless")
    (damaged("untold") / "tokenizer.json").unlink()
    assert "tokenizer.json" in refusal(tmp_path / "untold")
    weights = damaged("half") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-500])
    assert "model.safetensors" in refusal(tmp_path / "half")
    tasks = damaged("newer") / "tasks.json"
    tasks.write_text(tasks.read_text().replace('"schema": ', '"schema": 9'))
    assert "schema" in refusal(tmp_path / "newer")
    tasks = damaged("threshold") / "tasks.json"
    table = json.loads(tasks.read_text())
    tasks.write_text(json.dumps(table | {"thresholds": {"tags": "high"}}))
    assert "tasks.tags: threshold: found 'high', expected a number" in refusal(tmp_path / "threshold")
    table["tasks"]["stars"]["labels"]["classes"] = [0, 1, 2, 3, 4]
    tasks.write_text(json.dumps(table))
    assert "tasks.stars: labels.classes" in refusal(tmp_path / "threshold")


@pytest.mark.parametrize(("task", "changes", "said"), [
    ("same", {"threshold": 1.5}, 'threshold: found 1.5, expected "tuned", "accuracy" or a number between'),
    ("tags", {"threshold": [0.5]}, "threshold: found [0.5]"),
    ("stars", {"max_length": 9999}, "max_length: found 9,999, expected at most 64, for which the encoder"),
])
def test_a_task_that_no_training_writes_is_refused_by_its_key(
    served_run: Path, tmp_path: Path, task: str, changes: dict[str, Any], said: str
) -> None:
    folder = Path(shutil.copytree(served_run / "model", tmp_path / "model"))
    table = json.loads((folder / "tasks.json").read_text())
    table["tasks"][task] |= changes
    (folder / "tasks.json").write_text(json.dumps(table))
    assert f"{folder}/tasks.json: tasks.{task}: {said}" in refusal(folder)


@pytest.mark.parametrize("part", [".", "heads/topic"])
@pytest.mark.parametrize("harm", ["not finite", "too many", "too few"])
def test_weights_that_no_training_writes_are_refused_with_file_and_tensor(
    served_run: Path, tmp_path: Path, part: str, harm: str
) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(served_run / "model", tmp_path / "model"))
    file = folder / part / "model.safetensors"
    weights = load_file(file)
    name = min(weights)
    if harm == "not finite":
        weights[name].view(-1)[1] = float("nan")
    elif harm == "too few":
        del weights[name]
    else:
        name = "zzz"
        weights[name] = weights[min(weights)].clone()
    save_file(weights, file, {"format": "pt"})
    told = refusal(folder)
    assert name in told and str(file if harm != "too few" or part != "." else folder) in told


def test_without_the_extra_the_sentence_says_what_to_install(
    served_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "polytask[serve]" in refusal(served_run)


def test_a_log_of_none_is_silent_whatever_is_sent(served_run: Path) -> None:
    process, address = start(served_run, "--set", "log=none")
    host, port = address.removeprefix("http://").split(":")
    try:
        for data in (b"hello there\r\n\r\n", b"GET / HTTP/1.1\r\nhost: x\r\nconnection: Upgrade, close\r\n"
                     b"upgrade: websocket\r\n\r\n"):
            with socket.create_connection((host, int(port)), timeout=60) as connection:
                connection.sendall(data)
                while connection.recv(65536):
                    pass
    finally:
        process.send_signal(signal.SIGTERM)
        _, shown = process.communicate(timeout=60)
    assert (process.returncode, shown) == (0, "")


def test_the_command_ends_with_status_2_and_the_sentence(served_run: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = subprocess.run(
            [sys.executable, "-m", "polytask", "serve", str(served_run), "--port", port],
            capture_output=True, text=True, timeout=120)
    assert result.returncode == 2 and "cannot listen there (Address already in use)" in result.stderr
    assert "Traceback" not in result.stderr and "serving" not in result.stderr


def test_flags_are_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    config = tmp_path / "serve.toml"
    config.write_text("[serve]\nport = 1000\nmax_queue = 7\ntruncate = false\n")
    environment = {"POLYTASK_PORT": "2000", "POLYTASK_MAX_INPUTS": "5", "POLYTASK_PAGE": "no"}
    made: Any = read_settings(config, {"port": 3000, "host": None}, environment)
    assert (made.port, made.max_queue, made.max_inputs) == (3000, 7, 5)
    assert (made.page, made.truncate) == (False, False)
    with pytest.raises(ConfigError, match=r"POLYTASK_PORT: found 'x', expected a number"):
        read_settings(None, {}, {"POLYTASK_PORT": "x"})
    with pytest.raises(ConfigError, match=r"POLYTASK_PAGE: found 'maybe'"):
        read_settings(None, {}, {"POLYTASK_PAGE": "maybe"})
    keys = tmp_path / "keys"
    keys.write_text("one\n\ntwo\n")
    assert api_keys(ServeSettings(api_keys_file=str(keys)), {}) == (b"one", b"two")
    assert api_keys(ServeSettings(), {"POLYTASK_API_KEYS": "a, b"}) == (b"a", b"b")
    keys.write_text("\n")
    with pytest.raises(ConfigError, match="holds no API key"):
        api_keys(ServeSettings(api_keys_file=str(keys)), {})
    assert issubclass(RunError, Exception)
