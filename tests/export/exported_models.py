"""Small models of every kind, each exported once for all tests: an export takes seconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from polytask.core.paths import ModelPaths
from polytask.data.labels import Labels
from polytask.export.int8 import quantized
from polytask.export.onnx import export_graph, graph_info, save_graph
from polytask.inference.onnx_model import OnnxModel
from polytask.inference.predictor import Model
from polytask.model.bert import Bert, BertConfig
from polytask.model.heads.cosine import Cosine
from polytask.model.heads.linear import Linear
from polytask.model.heads.mlp import MLP
from polytask.model.heads.shared import Shared
from polytask.model.pairings.bi_encoder import BiEncoder
from polytask.model.pairings.cross_bi_encoder import CrossBiEncoder
from polytask.model.pairings.cross_encoder import CrossEncoder
from polytask.model.pairings.single import Single
from polytask.model.pairings.twin import Twin
from polytask.model.poolings.cls import Cls
from polytask.model.poolings.max import Max
from polytask.model.poolings.mean import Mean
from polytask.model.poolings.pooler import Pooler
from polytask.tasks.model_folder import ModelFolder, load_model, new_model, save_model
from polytask.tasks.resolved_task import ResolvedTask

THREE = Labels("classes", ("bad", "fair", "good"))
ORDERED = Labels("ordinal", ("1", "2", "3", "4"))
TWO = Labels("binary", ("no", "yes"))
MANY = Labels("multi-label", ("x", "y", "z", "w"))
STARS = Labels("regression", low=1, high=5)
RAW = Labels("regression", low=-2, high=7, unit=False)

TEXTS = ["A gem.", "", "Not a word too many, and yet a film that says more than most do in three hours.",
         "No", "Dull, dull, dull: " + "and then they talk, and talk, and nothing at all comes of it " * 3,
         "A man eats soup.", "Ein Mann isst Suppe.", "x"]
PAIRS = [(text, TEXTS[-k]) for k, text in enumerate(TEXTS, 1)]


def task(name: str, labels: Labels, pairing: Any, pooling: Any, head: Any, outputs: int | None = None,
         max_length: int = 40) -> ResolvedTask:
    """Return a task of `a` (and `b`) without losses and metrics."""
    count = {"binary": 1, "regression": 1}.get(labels.kind, labels.num_classes)
    return ResolvedTask(name, ("a", "b")[:pairing.texts], "y", labels, pairing, pooling, head, (),
                        outputs or count, (), max_length)


def every_task() -> list[ResolvedTask]:
    """Return every head, pooling, pairing and kind of labels; some have names of torch's operations."""
    features = ("u", "v", "abs_diff", "product", "cosine")
    return [
        task("linear", THREE, Single(), Pooler(), Linear()),
        task("embedding", TWO, CrossEncoder(), Mean(), MLP(hidden=8, activation="gelu")),
        task("mean", TWO, Single(), Cls(), Linear(), outputs=2),
        task("labels-many", MANY, BiEncoder(features=features), Max(), Linear()),
        task("cosine", STARS, BiEncoder(), Mean(), Cosine()),
        task("same", TWO, BiEncoder(), Cls(), Cosine()),
        task("twin", STARS, Twin(), Mean(), Linear()),
        task("first", ORDERED, Single(), Mean(), Shared(hidden=8)),
        task("second", RAW, CrossEncoder(separator=False, segments=False), Pooler(), Shared(hidden=8)),
        task("together", TWO, CrossBiEncoder(), Mean(), Linear()),
        task("orders", STARS, CrossEncoder(symmetric=True), Mean(), Linear()),
        task("four", THREE, CrossBiEncoder(symmetric=True), Cls(), Linear()),
        task("wide", THREE, CrossEncoder(), Max(), MLP(hidden=96)),
    ]


@dataclass
class Exported:
    """A model folder with its graphs, opened by each engine."""

    folder: Path
    held: ModelFolder
    proto: Any
    torch: Model
    onnx: OnnxModel
    int8: OnnxModel


def saved(folder: Path, tokenizer: Path, tasks: list[ResolvedTask], default: Any, adapter: Any = None,
          thresholds: dict[str, float] | None = None, layers: int = 2) -> ModelFolder:
    """Write a model folder of a random narrow encoder and read it back."""
    torch.manual_seed(7)
    sizes = BertConfig(hidden_size=64, num_hidden_layers=layers, num_attention_heads=4,
                       intermediate_size=128, max_position_embeddings=64, initializer_range=0.08)
    model = new_model(Bert(sizes), {each.name: each for each in tasks}, default)
    if adapter is not None:
        adapter.attach(model, [each.name for each in tasks])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith(("task_heads", "shared", "encoder.adapter", "encoder.pooler")):
                parameter.normal_(std=0.2)
    named = {each.name: each for each in tasks}
    save_model(model, named, tokenizer, folder, thresholds or {}, "# A card\n")
    return load_model(folder)


def exported(held: ModelFolder, folder: Path) -> Exported:
    proto = export_graph(held.model, held.tasks, held.pooling, graph_info(held))
    for engine, each in {"onnx": proto, "int8": quantized(proto)}.items():
        save_graph(each, ModelPaths(folder).graph(engine == "int8"))
    engines = [OnnxModel(ModelPaths(folder).graph(int8), held.tokenizer, 1) for int8 in (False, True)]
    return Exported(folder, held, proto, Model(held, folder), *engines)
