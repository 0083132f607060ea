"""Weights & Biases, and trackio, which has the same API; local unless the environment says otherwise."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polytask.core.atomic_files import write_json
from polytask.core.errors import MissingExtra
from polytask.core.json_files import read_json
from polytask.core.paths import TrackerPaths
from polytask.trackers.contract import Point, Tracker


class WandB(Tracker):
    """A run of W&B, offline unless WANDB_MODE says otherwise, or of trackio, which is always local.

    Neither can tell what it has, so a file beside it does. A kill between sending points and writing that
    file sends them twice; W&B drops the second copy because its steps are past.
    """

    def __init__(self, module: str, folder: Path, settings: dict[str, Any], project: str, run: Path
                 ) -> None:
        try:
            self._module = importlib.import_module(module)
        except ImportError:
            raise MissingExtra(f"--to {module}", module) from None
        folder.mkdir(parents=True, exist_ok=True)
        self._state = TrackerPaths(folder).sent
        options: dict[str, Any] = {"project": project, "name": run.name, "config": settings}
        if module == "wandb":
            os.environ.setdefault("WANDB_MODE", "offline")
            os.environ.setdefault("WANDB_SILENT", "true")
            options |= {"dir": str(folder), "id": _identity(run), "resume": "allow"}
        else:
            options |= {"resume": "allow"}
        self._run = self._module.init(**options)

    def sent(self) -> dict[str, int]:
        return dict(read_json(self._state)) if self._state.is_file() else {}

    def send(self, points: Sequence[Point]) -> None:
        sent = self.sent()
        for point in points:
            self._module.log(dict(point.values), step=point.step)
            sent[point.kind] = point.step
        write_json(self._state, sent)

    def close(self) -> None:
        self._module.finish()


def _identity(run: Path) -> str:
    """Return an id that depends on the folder alone."""
    import hashlib

    return hashlib.blake2b(str(run.absolute()).encode(), digest_size=8).hexdigest()
