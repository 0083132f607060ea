"""Writing that cannot be half done: aside, flushed, then renamed."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from polytask.core.errors import StorageError


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn what the disk refuses while writing `path` into a `StorageError`."""
    try:
        yield
    except OSError as error:
        why = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up",
               errno.EROFS: "the disk is read-only", errno.EACCES: "writing is not permitted"}
        said = why.get(error.errno or 0, str(error))
        raise StorageError(f"{path}: could not be written, {said}; what was there is intact") from None


def write_file(path: str | Path, content: str | bytes | Callable[[Path], None]) -> None:
    """Write a file aside, flush it to disk and rename it over `path`.

    `content` is text, bytes, or a function that writes the path it is given.
    """
    path = Path(path)
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        aside = Path(name)
        try:
            if callable(content):
                content(aside)
            else:
                aside.write_bytes(content.encode() if isinstance(content, str) else content)
            _flush(aside)
            aside.chmod(0o666 & ~_umask())
            aside.replace(path)
        finally:
            with suppress(OSError):
                aside.unlink(missing_ok=True)


@contextmanager
def write_folder(path: str | Path) -> Iterator[Path]:
    """Give an empty folder to fill; on success it takes the place of `path`, else it is removed.

    A kill between the two renames leaves the old folder as `.NAME.old`; `recover` puts it back.
    """
    path = Path(path)
    old = path.with_name(f".{path.name}.old")
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            yield aside
            for each in aside.rglob("*"):
                if each.is_file():
                    _flush(each)
            aside.chmod(0o777 & ~_umask())
            if path.exists():
                shutil.rmtree(old, ignore_errors=True)
                path.rename(old)
            aside.rename(path)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def recover(path: str | Path) -> None:
    """Finish what a kill inside `write_folder` left: put `.NAME.old` back if `path` is gone."""
    path = Path(path)
    old = path.with_name(f".{path.name}.old")
    if old.exists():
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(path)


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
