"""Writing that cannot be half done: aside, flushed, then renamed. And reading beside such a writer.

Only the process that may write a folder mends what a kill left in it (`recover`, `tidy`). A reader
changes nothing: it reads the folder that stands there, or its predecessor between the two renames.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from polytask.core.errors import RunError, StorageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")
# After which a file aside is nobody's, where there are no locks to tell.
ABANDONED_SECONDS = 24 * 3600
# How long a reader waits for a writer that replaces a folder again and again while it is read.
_PATIENCE_SECONDS, _PAUSE_SECONDS = 20.0, 0.01
_OLD = ".old"
# ".NAME.", what `tempfile` puts behind that, and an ending that no file of a user has by chance.
_ENDING = ".aside"
_ASIDE = re.compile(r"\.(?P<name>.+)\.[a-z0-9_]{8}\.aside")


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn what the disk refuses while writing `path` into a `StorageError`."""
    try:
        yield
    except OSError as error:
        why = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up",
               errno.EROFS: "the disk is read-only", errno.EACCES: "writing is not permitted"}
        reason = why.get(error.errno or 0, str(error))
        raise StorageError(f"{path}: could not be written, {reason}; what was there is intact") from None


def write_file(path: str | Path, content: str | bytes | Callable[[Path], None]) -> None:
    """Write a file aside, flush it to disk and rename it over `path`.

    `content` is text, bytes, or a function that writes the path it is given.
    """
    path = Path(path)
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write_file(path, content)
        except FileNotFoundError:
            # A training that starts in this folder takes what is written aside for a leftover.
            _write_file(path, content)


def _write_file(path: Path, content: str | bytes | Callable[[Path], None]) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_ENDING, dir=path.parent)
    os.close(handle)
    aside = Path(name)
    try:
        if callable(content):
            content(aside)
        else:
            aside.write_bytes(content.encode() if isinstance(content, str) else content)
        _put_in_place(aside, path)
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


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
    asides: dict[str, Path] = {}
    held: list[int] = []
    with storing(Path(os.path.commonpath(list(paths.values())))):
        try:
            for name, path in paths.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                tidy(path.parent, [path.name], abandoned=True)
                handle, asides[name] = _held_aside(path)
                if fcntl is None:  # a system that renames no open file
                    os.close(handle)
                else:  # locked until it stands in its place, so that none takes it for abandoned
                    held.append(handle)
            yield asides
            for name, path in paths.items():
                _put_in_place(asides[name], path)
        finally:
            for written in asides.values():
                with suppress(OSError):
                    written.unlink(missing_ok=True)
            for handle in held:
                os.close(handle)


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
        aside = make_aside(path)
        try:
            yield aside
            for each in aside.rglob("*"):
                if each.is_file():
                    _flush(each)
            aside.chmod(0o777 & ~_umask())
            if path.exists() or path.is_symlink():
                remove(old)
                path.rename(old)
            aside.rename(path)
            remove(old)
        finally:
            remove(aside)


def make_aside(path: Path) -> Path:
    """Make an empty folder beside `path`, of a name that `leftovers` knows."""
    return Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=_ENDING, dir=path.parent))


def recover(path: str | Path) -> None:
    """Finish what a kill inside `write_folder` left: put `.NAME.old` back if `path` is gone.

    Only for the process that may write `path`: beside a writer at work it would undo a rename.
    """
    path = Path(path)
    old = standing_aside(path)
    if old.exists():
        if path.exists():
            remove(old)
        else:
            old.rename(path)


def recover_all(folder: Path) -> None:
    """Call `recover` for everything in a folder that has a predecessor standing aside."""
    for path in leftovers(folder):
        if path.name.endswith(_OLD):
            recover(folder / path.name.removesuffix(_OLD).removeprefix("."))


def _held_aside(path: Path) -> tuple[int, Path]:
    """Open a file beside `path`, locked while it is open: a killed writer's is known by having no lock."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_ENDING, dir=path.parent)
        if fcntl is None:
            return handle, Path(name)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.path.exists(name):  # else another program was quicker than the lock, and removed it
            return handle, Path(name)
        os.close(handle)


def _remove_abandoned(path: Path) -> None:
    """Remove a file of `_held_aside` that no process is writing any more."""
    with suppress(OSError):
        if fcntl is None:
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                remove(path)
            return
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(path)  # while the lock is held, so that its writer cannot take it in between


def tidy(folder: Path, names: Iterable[str] | None = None, abandoned: bool = False) -> None:
    """Remove what killed writers left aside in a folder; only those of the named files where given.

    abandoned: leave alone what a `write_asides` is writing at this moment.
    """
    wanted = None if names is None else set(names)
    for path in leftovers(folder):
        match = _ASIDE.fullmatch(path.name)
        if match and (wanted is None or match["name"] in wanted):
            (_remove_abandoned if abandoned else remove)(path)


def leftovers(folder: Path) -> list[Path]:
    """Return what stands aside in a folder: being written, or left by a kill."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _ASIDE.fullmatch(path.name) or (
        path.name.startswith(".") and path.name.endswith(_OLD) and path.is_dir()))


def remove(path: Path) -> None:
    """Remove a file, a link or a folder; what cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def standing(path: str | Path) -> Path:
    """Return where a folder of `write_folder` can be read: `path`, or between renames its predecessor."""
    path = Path(path)
    old = standing_aside(path)
    return old if not path.exists() and old.exists() else path


def read_folder(path: str | Path, read: Callable[[Path], T]) -> T:
    """Return `read(folder)` of a folder that another process may be replacing, from one version of it.

    If the folder was replaced meanwhile, what was read may be of both versions: it is read again. Raises
    what `read` raises for a folder that stands still, and `RunError` for one that never does.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        place = standing(path)
        before = _version(place)
        try:
            value = read(place)
        except Exception:
            if _version(place) == before and standing(path) == place:
                raise
        else:
            if _version(place) == before:
                return value
        if time.monotonic() > deadline:
            raise RunError(f"{path}: was replaced each time it was read, for {_PATIENCE_SECONDS:.0f} s; "
                           "read it when the training has ended")
        time.sleep(_PAUSE_SECONDS)


def _version(path: Path) -> tuple[int, ...] | None:
    """Return what tells a folder from the one that takes its place."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino, about.st_mtime_ns


def standing_aside(path: Path) -> Path:
    """Return where `write_folder` puts the folder that stood at `path`, until the new one stands there."""
    return path.with_name(f".{path.name}{_OLD}")


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
