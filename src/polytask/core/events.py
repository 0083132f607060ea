"""`events.jsonl`: what happened, one JSON object a line, readable while training goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from polytask.core.atomic_files import storing

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
        return self._file.tell()

    def cut(self, position: int) -> None:
        """Forget everything after `position`."""
        with storing(self.path):
            os.truncate(self.path, min(position, self.path.stat().st_size))

    def close(self) -> None:
        with storing(self.path):
            self._file.close()


def read_events(path: str | Path) -> Iterator[Event]:
    """Yield the events of a file; a last line that was cut short by a kill is left out."""
    with Path(path).open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def _rounded(value: Any) -> Any:
    """Keep seven digits of a float; one that is not finite is None, as JSON has no word for it."""
    if isinstance(value, float):
        return float(f"{value:.7g}") if abs(value) < float("inf") else None
    if isinstance(value, Mapping):
        return {str(key): _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(entry) for entry in value]
    return value
