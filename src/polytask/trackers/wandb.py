"""Weights & Biases: a run that stays on this machine unless WANDB_MODE says otherwise."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polytask.core.errors import MissingExtra
from polytask.trackers.contract import Point, Tracker
from polytask.trackers.sent import SentFile, identity


class WandB(Tracker):
    """A run of W&B. It cannot tell what it has, so a file beside it does.

    A kill between sending points and writing that file sends them twice; W&B drops the second copy because
    its steps are past.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], project: str, run: Path) -> None:
        os.environ.setdefault("WANDB_MODE", "offline")
        os.environ.setdefault("WANDB_SILENT", "true")
        try:
            self._wandb = importlib.import_module("wandb")
        except ImportError:
            raise MissingExtra("--to wandb", "wandb") from None
        number = identity(run, project)
        self._folder, self._file = folder, SentFile(folder, number)
        self._wandb.init(project=project, name=run.name, config=settings, dir=str(folder),
                         id=number, resume="allow")

    @property
    def place(self) -> str:
        return str(self._folder)

    def sent(self) -> dict[str, int]:
        return self._file.read()

    def send(self, points: Sequence[Point]) -> None:
        sent = self.sent()
        for point in points:
            self._wandb.log(dict(point.values), step=point.step)
            sent[point.kind] = point.step
        self._file.write(sent)

    def close(self) -> None:
        self._wandb.finish()
