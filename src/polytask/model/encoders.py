"""Any encoder by its checkpoint: on flat batches where its family is known, else through transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from polytask.core.encoder_paths import EncoderPaths
from polytask.core.errors import CheckpointError
from polytask.model.flat_config import flat_problem, readable_config, refusal
from polytask.model.flat_encoder import FlatEncoder
from polytask.model.pretrained import checkpoint_folder, load_encoder, read_config, save_encoder


def load_any(name: str | Path, dropout: float | None = None, own: bool = False
             ) -> tuple[nn.Module, Path, list[str]]:
    """Return an encoder, its tokenizer.json, and what is to be said about it.

    own: whether polytask saved it, so that a tensor without a place shows a damaged folder.

    A family of `families` runs on flat batches. What they do not know goes through transformers'
    AutoModel on padded ones, with a note that says why. Raises `CheckpointError` for what is no
    encoder or would give other numbers than it should.
    """
    folder = checkpoint_folder(name)
    # Left out it would give other numbers, and transformers would read the model that it names, anywhere.
    paths = EncoderPaths(folder)
    if (other := paths.peft_adapter).exists():
        raise CheckpointError(f"{other}: is an adapter of PEFT on another model; merge the two and save "
                              "the whole model")
    values = read_config(folder)
    with readable_config(str(paths.config)):
        if problem := refusal(values):
            raise CheckpointError(f"{paths.config}: {problem}")
        reason = flat_problem(values)
    if reason is None:
        encoder, tokenizer = load_encoder(folder, dropout, own)
        return encoder, tokenizer, [note.replace(str(folder), str(name)) for note in encoder.notes]
    from polytask.model.transformers_encoder import load_backbone

    backbone, tokenizer = load_backbone(folder, dropout, own)
    return backbone, tokenizer, [*backbone.notes, f"{name}: {reason}"]


def save_any(encoder: Any, tokenizer: Path, folder: Path) -> None:
    """Write an encoder as a folder that transformers' AutoModel opens."""
    if isinstance(encoder, FlatEncoder):
        save_encoder(encoder, tokenizer, folder)
    else:
        encoder.save(tokenizer, folder)
