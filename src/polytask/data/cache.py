"""The cache: folders built aside and renamed, so that a reader sees a whole one or none.

Two processes may build the same entry at once: the first rename wins and both read it. A cache that
cannot be written is replaced by a temporary folder; a cut-short entry is built again.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tokenize import TokenError
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from polytask.core.atomic_files import aside_folder, storing, write_file
from polytask.core.cache_paths import cache_folder
from polytask.core.errors import StorageError
from polytask.core.json_files import MISSHAPEN, read_json
from polytask.core.leftovers import tidy

T = TypeVar("T")
LOG = logging.getLogger(__name__)
# What reading an entry raises when the entry is absent, cut short or of another program.
_BROKEN = (*MISSHAPEN, OSError, EOFError, SyntaxError, TokenError, StorageError)
# A small value has some hundred bytes.
_MOST_BYTES = 1 << 20
_HEADER = 128


class Cache:
    """Entries in a folder. `notes` says what the user should know about it."""

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = cache_folder(folder)
        self.notes: list[str] = []
        self._temporary = False

    def entry(self, name: str, build: Callable[[Path], None], load: Callable[[Path], T]) -> T:
        """Return `load(folder)` of an entry; `build(folder)` fills it first if there is none."""
        loaded = self._loaded(name, load)
        if loaded is not None:
            return loaded
        try:
            path = self._build(name, build)
        except StorageError as error:
            if self._temporary:
                raise
            self._retreat(error)
            path = self._build(name, build)
        with storing(path):
            return load(path)

    def _loaded(self, name: str, load: Callable[[Path], T]) -> T | None:
        path = self.folder / name
        if not path.is_dir():
            return None
        try:
            return load(path)
        except _BROKEN:
            # Renamed before it is removed: another process may be building its successor.
            with suppress(OSError), aside_folder(path) as aside:
                path.rename(aside / "entry")
            return None

    def _build(self, name: str, build: Callable[[Path], None]) -> Path:
        path = self.folder / name
        LOG.info("%s: computed and kept in the cache", path)
        with storing(path):
            self._make()
            path.parent.mkdir(parents=True, exist_ok=True)
            tidy(path.parent)  # what killed processes left half built
            with aside_folder(path) as aside:
                build(aside)
                # An error is a lost race: what the other process put there is the same.
                with suppress(OSError):
                    aside.rename(path)
                if not path.is_dir():
                    raise OSError(0, "the entry could not be put in place")
        return path

    def _make(self) -> None:
        """Make the folder, for its owner alone."""
        with storing(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _retreat(self, error: StorageError) -> None:
        """Continue in a temporary folder, which is removed when the program ends."""
        folder = self.folder
        with storing(folder):
            self.folder = Path(tempfile.mkdtemp(prefix="polytask-"))
        self._temporary = True
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        why = str(error).partition("could not be written, ")[2].partition(";")[0] or str(error)
        self.notes.append(f"the cache {folder} could not be written ({why}), so a temporary one is"
                          " used and the next start reads and tokenizes again")

    def remembered(self, name: str) -> Any:
        """Return a small value kept by `remember`; None where there is none that can be read.

        Another program may have written the file: the caller checks the value's shape.
        """
        try:
            return read_json(self.folder / name, StorageError, _MOST_BYTES)
        except StorageError:
            return None

    def remember(self, name: str, value: Any) -> None:
        """Keep a small value; what the disk refuses is not kept."""
        with suppress(StorageError):
            self._make()
            write_file(self.folder / name, json.dumps(value))


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as .npy and flush it to disk."""
    with path.open("wb") as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())


def open_array(path: Path, kind: type[np.generic]) -> NDArray[Any]:
    """Map a .npy file into memory, read only; raise ValueError if it is cut short."""
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    mapped = np.lib.format.open_memmap(path, mode="r")  # np.load takes archives too
    if mapped.dtype != np.dtype(kind):
        raise ValueError(f"{path} holds {mapped.dtype}, not {np.dtype(kind)}")
    # A plain view: slicing np.memmap itself costs several times more.
    return mapped.view(np.ndarray)


@contextmanager
def growing_array(path: Path, kind: type[np.generic]) -> Iterator[Callable[[NDArray[Any]], None]]:
    """Give a function that appends to a one-dimensional .npy file.

    Its header is written last, in the room left for it, and the file is flushed to disk.
    """
    length = 0

    def append(values: NDArray[Any]) -> None:
        nonlocal length
        file.write(np.ascontiguousarray(values, dtype=kind).data)
        length += len(values)

    with path.open("wb") as file:
        file.write(b" " * _HEADER)
        yield append
        entry = {"descr": np.dtype(kind).str, "fortran_order": False, "shape": (length,)}
        text = repr(entry).encode()
        room = _HEADER - 10  # after the magic string, the version and the length of the header
        file.seek(0)
        file.write(b"\x93NUMPY\x01\x00" + room.to_bytes(2, "little"))
        file.write(text + b" " * (room - len(text) - 1) + b"\n")
        file.flush()
        os.fsync(file.fileno())
