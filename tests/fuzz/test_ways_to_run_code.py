"""Every way by which a stranger's folder may bring in code, and what comes of it: none of it runs.

`WAYS` is the table: a way, the part of polytask that reads it, how each use of that part ends. The modules
that the ways name lie in every folder in which one could look for them, and leave a mark when they run.
Studies, sweeps, pushes and exports have theirs in tests/runs/test_trust.py and test_hostile_sweep.py.
"""

from __future__ import annotations

import json
import os
import pickle
import py_compile
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import tomli_w
import torch
from fuzz_child import RIGHT, in_child
from fuzz_mutations import EVIL
from fuzz_world import COMMIT, HUB_NAME, World
from pyarrow import parquet
from safetensors.torch import load_file

import polytask as pk
from polytask.commands.evaluate import evaluate_run
from polytask.commands.show import show_run
from polytask.config import Run
from polytask.core.errors import PolytaskError
from polytask.core.toml import read_toml
from polytask.serve.engines import loader
from polytask.serve.settings import ServeSettings
from polytask.training.build import build

Use = Callable[[World, Path], Any]
OPENED, REFUSED = "opened", "refused"


def _start(world: World, place: Path) -> None:
    """Read a checkpoint, as a training does that starts from it."""
    table = world.table()
    table["encoder"] = {"checkpoint": str(place)}
    build(Run.from_table(table), quiet=True)


def _hub(world: World, place: Path) -> None:
    from huggingface_hub import constants

    constants.HF_HUB_CACHE = str(place)
    pk.load(f"hf://{HUB_NAME}")


def _evaluate_twice(world: World, place: Path) -> None:
    """Fill a cache, put objects into every array of it, and read it again."""
    os.environ["POLYTASK_CACHE"] = str(place / "cache")
    evaluate_run(world.run)
    arrays = [*(place / "cache").rglob("*.npy")]
    assert arrays
    for file in arrays:
        file.chmod(0o600)
        shutil.copy(place / "objects.npy", file)
    evaluate_run(world.run)


USES: dict[str, dict[str, Use]] = {
    "model": {"load": lambda world, place: pk.load(place).predict("moods", ["a bee"]),
              "serve": lambda world, place: loader(ServeSettings())(place, "a"),
              "evaluate": lambda world, place: evaluate_run(place), "start": _start},
    "run": {"evaluate": lambda world, place: evaluate_run(place),
            "load": lambda world, place: pk.load(place),
            "show": lambda world, place: [*show_run(place)],
            "report": lambda world, place: pk.report([place], plots=False)},
    "resume": {"resume": lambda world, place: pk.train(
        Run.from_table(world.table(save_every=1)), place, resume=True, quiet=True)},
    "encoder": {"start": _start},
    "graphs": {"load": lambda world, place: pk.load(place, engine="onnx")},
    "hub": {"load": _hub},
    "data": {"evaluate": lambda world, place: evaluate_run(world.run, data=place / "rows.parquet",
                                                           task="moods")},
    "cache": {"evaluate": _evaluate_twice},
}


@dataclass(frozen=True)
class Way:
    """A change of a copy of one part of the world, and how the uses of that part end, in their order."""

    part: str
    change: Callable[[Path, Path], Any]
    ends: tuple[str, ...]


