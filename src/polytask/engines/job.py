"""A job: one training, as a run folder and the config that it is trained from.

Whether it is finished, running or failed is read from its folder, so starting the same jobs again
resumes where others stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polytask.core.atomic_files import write_file
from polytask.core.errors import RunError
from polytask.core.events import Event, read_events
from polytask.core.json_files import as_written, read_json
from polytask.core.run_folder import RunFolder
from polytask.core.safe_paths import refuse_link
from polytask.core.toml import write_toml

# Bytes at the end of an event log that show how far a run is.
_TAIL = 1 << 14


@dataclass(frozen=True)
class Job:
    """One training: its name, its settings, its run folder, and the config file that it is started from."""

    name: str
    settings: Mapping[str, Any]
    folder: Path
    config: Path

    @property
    def finished(self) -> bool:
        return RunFolder(self.folder).results.is_file()

    @property
    def in_use(self) -> bool:
        """Whether a process trains in the folder, even one that outlived its parent."""
        return RunFolder(self.folder).busy

    @property
    def log(self) -> Path:
        """The training's standard output and error."""
        return self.config.with_suffix(".log")

    @property
    def seconds(self) -> float:
        """How long a finished run trained."""
        path = RunFolder(self.folder).results
        with as_written(path):
            return float(read_json(path).get("seconds", 0.0))

    @property
    def planned(self) -> int:
        """The updates that the run will make; 0 before it has started."""
        with closing(read_events(RunFolder(self.folder).events)) as events:
            return int(next(events, {}).get("steps", 0))

    def write_config(self) -> None:
        """Write what the job is started from; raise `RunError` where its folder or its log is a link."""
        for place in (self.folder.parent, self.folder, self.log):
            refuse_link(place)
        write_file(self.config, write_toml(dict(self.settings)))

    def last_line(self) -> str:
        """Return the last line of the log: of a failed run, its error."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.is_file() else ""
        lines = text.strip().splitlines()
        return lines[-1] if lines else "ended without a message"

    def remove_checkpoint(self) -> None:
        """Remove a finished run's training state."""
        RunFolder(self.folder).remove_checkpoint()

    def last_events(self) -> list[Event]:
        """Return the last events of the run; none of a damaged log, which its own process will report."""
        try:
            return list(read_events(RunFolder(self.folder).events, _TAIL))
        except RunError:
            return []

    def progress(self) -> str:
        """Return how far the run is: its updates, its rate, its last scores."""
        events = self.last_events()
        steps = _recent_steps(events)
        evaluations = [event for event in events if event.get("event") == "evaluation"]
        if not steps:
            return "starting"
        seconds = sum(event["seconds"] for event in steps)
        rate = sum(event["tokens"] for event in steps) / max(1e-9, seconds)
        shown = f"update {steps[-1]['step']:,} of {self.planned:,}, {rate:,.0f} tokens/s"
        return f"{shown}, {evaluations[-1]['summary']}" if evaluations else shown

    def rest(self) -> float | None:
        """Return the seconds that its other updates take at the rate of the last ones; None: unknown."""
        steps = _recent_steps(self.last_events())
        if not steps:
            return None
        seconds = sum(float(event["seconds"]) for event in steps) / len(steps)
        return seconds * (self.planned - int(steps[-1]["step"]))


def _recent_steps(events: Sequence[Event]) -> list[Event]:
    """Return the last updates, as many as a rate is taken over."""
    return [event for event in events if event.get("event") == "step"][-20:]
