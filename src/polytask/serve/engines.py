"""Which engine computes a folder's answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from polytask.core.errors import ConfigError
from polytask.serve.engine import ServedModel
from polytask.serve.settings import ServeSettings


def loader(settings: ServeSettings) -> Callable[[Path, str], ServedModel]:
    """Return what loads a run or model folder with the engine that the settings name."""
    def load(folder: Path, name: str) -> ServedModel:
        if settings.engine in ("auto", "torch"):
            from polytask.serve.torch_engine import load_torch

            return load_torch(folder, name, settings.threads)
        raise ConfigError(f'engine: "{settings.engine}" needs an exported graph; run '
                          f"`polytask export {folder} --to onnx` first")

    return load
