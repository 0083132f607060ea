"""The journal of a sweep, as Optuna's storage, from which half a line that a full disk left is removed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from polytask.core.atomic_files import storing
from polytask.core.paths import LOCK


class JournalLock:
    """The lock of a journal. Optuna's own is a file, which a killed process leaves for 30 seconds."""

    def __init__(self, file: Path) -> None:
        self._lock = FileLock(file)

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


class Journal:
    """Optuna's journal file, from which half a line is removed before another one follows it.

    Optuna appends to what is there: after half a line, it could read none of what follows. Raises
    `StorageError` where the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        from optuna.storages.journal import JournalFileBackend

        self.path, self._lock = path, JournalLock(path.with_name(LOCK))
        with storing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: Any = JournalFileBackend(str(path), self._lock)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the entries from a number on."""
        yield from self._file.read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append entries: all of them, or none."""
        with storing(self.path):
            self._lock.acquire()
            try:
                size = self._trimmed()
                try:
                    self._file.append_logs(logs)
                except OSError:
                    os.truncate(self.path, size)
                    raise
            finally:
                self._lock.release()

    def _trimmed(self) -> int:
        """Remove half a line from the end of the file, and return its size."""
        whole = size = self.path.stat().st_size
        with self.path.open("rb") as file:
            while whole:
                file.seek(whole - 1)
                if file.read(1) == b"\n":
                    break
                whole -= 1
        if whole < size:
            os.truncate(self.path, whole)
        return whole
