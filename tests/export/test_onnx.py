"""Every head, pooling and pairing in one graph: equal to torch, in any batch, in fp32 and int8."""

from __future__ import annotations

import copy
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from exported_models import PAIRS, TEXTS, Exported, every_task, exported, saved, task

import polytask as pk
from polytask.core.errors import CheckpointError, ConfigError, RunError
from polytask.core.paths import ModelPaths
from polytask.data.labels import Labels
from polytask.export.graph import ExportedNetwork, TaskOutputs
from polytask.export.int8 import quantized
from polytask.export.onnx import export_graph, graph_info
from polytask.inference import onnx_model
from polytask.inference.onnx_model import OnnxModel, load_onnx, open_graph
from polytask.model.adapters.pal import PAL
from polytask.model.heads.linear import Linear
from polytask.model.pairings.single import Single
from polytask.model.poolings.mean import Mean

NAMES = [each.name for each in every_task()]


def count_products(proto: onnx.ModelProto) -> dict[str, int]:
    """Return how many products with constant weights a graph has in int8 and in float32."""
    constants = {constant.name for constant in proto.graph.initializer}
    floats = [node for node in proto.graph.node if node.op_type in ("MatMul", "Gemm")
              and len(node.input) > 1 and node.input[1] in constants]
    return {"int8": sum(node.op_type == "MatMulInteger" for node in proto.graph.node), "float": len(floats)}


SHAPES = [(s, n) for s in (1, 2, 3, 8) for n in (1, 7, 64)]


def rows_of(name: str) -> list[str] | list[tuple[str, str]]:
    spec = next(each for each in every_task() if each.name == name)
    return list(TEXTS) if len(spec.text) == 1 else list(PAIRS)


