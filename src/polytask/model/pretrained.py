"""Reads and writes checkpoints of flat families: a hub name, a folder, or a name of `packaged`.

What is read is safetensors and JSON, never a pickle. What is written opens with
`transformers.AutoModel.from_pretrained` and gives equal numbers there.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from polytask.core.atomic_files import save_tensors, storing, write_json
from polytask.core.encoder_paths import ENCODER_FILES, MODEL_FILES, EncoderPaths
from polytask.core.errors import CheckpointError
from polytask.core.json_files import read_json
from polytask.core.safe_paths import leads_outside
from polytask.data.wordpiece import tokenizer_file
from polytask.model.encoder_sizes import too_large
from polytask.model.families import FAMILIES, FlatFamily, build_flat, family_of, hugging_face_name
from polytask.model.flat_config import read_flat, written
from polytask.model.flat_encoder import FlatEncoder
from polytask.model.hub import downloaded, fetched, is_address
from polytask.model.packaged import PACKAGED
from polytask.model.weights import CheckpointWeights

LOG = logging.getLogger(__name__)


def load_encoder(name: str | Path, dropout: float | None = None, own: bool = False
                 ) -> tuple[FlatEncoder, Path]:
    """Read an encoder of a flat family and tell where its tokenizer.json is.

    `dropout` replaces every probability of the checkpoint's config. `notes` of the encoder say what
    the checkpoint lacks, and what it has that its config.json gives no place; of a checkpoint that
    polytask saved (`own`) such a tensor is refused.
    """
    folder = checkpoint_folder(name)
    place = EncoderPaths(folder).config
    config = read_flat(read_config(folder), str(place))
    family = FAMILIES[config.model_type]
    with ExitStack() as stack:
        weights = CheckpointWeights(folder, stack, family.prefix)
        if problem := too_large(config, weights.num_bytes):
            raise CheckpointError(f"{place}: {problem}")
        encoder = build_flat(config, pooler=family.pooler and weights.has(
            family.weight("pooler.dense.weight")))
        if encoder.pooler is None:
            encoder.notes.append(f'{name}: has no pooler, so pooling = "pooler" cannot be used')
        with torch.no_grad():
            for key, parameter in encoder.named_parameters():
                parameter.copy_(weights.read(family.weight(key), parameter.shape))
        if unplaced := sorted(key for key in weights.unread if own or _is_encoders(key, family)):
            nowhere = (f"{len(unplaced)} tensor{'s have' if len(unplaced) > 1 else ' has'} no place in the "
                       "network that config.json describes")
            if own:
                raise CheckpointError(f"{EncoderPaths(folder).weights}: {nowhere}, first {unplaced[0]}; "
                                      "expected the weights and the config that were saved together")
            left = "are" if len(unplaced) > 1 else "is"
            encoder.notes.append(f"{name}: {nowhere} and {left} left out, first {unplaced[0]}")
    if dropout is not None:
        encoder.set_dropout(dropout)
    return encoder.eval(), tokenizer_file(folder, config.vocab_size)


def _is_encoders(key: str, family: FlatFamily) -> bool:
    """Tell whether a tensor belongs to the encoder, rather than to a head or a table of indices."""
    places = {module.partition(".")[0] for module in (*family.modules.values(), family.layer)}
    return (key.partition(".")[0] in places - {"pooler"}
            and not key.endswith((".position_ids", ".token_type_ids")))


def checkpoint_folder(name: str | Path, revision: str | None = None) -> Path:
    """Return the local folder of a checkpoint; one of the hub is downloaded if need be."""
    LOG.info("%s: the checkpoint is looked for", name)
    if is_address(name):
        return fetched(str(name), MODEL_FILES, revision)
    folder = Path(name).expanduser()
    if name in PACKAGED and not folder.is_dir():
        return PACKAGED[str(name)].folder()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise CheckpointError(f"{name}: is a file, expected a checkpoint folder or a hub name")
    if isinstance(name, Path) or folder.is_absolute() or str(name).startswith((".", "~")):
        raise CheckpointError(f"{name}: there is no such folder")
    return _download(str(name), revision)


def _download(name: str, revision: str | None) -> Path:
    unknown = f"is neither a folder, nor a model on the hub that you may read, nor {_known()}"
    return downloaded(name, revision, ENCODER_FILES, f'encoder.checkpoint "{name}"', {
        "revision": f'has no revision "{revision}" on the hub', "name": unknown, "repository": unknown,
        "offline": "is neither a folder nor downloaded already, and the hub cannot be reached; give a "
                   f"folder, or {_known()}, which need no network"})


def _known() -> str:
    return " or ".join(f'"{name}"' for name in PACKAGED)


def read_config(folder: str | Path) -> dict[str, Any]:
    """Read the config.json of a checkpoint folder."""
    path = EncoderPaths(folder).config
    if not path.exists():
        raise CheckpointError(f"{path}: there is no such file, expected a checkpoint folder in "
                              "Hugging Face's layout")
    values = read_json(path, CheckpointError)
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected a JSON object")
    return values


def default_pooling(folder: str | Path) -> str:
    """Return the pooling that a checkpoint folder was trained with: sentence-transformers' note of
    it, else "pooler", or "mean" where the checkpoint has no pooler."""
    paths = EncoderPaths(folder)
    path = paths.pooling.config
    if path.exists():
        settings = read_json(path, CheckpointError)
        if not isinstance(settings, dict):
            raise CheckpointError(f"{path}: expected a JSON object")
        for kind in ("cls", "max", "mean"):
            old_key = f"pooling_mode_{kind}_token{'' if kind == 'cls' else 's'}"
            if settings.get("pooling_mode") == kind or settings.get(old_key):
                # A dense layer after the first token is how a model of ours writes its pooler.
                return "pooler" if kind == "cls" and paths.dense(0).path.is_dir() else kind
    family = family_of(read_config(folder))
    with ExitStack() as stack:
        weights = CheckpointWeights(Path(folder), stack, family.prefix if family else "")
        pooler = family.weight("pooler.dense.weight") if family and family.pooler else "pooler.dense.weight"
        return "pooler" if weights.has(pooler) and (family is None or family.pooler) else "mean"


def save_encoder(encoder: FlatEncoder, tokenizer: str | Path, folder: str | Path) -> None:
    """Write a checkpoint folder that `transformers.AutoModel` and `AutoTokenizer` open.

    The folder's other files are left alone; for all or nothing, write inside `write_folder`.
    """
    folder, tokenizer = Path(folder), Path(tokenizer)
    weights = {hugging_face_name(name, encoder.kind): value.detach().to("cpu", torch.float32).contiguous()
               for name, value in encoder.state_dict().items() if not name.startswith("adapter.")}
    paths = EncoderPaths(folder)
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(paths.config, written(encoder.config))
        _save(weights, paths.weights)
        copy_tokenizer(tokenizer, folder, encoder.max_length,
                       "BertTokenizer" if encoder.kind == "bert" else "PreTrainedTokenizerFast")


def copy_tokenizer(tokenizer: Path, folder: Path, max_length: int, kind: str) -> None:
    """Put a tokenizer.json into a folder, and beside it the settings that transformers reads.

    `kind` names transformers' class where the tokenizer comes without settings.
    """
    source, copy = EncoderPaths(tokenizer.parent), EncoderPaths(folder)
    if tokenizer.resolve() != copy.tokenizer.resolve():
        shutil.copyfile(tokenizer, copy.tokenizer)
    special = _own_settings(source.special_tokens)
    if special and tokenizer.parent.resolve() != folder.resolve():
        write_json(copy.special_tokens, special)
    known = _own_settings(source.tokenizer_settings)
    known.pop("auto_map", None)  # code of the checkpoint's own; whoever opens the copy would be offered it
    write_json(copy.tokenizer_settings, {"tokenizer_class": kind, **known, "model_max_length": max_length})


def _own_settings(path: Path) -> dict[str, Any]:
    """Return the settings in a file of a checkpoint; none where it is a link that leads out of the folder.

    What is copied may be published later: a stranger's link must not bring in a file of the user's.
    """
    if not path.exists() or leads_outside(path, path.parent):
        return {}
    values = read_json(path, CheckpointError)
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected a JSON object")
    return values


def _save(weights: Mapping[str, Tensor], path: Path) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_tensors(aside, weights)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
