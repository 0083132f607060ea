"""Exact checkpoints: tensors in safetensors, the rest in JSON, never a pickle.

`pack` takes a nested state (dicts, lists, tensors, numbers, strings) apart into a table of tensors
and a JSON skeleton; `unpack` puts it together again, types and all.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from polytask.core.atomic_files import save_tensors, write_folder
from polytask.core.errors import CheckpointError
from polytask.core.json_files import as_written, read_json
from polytask.core.paths import CheckpointPaths

SCHEMA = 1


def pack(value: Any, tensors: dict[str, Tensor], path: str = "") -> Any:
    """Return the JSON skeleton of `value`; its tensors go into `tensors` under their path."""
    if isinstance(value, Tensor):
        tensors[path] = value.detach().contiguous()
        return {"$tensor": path}
    if isinstance(value, dict):
        # JSON knows string keys alone; optimizer states are keyed by integers.
        return {"$dict": [[key, pack(entry, tensors, f"{path}/{key}")]
                          for key, entry in value.items()]}
    if isinstance(value, tuple):
        return {"$tuple": [pack(entry, tensors, f"{path}/{n}") for n, entry in enumerate(value)]}
    if isinstance(value, list):
        return [pack(entry, tensors, f"{path}/{n}") for n, entry in enumerate(value)]
    return value


def unpack(skeleton: Any, tensors: dict[str, Tensor]) -> Any:
    """Undo `pack`."""
    if isinstance(skeleton, dict):
        if "$tensor" in skeleton:
            return tensors[skeleton["$tensor"]]
        if "$tuple" in skeleton:
            return tuple(unpack(entry, tensors) for entry in skeleton["$tuple"])
        return {key: unpack(entry, tensors) for key, entry in skeleton["$dict"]}
    if isinstance(skeleton, list):
        return [unpack(entry, tensors) for entry in skeleton]
    return skeleton


def save_checkpoint(folder: str | Path, state: dict[str, Any]) -> None:
    """Write a state as a folder, in one rename."""
    tensors: dict[str, Tensor] = {}
    skeleton = pack(state, tensors)
    with write_folder(folder) as aside:
        paths = CheckpointPaths(aside)
        save_tensors(paths.tensors, _unshared(tensors))
        paths.state.write_text(json.dumps({"schema": SCHEMA, "state": skeleton}), encoding="utf-8")


def load_checkpoint(folder: str | Path) -> dict[str, Any]:
    """Read a state back; raise `CheckpointError` naming the file that is cut short or missing."""
    paths = CheckpointPaths(folder)
    for path in (paths.tensors, paths.state):
        if not path.is_file():
            raise CheckpointError(f"{path}: the checkpoint lacks this file")
    whole = read_json(paths.state, CheckpointError)
    try:
        tensors = load_file(paths.tensors)
    except (SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(f"{folder}: the checkpoint cannot be read ({error})") from None
    with as_written(paths.state, CheckpointError):
        if whole["schema"] != SCHEMA:
            raise CheckpointError(f"{folder}: found schema {str(whole['schema'])[:40]}, expected {SCHEMA}")
        state: dict[str, Any] = unpack(whole["state"], tensors)
        return state


def _unshared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Safetensors refuses tensors that share memory: those are copied."""
    seen: set[int] = set()
    loaded = {}
    for name, tensor in tensors.items():
        pointer = tensor.untyped_storage().data_ptr() if tensor.numel() else 0
        loaded[name] = tensor.clone() if pointer and pointer in seen else tensor
        seen.add(pointer)
    return loaded


def random_state() -> dict[str, Any]:
    """Return the state of every random number generator that training draws from."""
    state: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()  # of the device that this process computes on
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Put back what `random_state` returned."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
