"""What no file that a command writes may replace."""

from __future__ import annotations

from pathlib import Path

from polytask.core.errors import RunError
from polytask.core.paths import RunPaths
from polytask.core.safe_paths import refuse_special

_SPLITS = ("train", "dev", "test")


def refuse_as_output(file: Path, page: bool = False) -> None:
    """Raise `RunError` for what no output may replace: a device, and what polytask keeps in a run itself.

    A file in a folder that a training replaces, such as `model/`, would go with it. page: whether the file
    is a report, which may take the place of another and has its plots beside it.
    """
    refuse_special(file)
    place = file.absolute()
    for folder in place.parents:
        run = RunPaths(folder)
        if run.config.is_file() and run.events.is_file():
            part = folder / place.relative_to(folder).parts[0]
            own = (run.config, run.events, run.lock, run.model, run.best, run.checkpoints, run.results,
                   run.data, run.artifacts, run.trackers, *(() if page else (run.report, run.plots)))
            name = part.name if part in own else _predictions(place, run)
            if name:
                raise RunError(f"{file}: {name} belongs to the run {folder}; give another --out")


def _predictions(place: Path, run: RunPaths) -> str:
    """Return the name of a run's own predictions, `<task>-<split>.csv`, or '' for any other file."""
    task, _, split = place.stem.rpartition("-")
    own = bool(task) and split in _SPLITS and place == run.prediction_file(task, split)
    return f"{run.predictions.name}/{place.name}" if own else ""
