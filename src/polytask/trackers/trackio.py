"""trackio: a run in its own database, or where TRACKIO_SPACE_ID or TRACKIO_SERVER_URL says."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from polytask.core.errors import MissingExtra, PolytaskError
from polytask.trackers.contract import Point, Tracker
from polytask.trackers.sent import SentFile, identity


class Trackio(Tracker):
    """A run of trackio, whose name ends in an id: trackio would take a run of the same name for it.

    trackio stores points in a thread and has no call that waits for it but `finish`; so each batch opens
    the run again and finishes it. It cannot tell what it has, so a file beside the run does. A kill between
    sending a batch and writing that file sends the batch twice.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], project: str, run: Path) -> None:
        try:
            self._trackio = importlib.import_module("trackio")
        except ImportError:
            raise MissingExtra("--to trackio", "trackio") from None
        number = identity(run, project)
        self._file = SentFile(folder, number)
        # Its own figures of processor and GPU would be those of this machine, now.
        self._options = {"project": project, "name": f"{run.name}-{number[:6]}", "config": settings,
                         "resume": "allow", "auto_log_cpu": False, "auto_log_gpu": False}

    def sent(self) -> dict[str, int]:
        return self._file.read()

    def send(self, points: Sequence[Point]) -> None:
        sent = self.sent()
        with redirect_stdout(sys.stderr):
            try:
                self._trackio.init(**self._options)
            except ValueError as error:  # a server's address without its token, …
                raise PolytaskError(f"--to trackio: {' '.join(str(error).split())}") from None
            for point in points:
                self._trackio.log(dict(point.values), step=point.step)
                sent[point.kind] = point.step
            self._trackio.finish()
        self._file.write(sent)

    def close(self) -> None: ...

    @property
    def place(self) -> str:
        return f'run {self._options["name"]} of project {self._options["project"]}'
