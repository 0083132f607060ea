"""Models on the hub, by their address: hf://user/name, or hf://user/name@revision.

What is fetched is JSON, safetensors, tokenizers and graphs, never a pickle. Needs no torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from polytask.core.encoder_paths import (
    BESIDE_GRAPHS,
    GRAPH_FILES,
    MODEL_FILES,
    TASKS,
    EncoderPaths,
    hub_revision,
)
from polytask.core.errors import CheckpointError, RunError
from polytask.core.paths import ModelPaths
from polytask.core.safe_paths import refuse_special

HUB = "hf://"
# What each engine needs; `serve --engine auto` looks at all of it before it chooses.
_TORCH_FILES = (*MODEL_FILES, f"*/{TASKS}")
_ENGINE_FILES = {"torch": _TORCH_FILES, "auto": (*_TORCH_FILES, *GRAPH_FILES),
                 "onnx": (GRAPH_FILES[0], *BESIDE_GRAPHS), "int8": (GRAPH_FILES[1], *BESIDE_GRAPHS)}
_COMMIT = re.compile(r"[0-9a-f]{40}")


def is_address(place: str | Path) -> bool:
    """Return whether a place is on the hub."""
    return isinstance(place, str) and place.startswith(HUB)


def parsed(address: str) -> tuple[str, str | None]:
    """Return the repository and revision of an address. Raises `CheckpointError` for any other text."""
    name, at, revision = address.removeprefix(HUB).partition("@")
    if len(name.split("/")) != 2 or not all(name.split("/")) or (at and not revision.strip()):
        raise CheckpointError(f"{address}: is not the address of a model; expected hf://user/name, or "
                              "hf://user/name@revision")
    return name, revision or None


def is_commit(revision: str) -> bool:
    """Return whether a revision is a commit, which no push can move."""
    return _COMMIT.fullmatch(revision) is not None


def commit_of(folder: Path) -> str | None:
    """Return the commit whose files a folder of the hub's cache holds; None for any other folder."""
    return folder.name if folder.parent.name == "snapshots" and is_commit(folder.name) else None


def fetched(address: str, patterns: Sequence[str], pinned: str | None = None) -> Path:
    """Return the local folder of those files of a repository that match the patterns.

    pinned: a revision that replaces the one in the address. Raises `CheckpointError` for what cannot be
    downloaded.
    """
    name, revision = parsed(address)
    revision = pinned or revision
    return downloaded(name, revision, patterns, f"{address}:", {
        "revision": f'the hub has no revision "{revision}" of it',
        "name": "is not a name the hub allows",
        "repository": "the hub has no such model that you may read; log in (hf auth login) if it is "
                      "private",
        "offline": "is not downloaded already, and the hub cannot be reached"})


def downloaded(name: str, revision: str | None, patterns: Sequence[str], place: str,
               why: Mapping[str, str]) -> Path:
    """Return the local folder of those files of the repository `name` that match the patterns.

    Raises `CheckpointError` that begins with `place`; `why` has what it says of a "revision", "name" or
    "repository" that the hub does not have, and of being "offline".
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    # The library reads this file to its end, which a device does not have.
    refuse_special(hub_revision(constants.HF_HUB_CACHE, name, revision), CheckpointError)
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(patterns)))
    except GatedRepoError:
        reason = "is gated on the hub; ask for access there and log in (hf auth login)"
    except RevisionNotFoundError:
        reason = why["revision"]
    except HFValidationError:
        reason = why["name"]
    except RepositoryNotFoundError:
        reason = why["repository"]
    except LocalEntryNotFoundError:
        reason = why["offline"]
    except UnicodeDecodeError as error:
        reason = f"has a damaged entry in the hub's cache ({error}); remove it there (hf cache rm)"
    except OSError as error:
        reason = f"could not be downloaded: {error}".splitlines()[0]
    except Exception as error:  # an answer that is cut short, no hub's, or leads out of the cache
        first = f"{error}".strip().splitlines()
        reason = f"could not be downloaded: {type(error).__name__}: {''.join(first[:1])[:300]}"
    raise CheckpointError(f"{place} {reason}") from None


def fetched_model(address: str, engine: str = "torch") -> Path:
    """Return the local folder of a polytask model on the hub, with the files that an engine needs.

    engine: "torch", "onnx", "int8", or "auto" for the files of all three.

    Raises `RunError` for a repository that is something else, saying what it is, and for one without the
    graph that the engine runs.
    """
    folder = fetched(address, _ENGINE_FILES[engine])
    paths = ModelPaths(folder)
    if not paths.tasks.is_file():
        if engine in ("onnx", "int8"):
            folder = fetched(address, MODEL_FILES)
        raise RunError(f"{address}: is not a polytask model: it has no {paths.tasks.name}; "
                       f"{described(folder, address)}")
    graph = paths.graph(engine == "int8")
    if engine in ("onnx", "int8") and not graph.is_file():
        raise RunError(f"{address}: has no {graph.relative_to(folder)}; export a copy: polytask export "
                       f"{address} --to onnx{' --int8' * (engine == 'int8')} --out FOLDER --check FILE")
    return folder


def described(folder: Path, address: str) -> str:
    """Return what a repository is instead, and what it is good for."""
    paths = EncoderPaths(folder)
    config = paths.config
    if not config.is_file():
        return "it has no config.json either, so it is not a model that polytask could start from"
    try:
        values = json.loads(config.read_text(encoding="utf-8"))
        kind, classes = str(values.get("model_type", "unknown")), values.get("architectures") or [""]
    except (ValueError, AttributeError, OSError):
        return "its config.json cannot be read"
    if str(classes[0]).endswith("ForSequenceClassification"):
        return f"it is a single classifier of transformers ({kind}), which transformers opens"
    what = "a sentence-transformers model" if paths.modules.is_file() else "a plain encoder"
    return f'it is {what} ({kind}): train from it with encoder.checkpoint = "{address}"'