@pytest.mark.parametrize("name", NAMES)
def test_a_task_answers_as_by_torch(every: Exported, name: str) -> None:
    want, found = every.torch.predict(name, rows_of(name)), every.onnx.predict(name, rows_of(name))
    assert [each.label for each in found] == pytest.approx([each.label for each in want], abs=2e-4) or (
        [each.label for each in found] == [each.label for each in want])
    for one, other in zip(found, want, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert (one.probabilities is None) == (other.probabilities is None)
        if one.probabilities is not None:
            assert one.probabilities == pytest.approx(other.probabilities, abs=2e-6)


@pytest.mark.parametrize(("value", "threads"), [("3", 3), ("2,4", 2), ("", 0), ("all", 0)])
def test_a_graph_takes_the_threads_that_its_process_is_given(
    every: Exported, monkeypatch: pytest.MonkeyPatch, value: str, threads: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    graph = ModelPaths(every.folder).graph()
    assert open_graph(graph).get_session_options().intra_op_num_threads == threads
    assert open_graph(graph, 1).get_session_options().intra_op_num_threads == 1


@pytest.mark.parametrize(("sequences", "longest"), SHAPES)
def test_every_output_equals_torch_in_every_shape(every: Exported, sequences: int, longest: int) -> None:
    chance = np.random.default_rng(sequences * 100 + longest)
    lengths = chance.integers(1, longest + 1, sequences)
    lengths[-1] = longest
    mask = (np.arange(longest) < lengths[:, None]).astype(np.int64)
    fed = {"input_ids": chance.integers(5, 30000, mask.shape) * mask, "attention_mask": mask,
           "token_type_ids": chance.integers(0, 2, mask.shape) * mask}
    network = ExportedNetwork(every.held.model, every.held.tasks, every.held.pooling)
    with torch.inference_mode():
        want = network(*(torch.from_numpy(each) for each in fed.values()))
    found = every.onnx.session.run(None, fed)
    for name, one, other in zip(network.output_names, found, want, strict=True):
        assert one.size == other.numel(), name
        if one.size:
            np.testing.assert_allclose(one, other.numpy(), atol=2e-5, err_msg=name)


def test_padding_on_the_left_is_padding_too(every: Exported) -> None:
    ids = np.array([[101, 2023, 2003, 102]])
    plain = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    left = {name: np.pad(values, ((0, 0), (3, 0))) for name, values in plain.items()}
    session = every.onnx.session
    for one, other in zip(session.run(None, plain), session.run(None, left), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_embeddings_are_those_of_torch(every: Exported) -> None:
    np.testing.assert_allclose(every.onnx.embed(TEXTS), every.torch.embed(TEXTS), atol=1e-5)
    assert every.onnx.embed([]).shape == (0, 64)
    assert every.onnx.predict("linear", []) == []


def test_all_tasks_of_a_layout_share_a_pass(every: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    own = every.onnx.run
    monkeypatch.setattr(every.onnx, "run", lambda *given: passes.append(given[1]) or own(*given))
    together = every.onnx.predict_all(["linear", "mean", "first"], TEXTS)
    assert passes == [["linear_probabilities", "mean_probabilities", "first_probabilities"]]
    assert together["mean"] == every.onnx.predict("mean", TEXTS)


@pytest.mark.parametrize("engine", ["onnx", "int8"])
@pytest.mark.parametrize("name", NAMES)
def test_a_row_alone_answers_as_among_any_others(every: Exported, engine: str, name: str) -> None:
    model: OnnxModel = getattr(every, engine)
    rows = rows_of(name)
    whole = model.predict(name, rows)
    assert [model.predict(name, [row])[0] for row in rows] == whole
    assert model.predict(name, rows[2:5]) == whole[2:5]
    spec = model.task(name)
    split = model.split(spec, rows)
    among = model.run(spec.layout, [spec.activated], split)[spec.activated]
    for k in range(len(rows)):
        alone = model.run(spec.layout, [spec.activated], split, np.array([k]))[spec.activated]
        assert np.array_equal(alone[0], among[k])


def test_int8_takes_every_product_but_the_tiny_heads(every: Exported) -> None:
    made = quantized(every.proto)
    layers, wide, pooler = 2 * 4, 1, 1
    before, after = count_products(every.proto), count_products(made)
    heads = before["float"] - layers - wide - pooler
    assert before["int8"] == 0 and after == {"int8": layers + wide + pooler, "float": heads}
    assert {each.data_type for each in made.graph.initializer if "embeddings.word" in each.name} == {1, 3}
    assert not any("word.weight" in each.name and each.data_type == 1 and each.dims[-1] > 1
                   for each in made.graph.initializer)
    assert made.ByteSize() < 0.3 * every.proto.ByteSize()


def test_onnx_runtime_scales_products_of_int8_as_it_computes_them(every: Exported, tmp_path: Path) -> None:
    """Its fused node must get every product, and no scale of rows: that would be wrong by far."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(str(ModelPaths(every.folder).graph(int8=True)), options,
                                 providers=["CPUExecutionProvider"])
    nodes = onnx.load(tmp_path / "optimized.onnx").graph.node
    fused = [node for node in nodes if node.op_type == "MatMulIntegerToFloat"]
    assert len(fused) == count_products(quantized(every.proto))["int8"]
    assert {node.input[2] for node in fused} == {"int8/one"}
    assert not any(node.op_type == "MatMulInteger" for node in nodes)
    plain = OnnxModel(ModelPaths(every.folder).graph(int8=True), every.held.tokenizer, 1, optimized=False)
    for name in ("linear", "embedding"):
        for one, other in zip(every.int8.predict(name, rows_of(name)), plain.predict(name, rows_of(name)),
                              strict=True):
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_int8_is_near_fp32_with_optimizations_on_and_off(every: Exported) -> None:
    plain = OnnxModel(ModelPaths(every.folder).graph(int8=True), every.held.tokenizer, 1, optimized=False)
    exact = every.onnx.embed(TEXTS)
    for model in (every.int8, plain):
        # ONNX Runtime's fusion of one Mul by both scales would be wrong by more than the vectors' size.
        assert np.abs(model.embed(TEXTS) - exact).mean() < 0.03 * np.abs(exact).mean() + 0.01


def test_the_file_alone_says_what_it_is_for(every: Exported) -> None:
    proto = onnx.load(ModelPaths(every.folder).graph())
    assert [each.key for each in proto.metadata_props] == ["polytask"]
    assert [each.name for each in proto.graph.input] == ["input_ids", "attention_mask", "token_type_ids"]
    assert {each.name for each in proto.graph.output} == {"sentence_embedding", *(
        name for each in every_task() for name in TaskOutputs.of(each).names)}
    assert every.onnx.task("same").threshold == 0.9
    assert every.onnx.task("cosine").labels == Labels("regression", low=1, high=5)
    assert b"site-packages" not in proto.SerializeToString()


def test_pal_has_a_pass_a_task(tmp_path: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [task("one", Labels("classes", ("a", "b", "c")), Single(), Mean(), Linear()),
             task("two", Labels("binary", ("no", "yes")), Single(), Mean(), Linear())]
    held = saved(tmp_path / "model", tokenizer, tasks, Mean(), PAL(size=12, heads=3), layers=1)
    made = exported(held, tmp_path / "model")
    network, through = ExportedNetwork(held.model, held.tasks, held.pooling), []
    hidden = network.hidden
    monkeypatch.setattr(network, "hidden", lambda *given: through.append(given[-1]) or hidden(*given))
    network(*torch.ones(3, 2, 4, dtype=torch.long))
    assert through == [None, "one", "two"]
    for name in ("one", "two"):
        for one, other in zip(made.onnx.predict(name, TEXTS), made.torch.predict(name, TEXTS), strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-5)
    np.testing.assert_allclose(made.onnx.embed(TEXTS), made.torch.embed(TEXTS), atol=1e-5)


def test_a_pooling_without_a_padded_form_is_refused_by_name(every: Exported) -> None:
    class Own(Mean):
        name = "own"

        def pool_padded(self, *given: object) -> None:
            return None

    with pytest.raises(ConfigError, match='pooling "own" has no pool_padded'):
        export_graph(every.held.model, every.held.tasks, Own(), graph_info(every.held))


def test_a_damaged_and_a_foreign_graph_are_refused_in_a_sentence(every: Exported, tmp_path: Path) -> None:
    damaged, foreign = tmp_path / "onnx" / "model.onnx", tmp_path / "foreign.onnx"
    damaged.parent.mkdir()
    shutil.copyfile(every.held.tokenizer, tmp_path / "tokenizer.json")
    whole = (ModelPaths(every.folder).graph()).read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"model\.onnx: is not a whole ONNX graph"):
        load_onnx(tmp_path)
    proto = onnx.load_from_string(whole)
    del proto.metadata_props[:]
    foreign.write_bytes(proto.SerializeToString())
    with pytest.raises(CheckpointError, match=r"foreign\.onnx: is an ONNX graph of another program"):
        OnnxModel(foreign, every.held.tokenizer)
    damaged.write_bytes(whole)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: is not the tokenizer that model\.onnx"):
        load_onnx(tmp_path)


@pytest.mark.parametrize(("value", "said"), [
    ("not json", "metadata cannot be read"), ('{"schema": 99}', "found metadata of schema 99, expected 1"),
    ("[]", "metadata cannot be read"), ('{"schema": 1, "tasks": {"a": {}}}', "metadata cannot be read")])
def test_metadata_of_another_kind_are_refused_in_a_sentence(
    every: Exported, tmp_path: Path, value: str, said: str
) -> None:
    proto = onnx.load(ModelPaths(every.folder).graph())
    proto.metadata_props[0].value = value
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(CheckpointError, match=said):
        OnnxModel(tmp_path / "model.onnx", every.held.tokenizer)


def test_metadata_changed_anywhere_are_refused_in_a_sentence_or_answer(
    every: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance, session = random.Random(11), every.onnx.session
    odd = [None, True, -1, 0, 2, 1e308, "", "x", "linear_logits", [], ["a"], [0.5], {}, {"a": 1}]
    whole = json.loads(session.get_modelmeta().custom_metadata_map["polytask"])

    class Changed:
        def __init__(self, value: str) -> None:
            self.custom_metadata_map = {"polytask": value}

        def __getattr__(self, name: str) -> Any:
            return getattr(session, name)

        def get_modelmeta(self) -> Any:
            return self

    monkeypatch.setattr(onnx_model, "open_graph", lambda *given: Changed(json.dumps(table)))
    refusals: list[str] = []
    answered = 0
    for _ in range(100):
        table = copy.deepcopy(whole)
        _change(table, chance, odd)
        try:
            model = OnnxModel(ModelPaths(every.folder).graph(), every.held.tokenizer)
        except CheckpointError as error:
            refusals.append(str(error))
            continue
        for name, spec in model.tasks.items():
            rows = ["A gem.", "x"] if len(spec.text) == 1 else [("A gem.", "x"), ("a", "b c")]
            assert len(model.predict(name, rows)) == 2
        answered += 1
    assert len(refusals) > 20 and answered > 10
    assert [each for each in refusals if "\n" in each or len(each) > 500] == []


def _change(table: Any, chance: random.Random, odd: list[Any]) -> None:
    """Replace one value anywhere in a tree of JSON, or leave it out."""
    while True:
        key = chance.choice(list(table) if isinstance(table, dict) else range(len(table)))
        if isinstance(table[key], dict | list) and table[key] and chance.random() < 0.8:
            table = table[key]
        elif isinstance(table, dict) and chance.random() < 0.2:
            del table[key]
            return
        else:
            table[key] = chance.choice(odd)
            return


def test_what_is_not_exported_says_how_to_export_it(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no onnx/model_qint8\.onnx; write it with polytask export"):
        pk.load(tmp_path, engine="int8")
    with pytest.raises(RunError, match="there is no such folder"):
        pk.load(tmp_path / "none", engine="onnx")
    with pytest.raises(ConfigError, match='engine: found "ort", expected torch, onnx or int8'):
        pk.load(tmp_path, engine="ort")
    with pytest.raises(CheckpointError, match="is not a whole ONNX graph"):
        open_graph(tmp_path / "none.onnx")


def test_an_exported_graph_needs_no_torch(every: Exported) -> None:
    script = f"""
import sys
import polytask as pk
model = pk.load({str(every.folder)!r}, engine="int8")
assert len(model.predict_all(["linear", "mean"], ["A gem."])["mean"]) == 1
assert model.embed(["A gem."]).shape == (1, 64)
heavy = {{"torch", "transformers", "onnx", "sklearn", "scipy", "pydantic"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
