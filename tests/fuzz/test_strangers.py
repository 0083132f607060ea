"""A stranger's predictions, graphs, study or run lead nowhere else and run nothing of their own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fuzz_child import REFUSED, RIGHT, in_child
from fuzz_mutations import EVIL
from fuzz_world import Inline, World, lead_out

import polytask as pk
from polytask.commands.compare import compare
from polytask.commands.export import export
from polytask.commands.log import log
from polytask.commands.sweep import sweep
from polytask.commands.train import train
from polytask.config import Run
from polytask.core.errors import CheckpointError, RunError
from polytask.core.paths import PredictionPaths
from polytask.engines.shards import LocalShards
from polytask.export import onnx_folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that nothing may be written into, with a file that nothing may change."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_text("mine")
    return folder


def untouched(outside: Path) -> bool:
    names = [path.name for path in outside.iterdir()]
    return names == ["file"] and (outside / "file").read_text() == "mine"


@pytest.mark.parametrize("part", [".lock", ".shards", "moods", ".shards/00001.json", "moods/part-00001.csv",
                                  "plan.json", "refused.csv"])
def test_links_in_predictions_in_shards(part: str, world: World, outside: Path, tmp_path: Path) -> None:
    folder = tmp_path / "predicted"
    shutil.copytree(world.folder / "predicted", folder)
    (folder / ".shards" / "00001.json").unlink()
    lead_out(folder / part, outside)
    outcome = in_child(lambda: world.predict_shards(folder))
    assert outcome.fine, outcome.detail
    assert untouched(outside)


def test_a_workers_log_is_not_written_through_a_link(outside: Path, tmp_path: Path) -> None:
    paths = PredictionPaths(tmp_path / "predicted")
    paths.shards.mkdir(parents=True)
    paths.worker_log(0).symlink_to(outside / "file")
    engine = LocalShards(paths.path, 1, False, paths.worker_log)
    with pytest.raises(RunError, match=r"worker-0\.log: is a link"):
        engine.start(0)
    assert untouched(outside)


def test_a_plan_that_reads_other_files_than_were_asked_for(world: World, tmp_path: Path) -> None:
    folder, secret = tmp_path / "predicted", tmp_path / "secret.csv"
    shutil.copytree(world.folder / "predicted", folder)
    shutil.copy(world.folder / "moods.csv", secret)
    plan = json.loads((folder / "plan.json").read_text())
    plan["files"][0]["path"] = str(secret)
    (folder / "plan.json").write_text(json.dumps(plan))
    outcome = in_child(lambda: world.predict_shards(folder))
    assert outcome.kind == REFUSED and "of other files than its order" in outcome.detail, outcome.detail


def test_a_graph_reads_no_weights_from_elsewhere(world: World, outside: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    place = tmp_path / "graphs"
    shutil.copytree(world.graphs, place)
    graph = onnx.load(place / "onnx" / "model.onnx")
    weights = max(graph.graph.initializer, key=lambda each: len(each.raw_data))
    (outside / "file").write_bytes(weights.raw_data)
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="../../outside/file")
    (place / "onnx" / "model.onnx").write_bytes(graph.SerializeToString())
    with pytest.raises(CheckpointError, match=r"model\.onnx: is not a whole ONNX graph"):
        pk.load(place, engine="onnx")


@pytest.mark.parametrize("part", ["row", "run", "log"])
def test_links_to_the_runs_of_a_study(part: str, world: World, outside: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    shutil.copytree(world.folder / "study", folder)
    run = min(folder.glob("runs/*/*"))
    (run / "results.json").unlink()  # so that there is something to be done
    lead_out({"row": run.parent, "run": run,
              "log": folder / "configs" / f"{run.parent.name}-{run.name}.log"}[part], outside)
    outcome = in_child(lambda: compare(world.folder / "study.toml", folder, quiet=True, engine=Inline())
                       and None)
    assert outcome.kind == REFUSED and "is a link to" in outcome.detail, (outcome.kind, outcome.detail)
    assert untouched(outside)


def test_a_link_to_the_trial_of_a_sweep(world: World, outside: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    shutil.copytree(world.folder / "sweep", folder)
    (folder / "trials" / "0002").symlink_to(outside)
    file = world.folder / "sweep.toml"
    table = file.read_text().replace("[1e-5, 1e-2]", "[1e-5, 1e-2, 1e-3]")
    (tmp_path / "sweep.toml").write_text(table)
    (tmp_path / "base.toml").write_text((world.folder / "base.toml").read_text())
    for each in (file, tmp_path / "sweep.toml"):
        outcome = in_child(lambda: sweep(each, folder, quiet=True, engine=Inline()) and None)  # noqa: B023
        assert outcome.fine, outcome.detail
        assert untouched(outside)


@pytest.mark.parametrize("part", ["checkpoints", "predictions", "artifacts", "events.jsonl", "best",
                                  ".lock"])
def test_links_in_a_run_that_is_resumed(part: str, world: World, outside: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(world.run, folder)
    (folder / "results.json").unlink()
    lead_out(folder / part, outside)
    outcome = in_child(lambda: train(Run.from_table(world.table(save_every=1)), folder, resume=True,
                                     quiet=True))
    assert outcome.kind == REFUSED and "is a link to" in outcome.detail, (outcome.kind, outcome.detail)
    assert untouched(outside)


@pytest.mark.parametrize("part", ["trackers", "trackers/tensorboard"])
def test_links_in_the_place_of_a_tracker(part: str, world: World, outside: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(world.run, folder)
    (folder / "trackers").mkdir()
    (folder / "trackers" / "tensorboard").mkdir()
    lead_out(folder / part, outside)
    with pytest.raises(RunError, match="is a link to"):
        log(folder, "tensorboard")
    assert untouched(outside)


@pytest.mark.parametrize("part", ["onnx", "README.md", "onnx/model.onnx"])
def test_links_where_an_export_is_written(part: str, world: World, outside: Path, tmp_path: Path,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(world.graphs / "onnx" / "model.onnx")
    monkeypatch.setattr(onnx_folder, "export_graph", lambda *given: graph)
    folder = tmp_path / "run"
    shutil.copytree(world.run, folder)
    if part.startswith("onnx/"):
        (folder / "model" / "onnx").mkdir()
    lead_out(folder / "model" / part, outside)
    # A link in the place of the card is refused, as it is by push.
    expected = REFUSED if part == "README.md" else RIGHT
    assert in_child(lambda: export(folder, rows=4) and None).kind == expected
    assert untouched(outside)


def _index_outside(encoder: Path) -> None:
    (encoder / "model.safetensors").rename(encoder.parent / "w.safetensors")
    (encoder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {
        "a": "../w.safetensors"}}))


def _own_code(encoder: Path) -> None:
    config = json.loads((encoder / "config.json").read_text())
    config |= {"model_type": EVIL, "auto_map": {"AutoModel": f"{EVIL}.Model", "AutoConfig": f"{EVIL}.C"}}
    (encoder / "config.json").write_text(json.dumps(config))


def _own_tokenizer(encoder: Path) -> None:
    (encoder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": f"{EVIL}.T", "auto_map": {"AutoTokenizer": [f"{EVIL}.T", None]}}))


def _own_modules(encoder: Path) -> None:
    (encoder / "modules.json").write_text(json.dumps([
        {"idx": 0, "name": "0", "path": "", "type": f"{EVIL}.Transformer"},
        {"idx": 1, "name": "1", "path": "../x", "type": f"{EVIL}.Pooling"}]))


def _a_pickle(encoder: Path) -> None:
    (encoder / "model.safetensors").rename(encoder / "pytorch_model.bin")


CHECKPOINTS: dict[str, Callable[[Path], Any]] = {
    "weights outside": _index_outside, "code of its own": _own_code,
    "a tokenizer of its own": _own_tokenizer, "modules of its own": _own_modules, "a pickle": _a_pickle}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_strangers_checkpoint(name: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                ) -> None:
    encoder, mark = tmp_path / "encoder", tmp_path / "it-ran"
    shutil.copytree(world.folder / "encoder", encoder)
    (tmp_path / "here").mkdir()
    for place in (encoder, tmp_path, tmp_path / "here"):
        (place / f"{EVIL}.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    monkeypatch.chdir(tmp_path / "here")
    CHECKPOINTS[name](encoder)
    table = world.table()
    table["encoder"] = {"checkpoint": str(encoder)}
    outcome = in_child(lambda: train(Run.from_table(table), tmp_path / "run", quiet=True) and None)
    expected = (RIGHT, REFUSED) if name in ("a tokenizer of its own", "modules of its own") else (REFUSED,)
    assert outcome.kind in expected, (outcome.kind, outcome.detail)
    assert not mark.exists()
