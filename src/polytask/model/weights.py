"""The tensors of a checkpoint folder: safetensors only, in one file or several, never a pickle."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from polytask.core.encoder_paths import EncoderPaths
from polytask.core.errors import CheckpointError
from polytask.core.json_files import read_json
from polytask.core.safe_paths import inside, refuse_special


class CheckpointWeights:
    """Reads tensors by name, without the prefix that a checkpoint with a head gives its encoder's."""

    def __init__(self, folder: Path, stack: ExitStack, prefix: str = "bert.") -> None:
        self.folder = folder
        self._places: dict[str, tuple[Path, Any, str]] = {}
        for path in _weight_files(folder):
            with _SafetensorsErrors(path):
                file = stack.enter_context(safe_open(path, framework="pt"))
                for key in file.keys():  # noqa: SIM118 (no iterator)
                    self._places[_modern(key).removeprefix(prefix)] = (path, file, key)
        self.num_bytes = sum(path.stat().st_size for path in {path for path, _, _ in self._places.values()})
        """The size of the files."""
        self.unread = set(self._places)
        """The names of the tensors that nobody asked for yet."""

    def has(self, name: str) -> bool:
        """Return whether there is a tensor of this name."""
        return name in self._places

    def read(self, name: str, shape: torch.Size) -> Tensor:
        """Return a tensor; raise `CheckpointError` where it is missing or of another kind."""
        if name not in self._places:
            raise CheckpointError(f"{self.folder}: the weights lack {name}")
        path, file, key = self._places[name]
        with _SafetensorsErrors(path):
            tensor: Tensor = file.get_tensor(key)
        if tensor.shape != shape:
            raise CheckpointError(f"{path}: found {key} of shape {tuple(tensor.shape)}, expected "
                                  f"{tuple(shape)} by config.json")
        if not tensor.is_floating_point():
            raise CheckpointError(f"{path}: found {key} in {tensor.dtype}, expected floating point")
        refuse_not_finite(tensor, key, path)
        self.unread.discard(name)
        return tensor


def refuse_not_finite(tensor: Tensor, name: str, path: Path) -> None:
    """Raise `CheckpointError` for a tensor with NaN or infinity: what is computed from it means nothing."""
    # The sum of such a tensor is not finite either, and the quicker one to compute; others may overflow.
    if not math.isfinite(float(tensor.sum())) and not tensor.isfinite().all():
        bad = int((~tensor.isfinite()).sum())
        raise CheckpointError(f"{path}: {bad:,} of the {tensor.numel():,} numbers of {name} "
                              f"{'are' if bad > 1 else 'is'} NaN or infinite, expected finite weights")


def _modern(key: str) -> str:
    """Return a parameter's name with today's words for gamma and beta."""
    return re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", key))


class _SafetensorsErrors:
    """Turn what safetensors finds wrong with a file into a `CheckpointError` that names it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, SafetensorError | OSError):
            raise CheckpointError(
                f"{self.path}: is not a whole safetensors file ({error}); copy or download it again"
            ) from None


def _weight_files(folder: Path) -> Iterator[Path]:
    paths = EncoderPaths(folder)
    index = paths.weights_index
    if (single := paths.weights).exists():
        refuse_special(single, CheckpointError)
        yield single
    elif index.exists():
        try:
            names = sorted(set(read_json(index, CheckpointError)["weight_map"].values()))
            shards = [inside(folder, name, CheckpointError) for name in names]
        except (TypeError, KeyError, AttributeError):
            raise CheckpointError(f"{index}: is not an index of safetensors files") from None
        for path in shards:
            if not path.exists():
                raise CheckpointError(f"{path}: is missing, but {index.name} names it")
            refuse_special(path, CheckpointError)
            yield path
    elif paths.pickled_weights.exists():
        raise CheckpointError(
            f"{folder}: has its weights as pytorch_model.bin only, a pickle, which polytask does "
            "not load; convert it to safetensors (transformers: model.save_pretrained(folder))"
        )
    else:
        raise CheckpointError(f"{folder}: there is no model.safetensors")
