"""Served graphs give torch's answers, for every kind of task, alone, in a batch and over HTTP."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import polytask as pk
from polytask.core.errors import RunError
from polytask.serve.engines import loader
from polytask.serve.onnx_engine import load_graph
from polytask.serve.settings import ServeSettings
from polytask.serve.torch_engine import TorchEngine

pytest.importorskip("onnxruntime")
TEXTS = [("good plot",), ("awful actor in a fine film",), ("bad",)]
PAIRS = [("good plot", "fine plot"), ("awful", "a great scene"), ("bad bad bad", "good")]


@pytest.fixture(scope="module")
def exported(served_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from polytask.commands.export import export

    run = tmp_path_factory.mktemp("exported") / "run"
    shutil.copytree(served_run, run)
    export(run, to="onnx", int8=True)
    return run


def answers(engine: Any, inputs: list[tuple[str, ...]]) -> dict[str, list[Any]]:
    encoded = engine.tokenize(inputs)
    found: dict[str, list[Any]] = {}
    for task in engine.tasks.values():
        if task.texts == len(inputs[0]):
            batch = engine.answer(task.layout, [task.name], encoded, False)
            found[task.name] = list(batch.by_task[task.name])
    return found


@pytest.mark.parametrize("inputs", [TEXTS, PAIRS], ids=["texts", "pairs"])
def test_the_graph_answers_as_torch_does(
    exported: Path, engine: TorchEngine, inputs: list[tuple[str, ...]]
) -> None:
    graph = load_graph(exported, "run", "onnx", threads=1)
    ours, theirs = answers(graph, inputs), answers(engine, inputs)
    assert ours.keys() == theirs.keys()
    assert (graph.width, graph.max_length) == (engine.width, engine.max_length)
    for task, rows in theirs.items():
        for a, b in zip(ours[task], rows, strict=True):
            if graph.tasks[task].kind == "regression":
                assert a.label == pytest.approx(b.label, abs=1e-3)
            else:
                assert a.label == b.label
            np.testing.assert_allclose(a.score, b.score, atol=1e-4)
            assert (a.probabilities is None) == (b.probabilities is None)


def test_embeddings_share_the_pass_and_equal_torchs(exported: Path, engine: TorchEngine) -> None:
    graph = load_graph(exported, "run", "onnx", threads=1)
    vectors = [each.answer(each.embedding_layout, ["topic"], each.tokenize(TEXTS), True).vectors
               for each in (graph, engine)]
    np.testing.assert_allclose(*vectors, atol=1e-4)


def test_a_text_alone_is_answered_as_in_a_batch(exported: Path) -> None:
    graph = load_graph(exported, "run", "onnx", threads=1)
    together = answers(graph, TEXTS)
    for place, text in enumerate(TEXTS):
        for task, rows in answers(graph, [text]).items():
            assert rows[0] == together[task][place]


def test_auto_takes_the_exported_graph_and_torch_without_one(exported: Path, served_run: Path) -> None:
    assert loader(ServeSettings())(exported, "run").engine == "onnx"
    assert loader(ServeSettings())(served_run, "run").engine == "torch"
    with pytest.raises(RunError, match=r"polytask export .* --to onnx"):
        loader(ServeSettings(engine="int8"))(served_run, "run")


@pytest.mark.parametrize("engine", ["onnx", "int8"])
def test_a_loaded_graph_keeps_the_name_of_its_engine(exported: Path, engine: str) -> None:
    graph = pk.load(exported, engine=engine)

    async def label() -> Any:
        async with pk.AsyncModel(graph) as model:
            assert model.model.engine == engine
            return (await model.predict("topic", ["good plot"]))[0].label

    assert asyncio.run(label()) == graph.predict("topic", ["good plot"])[0].label


BY_COMMAND = "from polytask.cli import main\nsys.argv[0] = 'polytask'\nmain()"
BY_NAME = "import polytask as pk\npk.serve(sys.argv[2], engine=sys.argv[4], port=0, log='none')"


@pytest.mark.parametrize(("program", "engine"), [(BY_COMMAND, "int8"), (BY_NAME, "onnx")],
                         ids=["polytask serve, int8", "pk.serve, onnx"])
def test_a_process_that_serves_a_graph_answers_as_the_graph_does_and_loads_no_torch(
    exported: Path, program: str, engine: str
) -> None:
    body = "\n".join(f"    {line}" for line in program.splitlines())
    code = f"import sys\ntry:\n{body}\nfinally:\n    print('torch' in sys.modules, flush=True)"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", str(exported), "--engine", engine, "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        found = re.search(r"http://[\d.:]+", line)
        assert found, line + process.stderr.read()
        address, direct = found[0], pk.load(exported, engine=engine)
        info = httpx.get(f"{address}/info", timeout=60).json()
        assert info["models"]["run"]["engine"] == engine
        for asked, inputs in (("texts", [text for (text,) in TEXTS]), ("pairs", PAIRS)):
            answer = httpx.post(f"{address}/predict", json={asked: inputs}, timeout=60).json()
            for task in answer["results"][0]:
                for row, expected in zip(answer["results"], direct.predict(task, inputs), strict=True):
                    label = row[task]["label"]
                    assert ("|".join(label) if isinstance(label, list) else label) == expected.label
                    np.testing.assert_allclose(row[task]["score"], expected.score, atol=1e-6)
    finally:
        process.send_signal(signal.SIGTERM)
        shown, _ = process.communicate(timeout=60)
    assert (process.returncode, shown.strip()) == (0, "False")
