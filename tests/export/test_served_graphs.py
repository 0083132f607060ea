"""An exported graph, fp32 or int8, behind the real server and in asyncio: its own answers, and no torch."""

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
import onnx
import pytest
from exported_models import Exported

import polytask as pk
from polytask.core.errors import CheckpointError

SINGLE = ["A gem.", "good plot", "a long and rather dull film about nothing at all"]
PAIRS = [("How old is she?", "What is her age?"), ("good plot", "bad"), ("a", "a great scene in a film")]


@pytest.mark.parametrize("engine", ["onnx", "int8"])
def test_a_loaded_graph_keeps_the_name_of_its_engine(every: Exported, engine: str) -> None:
    graph = pk.load(every.folder, engine=engine)

    async def label() -> Any:
        async with pk.AsyncModel(graph) as model:
            assert model.model.engine == engine
            return (await model.predict("linear", ["good plot"]))[0].label

    assert asyncio.run(label()) == graph.predict("linear", ["good plot"])[0].label


BY_COMMAND = "from polytask.cli import main\nsys.argv[0] = 'polytask'\nmain()"
BY_NAME = "import polytask as pk\npk.serve(sys.argv[2], engine=sys.argv[4], port=0, log='none')"


@pytest.mark.parametrize(("program", "engine"), [(BY_COMMAND, "int8"), (BY_NAME, "onnx")],
                         ids=["polytask serve, int8", "pk.serve, onnx"])
def test_a_process_that_serves_a_graph_answers_as_the_graph_does_and_loads_no_torch(
    every: Exported, program: str, engine: str
) -> None:
    body = "\n".join(f"    {line}" for line in program.splitlines())
    code = f"import sys\ntry:\n{body}\nfinally:\n    print('torch' in sys.modules, flush=True)"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", str(every.folder), "--engine", engine, "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        found = re.search(r"http://[\d.:]+", line)
        assert found, line + process.stderr.read()
        address, direct = found[0], pk.load(every.folder, engine=engine)
        info = httpx.get(f"{address}/info", timeout=60).json()
        assert info["models"]["model"]["engine"] == engine
        for asked, inputs, count in (("texts", SINGLE, 1), ("pairs", PAIRS, 2)):
            answer = httpx.post(f"{address}/predict", json={asked: inputs}, timeout=60).json()
            for task in (name for name, task in direct.tasks.items() if len(task.text) == count):
                for row, expected in zip(answer["results"], direct.predict(task, inputs), strict=True):
                    label = row[task]["label"]
                    assert ("|".join(label) if isinstance(label, list) else label) == expected.label
                    np.testing.assert_allclose(row[task]["score"], expected.score, atol=1e-6)
    finally:
        process.send_signal(signal.SIGTERM)
        shown, _ = process.communicate(timeout=60)
    assert (process.returncode, shown.strip()) == (0, "False")


def test_a_graph_that_is_not_ours_is_one_sentence_before_it_listens(
    every: Exported, tmp_path: Path
) -> None:
    def served(name: str, graph: bytes | onnx.ModelProto, tokenizer: bool = True) -> str:
        place = tmp_path / name / "onnx"
        place.mkdir(parents=True)
        (place / "model.onnx").write_bytes(
            graph if isinstance(graph, bytes) else graph.SerializeToString())
        if tokenizer:
            shutil.copyfile(every.held.tokenizer, place.parent / "tokenizer.json")
        with pytest.raises(CheckpointError) as caught:
            pk.serve(place.parent, engine="onnx", port=0, quiet=True)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    whole = (every.folder / "onnx" / "model.onnx").read_bytes()
    assert "is not a whole ONNX graph" in served("text", b"not a graph")
    assert "is not a whole ONNX graph" in served("half", whole[:len(whole) // 2])
    assert "is not a whole ONNX graph" in served("empty", b"")
    assert "tokenizer.json: the tokenizer cannot be read" in served("alone", whole, tokenizer=False)
    theirs = onnx.load_from_string(whole)
    del theirs.metadata_props[:]
    assert "is an ONNX graph of another program" in served("theirs", theirs)
    newer = onnx.load_from_string(whole)
    newer.metadata_props[0].value = newer.metadata_props[0].value.replace('"schema": 1', '"schema": 2')
    assert "found metadata of schema 2, expected 1" in served("newer", newer)
    other = onnx.load_from_string(whole)
    del other.graph.output[0]
    assert 'has no output "sentence_embedding"' in served("other", other)
