"""Models on the hub, by their address: hf://user/name, or hf://user/name@revision.

What is fetched is JSON, safetensors, tokenizers and graphs, never a pickle. Needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from polytask.core.errors import CheckpointError, RunError
from polytask.core.paths import ModelPaths

HUB = "hf://"
MODEL_FILES = ("config.json", "model*.safetensors", "model.safetensors.index.json", "tokenizer.json",
               "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "modules.json",
               "sentence_bert_config.json", "config_sentence_transformers.json", "[0-9]_*/config.json",
               "[0-9]_*/model.safetensors", "tasks.json", "heads/*", "shared/*", "adapters/*", "README.md")
GRAPH_FILES = ("onnx/model.onnx", "onnx/model_qint8.onnx")


def is_address(place: str | Path) -> bool:
    """Return whether a place is on the hub."""
    return isinstance(place, str) and place.startswith(HUB)


def parsed(address: str) -> tuple[str, str | None]:
    """Return the name and the revision of an address; raise `CheckpointError` for what is none."""
    name, _, revision = address.removeprefix(HUB).partition("@")
    if len(name.split("/")) != 2 or not all(name.split("/")):
        raise CheckpointError(f"{address}: is no address of a model; expected hf://user/name, or "
                              "hf://user/name@revision")
    return name, revision or None


def fetched(address: str, patterns: Sequence[str]) -> Path:
    """Return the local folder of a repository's files that match; raise `CheckpointError` if it cannot."""
    name, revision = parsed(address)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(patterns)))
    except GatedRepoError:
        why = "is gated on the hub; ask for access there and log in (hf auth login)"
    except RevisionNotFoundError:
        why = f'the hub has no revision "{revision}" of it'
    except HFValidationError:
        why = "is no name that the hub allows"
    except RepositoryNotFoundError:
        why = "the hub has no such model that you may read; log in (hf auth login) if it is private"
    except LocalEntryNotFoundError:
        why = "is not downloaded already, and the hub cannot be reached"
    except OSError as error:
        why = f"could not be downloaded: {error}".splitlines()[0]
    raise CheckpointError(f"{address}: {why}") from None


def fetched_model(address: str, graphs: bool = False) -> Path:
    """Return the local folder of a polytask model on the hub; `graphs`: of its exported graphs alone.

    Raises `RunError` for a repository that is something else, and says what.
    """
    wanted = (*GRAPH_FILES, "tokenizer.json", "tasks.json", "README.md") if graphs else MODEL_FILES
    folder = fetched(address, wanted if graphs else (*wanted, "*/tasks.json"))
    if not ModelPaths(folder).tasks.is_file():
        if graphs:
            folder = fetched(address, MODEL_FILES)
        raise RunError(f"{address}: is no model of polytask, it has no tasks.json; "
                       f"{described(folder, address)}")
    return folder


def described(folder: Path, address: str) -> str:
    """Return what a repository is instead, and what it is good for."""
    config = folder / "config.json"
    if not config.is_file():
        return "it has no config.json either, so it is no model that polytask could start from"
    try:
        values = json.loads(config.read_text(encoding="utf-8"))
        kind, classes = str(values.get("model_type", "unknown")), values.get("architectures") or [""]
    except (ValueError, AttributeError, OSError):
        return "its config.json cannot be read"
    if str(classes[0]).endswith("ForSequenceClassification"):
        return f"it is a single classifier of transformers ({kind}), which transformers opens"
    what = "a sentence-transformers model" if (folder / "modules.json").is_file() else "a plain encoder"
    return f'it is {what} ({kind}): train from it with encoder.checkpoint = "{address}"'
