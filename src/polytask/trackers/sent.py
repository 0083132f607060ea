"""The points that a tracker has which cannot tell it itself: a file beside it for each run."""

from __future__ import annotations

import hashlib
from pathlib import Path

from polytask.core.atomic_files import write_json
from polytask.core.json_files import read_json
from polytask.core.paths import TrackerPaths


def identity(run: Path, project: str) -> str:
    """Return an id of the run's folder and the project: runs of the same name are told apart."""
    return hashlib.blake2b(f"{run.absolute()}\0{project}".encode(), digest_size=8).hexdigest()


class SentFile:
    """The step of the last point of each kind of a run, in a folder that several may share (`--out`)."""

    def __init__(self, folder: Path, run: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = TrackerPaths(folder).sent(run)

    def read(self) -> dict[str, int]:
        return dict(read_json(self.path)) if self.path.is_file() else {}

    def write(self, sent: dict[str, int]) -> None:
        write_json(self.path, sent)