class Payload:
    """Leaves the mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (open, (str(self.mark), "w"))


def _json(file: Path, change: Callable[[Any], Any]) -> None:
    table = json.loads(file.read_text())
    change(table)
    file.write_text(json.dumps(table))


# ---- what a model's folder names

def _task(**changes: Any) -> Callable[[Path, Path], None]:
    return lambda run, mark: _json(run / "model" / "tasks.json",
                                   lambda table: table["tasks"]["moods"].update(changes))


def _model(change: Callable[[Path, Path], Any], load: str = REFUSED, evaluate: str = REFUSED) -> Way:
    return Way("model", change, (load, load, evaluate, load))


def _head_config(run: Path, mark: Path) -> None:
    _json(run / "model" / "heads" / "moods" / "config.json",
          lambda table: table.update(pooling={"type": f"{EVIL}:Pool"}))


def _adapter(run: Path, mark: Path) -> None:
    (run / "model" / "adapters" / "moods").mkdir(parents=True)
    (run / "model" / "adapters" / "moods" / "config.json").write_text(
        json.dumps({"type": {"type": f"{EVIL}:Adapter"}}))


def _compiled_only(run: Path, mark: Path) -> None:
    """A module without its source: named, and to be found in __pycache__ and beside it."""
    cached = f"spare_compiled.{sys.implementation.cache_tag}.pyc"
    for folder in (run, run / "model", Path.cwd()):
        for name in ("spare_compiled.pyc", f"__pycache__/{cached}"):
            py_compile.compile(str(folder / f"{EVIL}.py"), str(folder / name))
    _task(head={"type": "spare_compiled:Head"})(run, mark)


def _beside(run: Path, mark: Path) -> None:
    """Files that other programs run or unpickle, beside what is read."""
    code = (run / f"{EVIL}.py").read_text()
    for folder in (run, run / "model", run / "model" / "heads" / "moods"):
        for name in ("__init__.py", "conftest.py", "setup.py", "sitecustomize.py", "usercustomize.py",
                     "modeling_bert.py", "tokenization_bert.py", "handler.py", "own.pth"):
            (folder / name).write_text(code if name != "own.pth" else f"import {EVIL}\n")
        for name in ("optimizer.pt", "training_args.bin", "scheduler.pt", "model.joblib", "baseline.pkl",
                     "pytorch_model.bin"):
            (folder / name).write_bytes(pickle.dumps(Payload(mark)))
        (folder / "notebook.ipynb").write_text(json.dumps({"cells": [
            {"cell_type": "code", "source": code, "metadata": {}, "outputs": []}], "metadata": {},
            "nbformat": 4, "nbformat_minor": 5}))
        (folder / "settings.yaml").write_text(f"!!python/object/apply:open ['{mark}', w]\n")


def _card(run: Path, mark: Path) -> None:
    (run / "model" / "README.md").write_text(f"---\na: !!python/object/apply:open ['{mark}', w]\n---\n")


def _template(run: Path, mark: Path) -> None:
    _json(run / "model" / "tokenizer_config.json", lambda table: table.update(
        chat_template="{{ cycler.__init__.__globals__.os.system('touch " + str(mark) + "') }}"))


# ---- what a run's config names

def _config(**changes: Any) -> Callable[[Path, Path], None]:
    def change(run: Path, mark: Path) -> None:
        table = read_toml(run / "config.toml")
        for key, value in changes.items():
            part, _, inner = key.partition("__")
            (table["tasks"]["moods"] if part == "task" else table[part])[inner] = value
        (run / "config.toml").write_text(tomli_w.dumps(table))
    return change


def _run(change: Callable[[Path, Path], Any], report: str = OPENED) -> Way:
    return Way("run", change, (REFUSED, OPENED, OPENED, report))


def _objects_in_artifacts(run: Path, mark: Path) -> None:
    np.savez(run / "artifacts" / "artifacts.npz", a=np.array([Payload(mark)], dtype=object))


def _python_in_events(run: Path, mark: Path) -> None:
    with (run / "events.jsonl").open("a") as file:
        file.write(json.dumps({"event": "step", "py/object": f"{EVIL}.Evil", "__class__": f"{EVIL}.Evil",
                               "$tensor": f"{EVIL}:x"}) + "\n")


def _pickled_state(run: Path, mark: Path) -> None:
    (run / "results.json").unlink()
    for file in (run / "checkpoints" / "last").glob("*.safetensors"):
        file.write_bytes(pickle.dumps(Payload(mark)))


def _objects_in_state(run: Path, mark: Path) -> None:
    (run / "results.json").unlink()
    _json(run / "checkpoints" / "last" / "state.json", lambda table: table["state"]["$dict"].append(
        ["random", {"py/object": f"{EVIL}.Evil", "$type": f"{EVIL}:Evil"}]))


# ---- an encoder's folder

def _encoder_config(**changes: Any) -> Callable[[Path, Path], None]:
    return lambda encoder, mark: _json(encoder / "config.json", lambda table: table.update(changes))


def _encoder(change: Callable[[Path, Path], Any], end: str) -> Way:
    return Way("encoder", change, (end,))


def _tokenizer_settings(encoder: Path, mark: Path) -> None:
    (encoder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": f"{EVIL}.T", "auto_map": {"AutoTokenizer": [f"{EVIL}.T", f"{EVIL}.T"]}}))


def _tokenizer_type(encoder: Path, mark: Path) -> None:
    _json(encoder / "tokenizer.json", lambda table: table.update(
        pre_tokenizer={"type": "Custom", "module": EVIL}))


def _modules(encoder: Path, mark: Path) -> None:
    (encoder / "modules.json").write_text(json.dumps([
        {"idx": 0, "name": "0", "path": "", "type": f"{EVIL}.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Dense", "type": f"{EVIL}.Dense"}]))
    (encoder / "1_Dense").mkdir()
    (encoder / "1_Dense" / "config.json").write_text(json.dumps({"activation_function": f"{EVIL}.f"}))
    (encoder / "1_Dense" / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(mark)))


def _pickle_for_weights(encoder: Path, mark: Path) -> None:
    (encoder / "model.safetensors").unlink()
    (encoder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(mark)))


def _archive_for_weights(encoder: Path, mark: Path) -> None:
    (encoder / "model.safetensors").unlink()
    torch.save({"a": Payload(mark)}, encoder / "pytorch_model.bin")


def _pickle_called_safetensors(encoder: Path, mark: Path) -> None:
    (encoder / "model.safetensors").write_bytes(pickle.dumps(Payload(mark)))


def _index_of_pickles(encoder: Path, mark: Path) -> None:
    names = [*load_file(encoder / "model.safetensors")]
    (encoder / "model.safetensors").unlink()
    (encoder / "part-1.bin").write_bytes(pickle.dumps(Payload(mark)))
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        (encoder / index).write_text(json.dumps({"weight_map": dict.fromkeys(names, "part-1.bin")}))


def _other_kind(encoder: Path, **changes: Any) -> None:
    """Make it a kind of encoder that transformers reads, with weights of its own."""
    import transformers
    from transformers.models.ernie import modeling_ernie  # noqa: F401 (before the fork)

    torch.manual_seed(1)
    sizes = json.loads((encoder / "config.json").read_text())
    small = transformers.ErnieConfig(vocab_size=sizes["vocab_size"], hidden_size=8, num_hidden_layers=1,
                                     num_attention_heads=2, intermediate_size=16)
    transformers.ErnieModel(small).save_pretrained(encoder)
    _json(encoder / "config.json", lambda table: table.update(changes))


def _other(end: str, **changes: Any) -> Way:
    return _encoder(lambda encoder, mark: _other_kind(encoder, **changes), end)


def _peft(encoder: Path, mark: Path) -> None:
    _other_kind(encoder)
    (encoder / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "base_model_name_or_path": str(encoder), "auto_mapping": {
            "base_model_class": "Evil", "parent_library": EVIL}}))
    (encoder / "adapter_model.bin").write_bytes(pickle.dumps(Payload(mark)))


def _other_pickle(encoder: Path, mark: Path) -> None:
    _other_kind(encoder)
    _archive_for_weights(encoder, mark)


# ---- graphs, the hub's cache, data, our cache

def _operator_library(graphs: Path, mark: Path) -> None:
    import onnx

    graph = onnx.load(graphs / "onnx" / "model.onnx")
    graph.graph.node[0].domain, graph.graph.node[0].op_type = "own.domain", "Own"
    graph.opset_import.append(onnx.helper.make_opsetid("own.domain", 1))
    graph.metadata_props.add(key="custom_ops_library", value="libown.so")
    (graphs / "onnx" / "model.onnx").write_bytes(graph.SerializeToString())
    for folder in (graphs, graphs / "onnx"):
        (folder / "libown.so").write_bytes(b"\x7fELF")


def _graph_metadata(graphs: Path, mark: Path) -> None:
    import onnx

    graph = onnx.load(graphs / "onnx" / "model.onnx")
    for entry in graph.metadata_props:
        entry.value = entry.value.replace('"pooling"', f'"type": "{EVIL}:Evil", "pooling"').replace(
            '"logits": ', f'"head": "{EVIL}:Head", "logits": ', 1)
    (graphs / "onnx" / "model.onnx").write_bytes(graph.SerializeToString())


def _hub_model(place: Path, mark: Path) -> None:
    snapshot = next(place.glob(f"*/snapshots/{COMMIT}"))
    (snapshot / f"{EVIL}.py").write_text((place / f"{EVIL}.py").read_text())
    _json(snapshot / "tasks.json",
          lambda table: table["tasks"]["moods"].update(head={"type": f"{EVIL}:Head"}))


def _pickled_column(place: Path, mark: Path) -> None:
    """A column type that older versions of Arrow unpickle."""
    kind = {b"ARROW:extension:name": b"arrow.py_extension_type",
            b"ARROW:extension:metadata": pickle.dumps(Payload(mark))}
    schema = pyarrow.schema([pyarrow.field("text", pyarrow.string(), metadata=kind),
                             pyarrow.field("mood", pyarrow.string())])
    parquet.write_table(pyarrow.table({"text": ["a bee"] * 3, "mood": ["sad", "glad", "mad"]}, schema),
                        place / "rows.parquet")


def _objects(place: Path, mark: Path) -> None:
    np.save(place / "objects.npy", np.array([Payload(mark)], dtype=object), allow_pickle=True)


CODE = "__import__('os').system('touch it-ran')"
WAYS: dict[str, Way] = {
    "tasks.json: head": _model(_task(head={"type": f"{EVIL}:Head"})),
    "tasks.json: head as a text": _model(_task(head=f"{EVIL}:Head")),
    "tasks.json: pairing": _model(_task(pairing=f"{EVIL}:Pair")),
    "tasks.json: pooling": _model(_task(pooling={"type": f"{EVIL}:Pool"})),
    "tasks.json: module inside the folder": _model(_task(head={"type": f"model.{EVIL}:Head"})),
    "tasks.json: relative module": _model(_task(head={"type": f".{EVIL}:Head"})),
    "tasks.json: module by its path": _model(_task(head={"type": f"./{EVIL}.py:Head"})),
    "tasks.json: module that is loaded": _model(_task(head={"type": "os:system"})),
    "tasks.json: builtins": _model(_task(head={"type": "builtins:exec"})),
    "tasks.json: compiled module": _model(_compiled_only),
    "tasks.json: loss, which answers do not need": _model(_task(loss=[{"type": f"{EVIL}:Loss"}]),
                                                          OPENED, OPENED),
    "tasks.json: metric": _model(_task(metrics=[f"{EVIL}:f"]), OPENED),
    "heads/…/config.json: pooling": _model(_head_config),
    "adapters/…/config.json: type": _model(_adapter),
    "code, pickles, notebooks and YAML beside the model": _model(_beside, OPENED, OPENED),
    "README.md: a YAML tag": _model(_card, OPENED, OPENED),
    "tokenizer_config.json: a chat template": _model(_template, OPENED, OPENED),
    "config.toml: head": _run(_config(task__head=f"{EVIL}:Head")),
    "config.toml: loss": _run(_config(task__loss=f"{EVIL}:Loss")),
    "config.toml: metric": _run(_config(task__metrics=["accuracy", f"{EVIL}:f"])),
    "config.toml: weighting": _run(_config(train__weighting={"type": f"{EVIL}:W"})),
    "config.toml: schedule": _run(_config(train__schedule=f"{EVIL}:S")),
    "config.toml: surgery": _run(_config(train__surgery=f"{EVIL}:S")),
    "config.toml: surgery of a library": _run(_config(train__surgery="torchjd:sys.modules")),
    "config.toml: regularizer": _run(_config(train__regularizers=[f"{EVIL}:R"])),
    "config.toml: adapter": _run(_config(encoder__adapter=f"{EVIL}:A")),
    "config.toml: a formula": _run(_config(train__score=CODE)),
    "config.toml: a class name as a loss": _run(_config(task__loss="torch.nn.CrossEntropyLoss")),
    "config.toml: a data set's script": _run(_config(task__dev=f"hf://./{EVIL}/dev")),
    "artifacts.npz: objects": Way("run", _objects_in_artifacts, (OPENED, OPENED, OPENED, REFUSED)),
    "events.jsonl: objects": Way("run", _python_in_events, (OPENED,) * 4),
    "a checkpoint: pickles": Way("resume", _pickled_state, (REFUSED,)),
    "a checkpoint: objects in its state": Way("resume", _objects_in_state, (REFUSED,)),
    "config.json: auto_map": _encoder(_encoder_config(auto_map={"AutoModel": f"{EVIL}.M"}), REFUSED),
    "config.json: auto_map of a config alone": _encoder(
        _encoder_config(auto_map={"AutoConfig": f"{EVIL}.C"}), OPENED),
    "config.json: auto_map of an unknown kind": _encoder(
        _encoder_config(model_type=EVIL, auto_map={"AutoConfig": f"{EVIL}.C"}), REFUSED),
    "config.json: auto_map of another library's kind": _other(REFUSED, auto_map={
        "AutoConfig": f"{EVIL}.C", "AutoModel": f"{EVIL}.M"}),
    "config.json: auto_map of a config of another library's kind": _other(OPENED, auto_map={
        "AutoConfig": f"{EVIL}.C"}),
    "config.json: trust_remote_code": _other(OPENED, trust_remote_code=True),
    "config.json: an attention of the hub": _other(REFUSED, attn_implementation="own/kernel"),
    "config.json: a quantization": _other(REFUSED, quantization_config={"quant_method": EVIL}),
    "config.json: architectures": _other(OPENED, architectures=[f"{EVIL}.Model"]),
    "adapter_config.json of PEFT": _encoder(_peft, REFUSED),
    "tokenizer_config.json: auto_map and a class": _encoder(_tokenizer_settings, OPENED),
    "tokenizer.json: a type of its own": _encoder(_tokenizer_type, REFUSED),
    "modules.json of sentence-transformers": _encoder(_modules, OPENED),
    "pytorch_model.bin: a pickle": _encoder(_pickle_for_weights, REFUSED),
    "pytorch_model.bin: torch's archive": _encoder(_archive_for_weights, REFUSED),
    "pytorch_model.bin of another library's kind": _encoder(_other_pickle, REFUSED),
    "model.safetensors: a pickle": _encoder(_pickle_called_safetensors, REFUSED),
    "an index of pickles": _encoder(_index_of_pickles, REFUSED),
    "a graph: a library of operators": Way("graphs", _operator_library, (REFUSED,)),
    "a graph: its metadata": Way("graphs", _graph_metadata, (OPENED,)),
    "a model of the hub: tasks.json": Way("hub", _hub_model, (REFUSED,)),
    "a Parquet file: a pickled column type": Way("data", _pickled_column, (OPENED,)),
    "the cache: arrays of objects": Way("cache", _objects, (OPENED,)),
}


def _copy(part: str, world: World, place: Path) -> None:
    if part in ("data", "cache"):
        place.mkdir()
        return
    source = {"encoder": world.folder / "encoder", "hub": world.folder / "hub"}.get(part, world.run)
    shutil.copytree(world.graphs if part == "graphs" else source, place)


@pytest.mark.parametrize("name", WAYS)
def test_a_way_to_run_code(name: str, world: World, tmp_path: Path,
                           monkeypatch: pytest.MonkeyPatch) -> None:
    way, place, mark = WAYS[name], tmp_path / "copy", tmp_path / "it-ran"
    _copy(way.part, world, place)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    inner = (place / "model",) if (place / "model").is_dir() else ()
    for folder in (here, tmp_path, place, *inner):
        (folder / f"{EVIL}.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    way.change(place, mark)
    ends = tmp_path / "ends.json"

    def action() -> None:
        found = []
        for use in USES[way.part].values():
            try:
                use(world, place)
                found.append(OPENED)
            except PolytaskError:
                found.append(REFUSED)
        ends.write_text(json.dumps(found))

    outcome = in_child(action)
    assert not mark.exists() and not (here / "it-ran").exists()
    assert outcome.kind == RIGHT, outcome.detail
    assert tuple(json.loads(ends.read_text())) == way.ends, [*USES[way.part]]


def test_the_mark_is_left_where_code_does_run(world: World, tmp_path: Path) -> None:
    """Else none of the tests above could fail."""
    mark = tmp_path / "it-ran"
    outcome = in_child(lambda: pickle.loads(pickle.dumps(Payload(mark))) and None)
    assert outcome.kind == RIGHT and mark.exists()


def test_nothing_in_the_folder_that_one_is_in_is_run(world: World, tmp_path: Path) -> None:
    """Modules of the names of real ones, start-up files, and entry points that torch asks for."""
    place, mark = tmp_path / "run", tmp_path / "it-ran"
    shutil.copytree(world.run, place)
    code = f"open({str(mark)!r}, 'w').close()\n"
    for name in ("random", "json", "numpy", "torch", "tokenizers", "safetensors", "transformers",
                 "sitecustomize", "usercustomize", "conftest", "cli", "polytask_plugin", EVIL):
        (place / f"{name}.py").write_text(code)
    (place / "own.pth").write_text(f"import {EVIL}\n")
    about = place / "own-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 1.0\n")
    groups = ("torch.backends", "polytask", "console_scripts", "fsspec.specs", "huggingface_hub")
    (about / "entry_points.txt").write_text("".join(f"[{group}]\nown = {EVIL}:run\n" for group in groups))
    words = ["predict", ".", str(world.folder / "moods.csv"), "--task", "moods"]
    found = subprocess.run([sys.executable, "-m", "polytask", *words], cwd=place, capture_output=True,
                           text=True, timeout=120, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout.count("\n") == 25
    assert not mark.exists()


def test_the_page_counts_the_ways() -> None:
    ends = Counter(end for way in WAYS.values() for end in way.ends)
    page = " ".join((Path(__file__).parents[2] / "docs" / "reliability.md").read_text().split())
    assert f"a table of {len(WAYS)} ways" in page
    assert (f"{ends.total()} uses in all: {ends[OPENED]} open the folder and {ends[REFUSED]} refuse it"
            in page)
