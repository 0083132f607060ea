"""`pk.load`: a run, a model folder or an export, computed by torch or by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from polytask.core.errors import ConfigError, MissingPackage, missing_dependency, nearest
from polytask.model.hub import fetched_model, is_address

if TYPE_CHECKING:
    from polytask.inference.contract import Predictor
    from polytask.inference.onnx_model import OnnxModel
    from polytask.inference.predictor import Model

ENGINES = ("torch", "onnx", "int8")


@overload
def load(folder: str | Path, engine: Literal["torch"] = ..., trust: bool = ...) -> Model: ...
@overload
def load(folder: str | Path, engine: Literal["onnx", "int8"], trust: bool = ...) -> OnnxModel: ...
@overload
def load(folder: str | Path, engine: str, trust: bool = ...) -> Predictor[Any]: ...
def load(folder: str | Path, engine: str = "torch", trust: bool = False) -> Predictor[Any]:
    """Read a run's best model, a model folder, an export, or one of these on the hub.

    folder: a path, or "hf://user/name", "hf://user/name@revision".

    engine: "torch" computes the model itself; "onnx" and "int8" run its exported graphs with ONNX
    Runtime and import no torch. All answer alike: `predict`, `predict_all`, `embed`, `tasks`.

    trust: import the modules that the folder names for components of someone's own; a graph has none.

    Raises `ConfigError` for another engine, `RunError` where there is no model or no export.
    """
    if engine not in ENGINES:
        raise ConfigError(f'engine: found "{engine}", expected torch, onnx or int8'
                          f"{nearest(engine, ENGINES)}")
    if is_address(folder):
        folder = fetched_model(str(folder), engine)
    if engine == "torch":
        try:
            from polytask.inference.predictor import load as load_torch
        except ModuleNotFoundError as error:
            if (package := missing_dependency(error)) is None:
                raise
            raise MissingPackage(f"{folder}: engine torch", package) from None
        return load_torch(folder, trust)
    from polytask.inference.onnx_model import load_onnx

    return load_onnx(folder, int8=engine == "int8")
