"""Which engine computes the answers of a folder, or of a loaded model."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polytask.core.paths import ModelPaths, RunPaths
from polytask.inference.contract import Predictor
from polytask.inference.onnx_model import OnnxModel
from polytask.serve.engine import ServedModel

if TYPE_CHECKING:
    from polytask.serve.settings import ServeSettings


def loader(settings: ServeSettings) -> Callable[[Path, str], ServedModel]:
    """Return what loads a run or model folder with the engine that the settings name."""
    def load(folder: Path, name: str) -> ServedModel:
        engine = _fastest(folder) if settings.engine == "auto" else settings.engine
        if engine == "torch":
            from polytask.serve.torch_engine import load_torch

            return load_torch(folder, name, settings.threads)
        from polytask.serve.onnx_engine import load_graph

        return load_graph(folder, name, engine, settings.threads)

    return load


def served(model: Predictor[Any]) -> ServedModel:
    """Return a loaded model as one that answers batches, by the engine that it was loaded with."""
    name = model.folder.resolve().name
    if isinstance(model, OnnxModel):
        from polytask.data.tokenization import Tokenizer
        from polytask.serve.onnx_engine import OnnxEngine

        return OnnxEngine(model, Tokenizer(model.tokenizer_file), name)
    from polytask.inference.predictor import Model
    from polytask.serve.torch_engine import TorchEngine

    assert isinstance(model, Model)
    return TorchEngine(model, name)


def _fastest(folder: Path) -> str:
    """Return the fastest exact engine of a folder: its fp32 graph where one was exported, else torch."""
    places = (ModelPaths(folder), ModelPaths(RunPaths(folder).model))
    exported = any(place.graph(False).is_file() for place in places)
    return "onnx" if exported and find_spec("onnxruntime") is not None else "torch"
