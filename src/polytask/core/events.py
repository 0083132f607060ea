"""`events.jsonl`: what happened, one JSON object per line, readable during training."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from polytask.core.atomic_files import storing
from polytask.core.errors import RunError

Event = dict[str, Any]


class EventLog:
    """Appends events to a file; `cut` forgets what came after a checkpoint."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with storing(self.path):
            self._file = self.path.open("a", encoding="utf-8")

    def write(self, event: Mapping[str, Any]) -> None:
        """Append one event, for readers to see at once."""
        with storing(self.path):
            self._file.write(json.dumps(_rounded(event), allow_nan=False) + "\n")
            self._file.flush()

    def position(self) -> int:
        """Return the size of the file once everything written is on disk."""
        with storing(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())
            # Not `tell`, which after `cut` is where the end has been until something is written again.
            return os.fstat(self._file.fileno()).st_size

    def cut(self, position: int) -> None:
        """Forget everything after `position`."""
        with storing(self.path):
            os.truncate(self.path, min(position, self.path.stat().st_size))

    def close(self) -> None:
        with storing(self.path):
            self._file.close()


class UnwrittenLog(EventLog):
    """The log of a process whose events another one writes."""

    def __init__(self) -> None:
        pass

    def write(self, event: Mapping[str, Any]) -> None: ...

    def position(self) -> int:
        return 0

    def cut(self, position: int) -> None: ...

    def close(self) -> None: ...


def read_events(path: str | Path, last_bytes: int | None = None) -> Generator[Event, None, None]:
    """Yield the events of a file, none if it is not there.

    A last line that is being written, or was cut short by a kill, is left out. last_bytes: how much of the
    file's end is read; absent, all of it. Raises `RunError` for a line that is not an event.
    """
    path = Path(path)
    if not path.is_file():
        return
    with path.open("rb") as file:
        if last_bytes is not None and (start := path.stat().st_size - last_bytes) > 0:
            file.seek(start)
            file.readline()  # what is left of a line that began before
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            yield _event(line, path, f"line {number}" if last_bytes is None else "a line near its end")


class EventFollower:
    """Reads a log from where it stopped; from the start again if what it had read is no longer there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position, self._last = 0, b""

    def events(self) -> Iterator[Event]:
        """Yield the events since the last call, or all of a log that a resumed training has cut.

        Raises `RunError` for a line that is not an event.
        """
        with self.path.open("rb") as file:
            file.seek(self._position - len(self._last))
            if file.read(len(self._last)) != self._last:
                self._position, self._last = 0, b""
            file.seek(self._position)
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return  # it is being written
                event = _event(line, self.path, f"line {number} after byte {self._position}")
                self._position, self._last = self._position + len(line), line
                yield event


def _event(line: bytes, path: Path, place: str) -> Event:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise RunError(f"{path}: {place} is not an event; expected what polytask wrote")
    return event


def _rounded(value: Any) -> Any:
    """Keep seven digits of a float; one that is not finite becomes None, since JSON cannot express it."""
    if isinstance(value, float):
        return float(f"{value:.7g}") if abs(value) < float("inf") else None
    if isinstance(value, Mapping):
        return {str(key): _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(entry) for entry in value]
    return value
