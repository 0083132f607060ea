"""Any encoder by its checkpoint: our BERT where it is one, else another library's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn

from polytask.core.errors import CheckpointError
from polytask.model.bert import Bert
from polytask.model.pretrained import checkpoint_folder, load_encoder, save_encoder


def load_any(name: str | Path, dropout: float | None = None,
             revision: str | None = None) -> tuple[nn.Module, Path, list[str]]:
    """Return an encoder, its tokenizer.json, and what is to be said about it.

    A `bert` is read by us; every other model type goes through transformers' AutoModel.
    """
    folder = checkpoint_folder(name, revision)
    if _model_type(folder) == "bert":
        bert, tokenizer = load_encoder(folder, dropout)
        return bert, tokenizer, [note.replace(str(folder), str(name)) for note in bert.notes]
    from polytask.model.transformers_encoder import load_backbone

    backbone, tokenizer = load_backbone(folder, dropout)
    return backbone, tokenizer, list(backbone.notes)


def save_any(encoder: Any, tokenizer: Path, folder: Path) -> None:
    """Write an encoder as a folder that transformers' AutoModel opens."""
    if isinstance(encoder, Bert):
        save_encoder(encoder, tokenizer, folder)
    else:
        encoder.save(tokenizer, folder)


def _model_type(folder: Path) -> str:
    path = folder / "config.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8")).get("model_type", "bert"))
    except OSError:
        raise CheckpointError(f"{folder}: is no checkpoint, it has no config.json") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: is not valid JSON ({error})") from None
