"""Served graphs give torch's answers, for every kind of task, alone and in a batch."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from polytask.commands.predict import predict_file
from polytask.core.errors import RunError
from polytask.inference import graph_batches
from polytask.serve.app import create_app
from polytask.serve.engines import loader
from polytask.serve.onnx_engine import load_graph
from polytask.serve.service import Service
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
    export(run, to="onnx")
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


@pytest.mark.parametrize(("columns", "inputs", "key"), [(["text"], TEXTS, "texts"),
                                                        (["text", "other"], PAIRS, "pairs")])
def test_a_line_of_predict_holds_what_the_server_answers(
    exported: Path, tmp_path: Path, columns: list[str], inputs: list[tuple[str, ...]], key: str
) -> None:
    with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *inputs])
    out = tmp_path / "out.jsonl"
    tasks = ["all"] if key == "texts" else ["same", "near"]
    predict_file(exported, tasks, tmp_path / "rows.csv", out, "jsonl", quiet=True, engine="onnx")
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    service = Service([load_graph(exported, "run", "onnx", threads=1)], ServeSettings(log="none"))
    with TestClient(create_app(service)) as client:
        asked = [text for text, in inputs] if key == "texts" else inputs
        body = client.post("/predict", json={key: asked}).json()
    assert [line["text"] for line in lines] == [texts[0] for texts in inputs]
    for line, row in zip(lines, body["results"], strict=True):
        assert line["tasks"].keys() == row.keys()
        for task, answer in row.items():
            found = line["tasks"][task]
            assert found.keys() == answer.keys() and type(found["label"]) is type(answer["label"])
            if not isinstance(answer["label"], float):
                assert found["label"] == answer["label"]
            assert found["score"] == pytest.approx(answer["score"], abs=1e-6)
            assert found.get("probabilities") == pytest.approx(answer.get("probabilities"), abs=2e-6)


def test_a_long_text_among_hundreds_of_short_ones_is_in_a_pass_of_its_own(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph pads attention: with 512 tokens beside 400 short texts its scores would take gigabytes."""
    most = 2000  # seven sequences of 16, or one of 32
    monkeypatch.setattr(graph_batches, "MOST_SCORES", most)
    graph = load_graph(exported, "run", "onnx", threads=1)
    long, *short = [("film " * 400,), *((f"plot {n}",) for n in range(100))]
    passes: list[tuple[int, ...]] = []
    session = graph.model.session

    class Noting:
        def run(self, outputs: Any, fed: Any) -> Any:
            passes.append(fed["input_ids"].shape)
            return session.run(outputs, fed)

    graph.model.session = Noting()  # type: ignore[assignment]
    mixed = graph.answer(graph.embedding_layout, ["topic"], graph.tokenize([*short[:7], long, *short[7:]]),
                         True)
    assert sum(rows for rows, _ in passes) == 101
    assert max(rows * length**2 for rows, length in passes) <= most and (1, 32) in passes
    alone = graph.answer(graph.embedding_layout, ["topic"], graph.tokenize([long]), True)
    assert mixed.by_task["topic"][7] == alone.by_task["topic"][0]
    assert mixed.vectors is not None and alone.vectors is not None
    np.testing.assert_array_equal(mixed.vectors[7], alone.vectors[0])
    first = graph.answer(graph.embedding_layout, ["topic"], graph.tokenize(short[7:8]), True)
    assert mixed.by_task["topic"][8] == first.by_task["topic"][0]
