"""What no file that a command writes may replace."""

from __future__ import annotations

from pathlib import Path

from polytask.core.errors import RunError
from polytask.core.paths import RunPaths
from polytask.core.safe_paths import refuse_special


def refuse_as_output(file: Path) -> None:
    """Raise `RunError` for what no output may replace: a device, and what a run's training writes itself.

    A file in a folder that a training replaces, such as `model/`, would go with it.
    """
    refuse_special(file)
    place = file.absolute()
    for folder in place.parents:
        run = RunPaths(folder)
        if run.config.is_file() and run.events.is_file():
            part = folder / place.relative_to(folder).parts[0]
            if part in (run.config, run.events, run.lock, run.model, run.best, run.checkpoints, run.results,
                        run.data, run.artifacts):
                raise RunError(f"{file}: {part.name} belongs to the run {folder}, whose training writes "
                               "it; give another --out")
