"""Served graphs give torch's answers, for every kind of task, alone and in a batch."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
