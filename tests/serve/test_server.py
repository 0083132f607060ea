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
def address(served_run: Path) -> Iterator[str]:
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
    texts = [f"{a} {b} film {n}" for a in ("good", "bad", "fine", "poor")
             for b in ("plot", "actor", "scene", "film") for n in range(10)]
    direct = pk.load(served_run).predict("topic", texts)
    expected = {text: answer.label for text, answer in zip(texts, direct, strict=True)}

    async def one(client: httpx.AsyncClient, text: str) -> tuple[int, float]:
        began = time.perf_counter()
        answer = await client.post("/tasks/topic", json={"texts": [text] * 2})
        if answer.status_code == 200:
            assert [row["topic"]["label"] for row in answer.json()["results"]] == [expected[text]] * 2
        else:
            assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
            assert "queue is full" in answer.json()["error"]
        return answer.status_code, time.perf_counter() - began

    async def flood() -> list[tuple[int, float]]:
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(base_url=address, limits=limits, timeout=240) as client:
            return await asyncio.gather(*(one(client, text) for text in texts))

    statuses = [status for status, _ in asyncio.run(flood())]
    assert len(statuses) == len(texts) and statuses.count(200) > 30
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
    graphs = damaged("strange") / "onnx"
    graphs.mkdir()
    (graphs / "model.onnx").write_bytes(b"not a graph")
    assert "model.onnx" in refusal(tmp_path / "strange", engine="onnx")


def test_without_the_extra_the_sentence_says_what_to_install(
    served_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "polytask[serve]" in refusal(served_run)


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
