"""Atomic writes: aside, flushed, then renamed; and reading while such a writer is at work.

A reader changes nothing: it reads a folder in place, or its predecessor between the two renames. What a
kill left is repaired in `leftovers`.
"""

from __future__ import annotations

import errno
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from polytask.core.errors import RunError, StorageError
from polytask.core.leftovers import ENDING, meant, remove, standing_aside, tidy

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")
# How long a reader retries while a writer keeps replacing the folder that it reads.
_PATIENCE_SECONDS, _PAUSE_SECONDS = 20.0, 0.01
_ABSENCES = 3
_MOST_INTRUSIONS = 10


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn errors of the disk while writing `path` into a `StorageError`.

    What is written aside is named by the place that it is for.
    """
    try:
        yield
    except OSError as error:
        why = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up",
               errno.EROFS: "the disk is read-only", errno.EACCES: "writing is not permitted"}
        reason = why.get(error.errno or 0, str(error))
        raise StorageError(f"{meant(path)}: could not be written, {reason}; what was there is intact"
                           ) from None


def write_file(path: str | Path, content: str | bytes | Callable[[Path], None]) -> None:
    """Write a file aside, flush it to disk and rename it over `path`.

    `content` is text, bytes, or a function that writes the path it is given. What a killed process left of
    the file is removed.
    """
    path = Path(path)
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        tidy(path.parent, [path.name])
        with _aside_file(path) as aside:
            if callable(content):
                content(aside)
            else:
                aside.write_bytes(content.encode() if isinstance(content, str) else content)
            _put_in_place(aside, path)


def _put_in_place(aside: Path, path: Path) -> None:
    _flush(aside)
    aside.chmod(0o666 & ~_umask())
    aside.replace(path)


@contextmanager
def write_asides(paths: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """Give a file to write for each path; all are renamed into place at the end, or removed.

    Each has a name of its own, so that two programs may write one path at the same time. What a killed one
    left of such a path is removed.
    """
    with storing(Path(os.path.commonpath(list(paths.values())))), ExitStack() as stack:
        asides: dict[str, Path] = {}
        for name, path in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            tidy(path.parent, [path.name])
            asides[name] = stack.enter_context(_aside_file(path))
        yield asides
        for name, path in paths.items():
            _put_in_place(asides[name], path)


@contextmanager
def write_streams(paths: Mapping[str, Path]) -> Iterator[dict[str, IO[str]]]:
    """Give an open text file for each path; all are renamed into place at the end, or removed."""
    with write_asides(paths) as asides, ExitStack() as open_files:
        yield {name: open_files.enter_context(aside.open("w", encoding="utf-8", newline=""))
               for name, aside in asides.items()}


@contextmanager
def write_folder(path: str | Path) -> Iterator[Path]:
    """Give an empty folder to fill; on success it takes the place of `path`, else it is removed.

    A kill between the two renames leaves the old folder as `.NAME.old`; `recover` puts it back.
    """
    path = Path(path)
    old = standing_aside(path)
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        tidy(path.parent, [path.name])
        with aside_folder(path) as aside:
            yield aside
            for each in aside.rglob("*"):
                if each.is_file():
                    _flush(each)
            aside.chmod(0o777 & ~_umask())
            if path.exists() or path.is_symlink():
                remove(old)
                path.rename(old)
            _into_place(aside, path)
            remove(old)


def _into_place(aside: Path, path: Path) -> None:
    """Rename a folder; what another program puts at `path` between the two renames goes as the old one."""
    for patience in reversed(range(_MOST_INTRUSIONS)):
        try:
            aside.rename(path)
            return
        except OSError as error:
            if not patience or error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            remove(path)


@contextmanager
def aside_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside `path`, of a name that `leftovers` knows; remove it in the end.

    It is locked meanwhile, so that no other process takes it for what a killed one left.
    """
    with storing(path), _locked_aside(lambda: Path(tempfile.mkdtemp(
            prefix=f".{path.name}.", suffix=ENDING, dir=path.parent))) as aside:
        yield aside


@contextmanager
def _aside_file(path: Path) -> Iterator[Path]:
    """Give an empty file beside `path`, as `aside_folder` gives a folder."""
    def make() -> Path:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=ENDING, dir=path.parent)
        os.close(handle)
        return Path(name)

    with _locked_aside(make) as aside:
        yield aside


@contextmanager
def _locked_aside(make: Callable[[], Path]) -> Iterator[Path]:
    while True:
        aside = make()
        handle = _lock(aside)
        if aside.exists():
            break
        if handle is not None:  # another process was quicker than the lock, and removed it
            os.close(handle)
    try:
        yield aside
    finally:
        remove(aside)
        if handle is not None:
            os.close(handle)


def _lock(aside: Path) -> int | None:
    """Lock what was just made, and return its descriptor; None where it is gone, or locks are unknown."""
    if fcntl is None:  # a system that renames no open file
        return None
    try:
        handle = os.open(aside, os.O_RDONLY)
    except OSError:
        return None
    with suppress(OSError):  # a file system without locks
        fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def standing(path: str | Path) -> Path:
    """Return where a folder of `write_folder` can be read: `path`, or between renames its predecessor."""
    path = Path(path)
    old = standing_aside(path)
    return old if not path.exists() and old.exists() else path


def read_folder(path: str | Path, read: Callable[[Path], T]) -> T:
    """Return `read(folder)` of a folder that another process may be replacing, from one version of it.

    If the folder was replaced meanwhile, what was read may be of both versions: it is read again. A folder
    that is not there may have been looked for between two renames: it is absent if it is so three times.
    Raises what `read` raises for a folder that stands still, and `RunError` for one that never does.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    absent = 0
    while True:
        place = standing(path)
        before = _version(place)
        absent += before is None
        try:
            value = read(place)
        except Exception:
            if _unchanged(path, place, before, absent):
                raise
        else:
            if _unchanged(path, place, before, absent):
                return value
        if time.monotonic() > deadline:
            raise RunError(f"{path}: kept being replaced while it was read, for {_PATIENCE_SECONDS:.0f} s; "
                           "read it when the training has ended")
        time.sleep(_PAUSE_SECONDS)


def _unchanged(path: str | Path, place: Path, before: tuple[int, ...] | None, absent: int) -> bool:
    if before is None:
        return absent >= _ABSENCES and standing(path) == place and _version(place) is None
    return _version(place) == before


def _version(path: Path) -> tuple[int, ...] | None:
    """Return what distinguishes a folder from its replacement."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino, about.st_mtime_ns


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, aside and renamed."""
    write_file(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def save_tensors(path: Path, tensors: Mapping[str, Any]) -> None:
    """Write a safetensors file; what the disk refuses is an `OSError` as of any other file."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(dict(tensors), path, metadata={"format": "pt"})
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error)) from None


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
