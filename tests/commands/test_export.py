"""`polytask export` on a run: what it writes, prints and refuses."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import polytask as pk
from polytask.cli import app, main
from polytask.commands import export as command
from polytask.core.errors import CheckpointError, ConfigError, MissingExtra, RunError
from polytask.export import check, onnx_folder
from polytask.model.bert import Bert, BertConfig
from polytask.model.pretrained import save_encoder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    """A finished run of three tasks on the sample, exported in both precisions."""
    checkpoint = tmp_path_factory.mktemp("encoder")
    sizes = BertConfig(hidden_size=64, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
                       max_position_embeddings=64)
    save_encoder(Bert(sizes), tiny_checkpoint / "tokenizer.json", checkpoint)
    pair = {"text": ["sentence1", "sentence2"], "limit": 48, "dev_limit": 24}
    table: dict[str, Any] = {
        "seed": 3, "data": {"root": "sample", "max_length": 40},
        "encoder": {"checkpoint": str(checkpoint), "pooling": "mean"},
        "tasks": {
            "sst": {"train": "sst-train.csv", "dev": "sst-dev.csv", "text": "sentence",
                    "label": "sentiment", "limit": 40, "dev_limit": 24},
            "quora": {"train": "quora-train.csv", "dev": "quora-dev.csv", "label": "is_duplicate", **pair},
            "sts": {"train": "sts-train.csv", "dev": "sts-dev.csv", "label": "similarity", "range": [0, 5],
                    "pairing": "bi_encoder", "head": "cosine", **pair}},
        "train": {"epochs": 1, "batch_size": 8, "optimizer": {"lr": 1e-3}}}
    folder = tmp_path_factory.mktemp("runs") / "first"
    pk.train(pk.Run.from_table(table), folder, quiet=True)
    return folder


@pytest.fixture(scope="module")
def report(run: Path) -> list[str]:
    return pk.export(run, "onnx", int8=True, rows=24)


def test_a_run_gets_both_graphs_beside_its_model(run: Path, report: list[str]) -> None:
    assert {each.name for each in (run / "model" / "onnx").iterdir()} == {"model.onnx", "model_qint8.onnx"}
    assert report[0].startswith("onnx/model.onnx: ") and " ms for 1, " in report[0]
    assert any(line.startswith("  quora: 24 rows, accuracy 0.") and "labels kept 100.00%" in line
               for line in report)
    assert any(line.startswith("  sts: 24 rows, pearson") and "labels kept" not in line for line in report)
    assert report[-1] == f"written: {run / 'model'}"
    card = (run / "model" / "README.md").read_text()
    assert card.count("## ONNX") == 1 and "| `model_qint8.onnx` | sst | 24 | accuracy 0." in card


def test_the_engines_answer_as_torch_in_the_same_format(
    run: Path, report: list[str], tmp_path: Path
) -> None:
    source = tmp_path / "pairs.csv"
    with source.open("w", newline="") as file:
        csv.writer(file).writerows([["sentence1", "sentence2"], ["How old are you?", "What is your age?"],
                                    ["Who wrote it?", "When does the train leave?"]])
    rows = {}
    for engine in ("torch", "onnx", "int8"):
        out = tmp_path / engine
        done = CliRunner().invoke(app, [
            "predict", str(run), "--task", "quora,sts", str(source), "--out", str(out), "--format", "jsonl",
            "--engine", engine, "--quiet"])
        assert done.exit_code == 0, done.output
        rows[engine] = [json.loads(line) for name in ("quora", "sts")
                        for line in (out / f"{name}.jsonl").read_text().splitlines()]
    assert [list(row) for row in rows["onnx"]] == [list(row) for row in rows["torch"]]
    for one, other in zip(rows["onnx"], rows["torch"], strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-5)
    for one, other in zip(rows["int8"], rows["torch"], strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=0.05)


def test_a_folder_of_its_own_is_complete(run: Path, report: list[str], tmp_path: Path,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    graph = (run / "model" / "onnx" / "model.onnx").read_bytes()
    import onnx

    monkeypatch.setattr(onnx_folder, "export_graph", lambda *given: onnx.load_from_string(graph))
    out = tmp_path / "shipped"
    pk.export(run, "onnx", out, rows=8)
    assert sorted(str(each.relative_to(out)) for each in out.rglob("*") if each.is_file()) == [
        "README.md", "onnx/model.onnx", "tasks.json", "tokenizer.json"]
    want = pk.load(run, engine="onnx").predict("sst", ["A gem."])
    assert pk.load(out, engine="onnx").predict("sst", ["A gem."]) == want
    assert (out / "README.md").read_text().count("## ONNX") == 1
    with pytest.raises(CheckpointError, match="holds exported graphs, not the network"):
        pk.load(out)
    with pytest.raises(RunError, match="already exists; give another --out"):
        pk.export(run, "onnx", out)


def test_a_graph_that_differs_is_not_written(run: Path, report: list[str], tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx

    proto = onnx.load(run / "model" / "onnx" / "model.onnx")
    bias = next(each for each in proto.graph.initializer if each.name.endswith("down.bias"))
    values = onnx.numpy_helper.to_array(bias) + 0.01 * (1 + onnx.numpy_helper.to_array(bias))
    values[0] += 0.5
    bias.CopyFrom(onnx.numpy_helper.from_array(values.astype("float32"), bias.name))
    monkeypatch.setattr(onnx_folder, "export_graph", lambda *given: proto)
    with pytest.raises(ConfigError, match="the graph differs from the model by"):
        pk.export(run, "onnx", tmp_path / "wrong", rows=8)
    assert list(tmp_path.iterdir()) == []


def test_a_head_that_decides_in_its_own_way_is_refused(run: Path, report: list[str],
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    held = command.load_model(run)
    model, engine = pk.load(run), pk.load(run, engine="onnx")
    splits = command.check_rows(run, held, None, quiet=True)
    # Softer probabilities with the labels of sharper ones: another rule than the graph's.
    monkeypatch.setattr(check, "activated", lambda logits, labels: -logits.sigmoid())
    with pytest.raises(ConfigError, match=r"tasks\.(sst|quora)\.head: \"linear\" decides labels in its"):
        check.check_graph("onnx/model.onnx", 1, model, engine, splits, 24)


def test_a_model_without_its_data_wants_a_file(run: Path, report: list[str], tmp_path: Path) -> None:
    held = command.load_model(run)
    with pytest.raises(ConfigError, match=r"is a model without its data.*name a file with --check"):
        command.check_rows(run / "model", held, None, quiet=True)
    file = tmp_path / "rows.csv"
    file.write_text("sentence\nA gem.\nDull.\n")
    found = command.check_rows(run / "model", held, file, quiet=True)
    assert {name: len(each) for name, each in found.items()} == {"sst": 2}
    file.write_text("other\nA gem.\n")
    with pytest.raises(ConfigError, match=r"no task has rows to compare.*such as sentence"):
        check.check_graph("x", 1, pk.load(run), pk.load(run, engine="onnx"),
                          command.check_rows(run, held, file, True), 8)


@pytest.mark.parametrize(("given", "said"), [
    ({"to": "onyx"}, '--to: found "onyx".*did you mean "onnx"'),
    ({"to": "transformers", "int8": True}, "--int8: belongs to --to onnx"),
    ({"rows": 0}, "--rows: found 0, expected 1 or more")])
def test_wrong_options_are_refused_before_anything_is_read(tmp_path: Path, given: dict[str, Any],
                                                           said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        pk.export(tmp_path, **given)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="has no model"):
        pk.export(tmp_path)


@pytest.mark.parametrize(("missing", "asked", "extra"), [
    ("onnx", {"to": "onnx"}, "export"), ("onnxscript", {"to": "onnx"}, "export"),
    ("sentence_transformers", {"to": "sentence-transformers"}, "sentence-transformers"),
    ("onnxruntime", None, "export")])
def test_an_extra_that_is_not_installed_is_named(
    run: Path, report: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str,
    asked: dict[str, Any] | None, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtra, match=rf'pip install "polytask\[{extra}\]"'):
        pk.load(run, engine="onnx") if asked is None else pk.export(run, out=tmp_path / "out", **asked)
    assert list(tmp_path.iterdir()) == []


def without_a_part(folder: Path) -> str:
    (folder / "model" / "heads" / "quora" / "model.safetensors").unlink()
    return "heads/quora/model.safetensors"


def of_another_schema(folder: Path) -> str:
    path = folder / "model" / "tasks.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))
    return "tasks.json: found schema 99, expected 1"


def with_a_foreign_graph(folder: Path) -> str:
    import onnx

    path = folder / "model" / "onnx" / "model.onnx"
    proto = onnx.load(path)
    del proto.metadata_props[:]
    path.write_bytes(proto.SerializeToString())
    return "model.onnx: is an ONNX graph of another program"


def without_a_model(folder: Path) -> str:
    shutil.rmtree(folder / "model")
    return "has no model"


@pytest.mark.parametrize(("damage", "engine"), [
    (without_a_part, "torch"), (of_another_schema, "torch"), (with_a_foreign_graph, "onnx"),
    (without_a_model, "torch")])
def test_a_folder_that_cannot_be_opened_is_one_sentence_and_status_2(
    run: Path, report: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], damage: Callable[[Path], str], engine: str
) -> None:
    folder, rows = tmp_path / "run", tmp_path / "rows.csv"
    shutil.copytree(run, folder)
    rows.write_text("sentence\nA gem.\n")
    sentence = damage(folder)
    for words in (["predict", str(folder), "--task", "sst", str(rows), "--engine", engine],
                  ["serve", str(folder), "--port", "0", "--engine", engine]):
        monkeypatch.setattr(sys, "argv", ["polytask", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        lines = capsys.readouterr().err.splitlines()
        assert stop.value.code == 2 and len(lines) == 1, lines
        assert lines[0].startswith("polytask: ") and sentence in lines[0]
