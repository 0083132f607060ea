"""Which engine computes a folder's answers."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from polytask.core.paths import ModelPaths, RunPaths
from polytask.serve.engine import ServedModel
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


def _fastest(folder: Path) -> str:
    """Return the fastest exact engine of a folder: its fp32 graph where one was exported, else torch."""
    places = (ModelPaths(folder), ModelPaths(RunPaths(folder).model))
    exported = any(place.graph(False).is_file() for place in places)
    return "onnx" if exported and find_spec("onnxruntime") is not None else "torch"
