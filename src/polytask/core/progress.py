"""Progress of long work: a bar on a terminal, a line a minute on a pipe, nothing where it is unwanted."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

# Seconds between two lines on a pipe.
PIPE_SECONDS = 60.0


class Progress(Protocol):
    """What long work reports to."""

    def advance(self, done: float, note: str = "") -> None:
        """Report that `done` more units are finished, with a short note to show."""

    def skip(self, done: float) -> None:
        """Report units that were finished before, by a run that is resumed."""

    def total(self, units: float) -> None:
        """Report how many units there are in all."""


class Silent:
    """A progress that shows nothing."""

    def advance(self, done: float, note: str = "") -> None: ...

    def skip(self, done: float) -> None: ...

    def total(self, units: float) -> None: ...


class _Bar:
    def __init__(self, bar: object, task: object) -> None:
        self._bar, self._task = bar, task

    def advance(self, done: float, note: str = "") -> None:
        self._bar.update(self._task, advance=done, note=note)  # type: ignore[attr-defined]

    def skip(self, done: float) -> None:
        self._bar.update(self._task, advance=done)  # type: ignore[attr-defined]

    def total(self, units: float) -> None:
        self._bar.update(self._task, total=units)  # type: ignore[attr-defined]


class _Lines:
    """Writes a line on stderr from time to time: units, share, time left, note."""

    def __init__(self, title: str, units: float | None) -> None:
        self.title, self.units = title, units
        self.done = self.skipped = 0.0
        self.started = self.shown = time.monotonic()

    def skip(self, done: float) -> None:
        self.done += done
        self.skipped += done

    def advance(self, done: float, note: str = "") -> None:
        self.done += done
        now = time.monotonic()
        if now - self.shown < PIPE_SECONDS:
            return
        self.shown = now
        parts = [f"{self.title}: {self.done:,.0f}{f' of {self.units:,.0f}' if self.units else ''}"]
        if self.units and self.done > self.skipped:
            left = (self.units - self.done) * (now - self.started) / (self.done - self.skipped)
            parts.append(f"{duration(left)} left")
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {', '.join([*parts, *filter(None, [note])])}\n")
        sys.stderr.flush()

    def total(self, units: float) -> None:
        self.units = units


@contextmanager
def progress(title: str, total: float | None = None, quiet: bool = False) -> Iterator[Progress]:
    """Show progress on stderr while the block runs: a bar on a terminal, else a line a minute.

    Work that takes less than a minute shows nothing on a pipe; with `quiet` nothing is ever shown.
    """
    if quiet:
        yield Silent()
        return
    if not sys.stderr.isatty():
        yield _Lines(title, total)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    # What is shown names files and columns of the user's: "[/b]" in them is text.
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
               TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
               TextColumn("{task.fields[note]}", markup=False))
    with Bar(*columns, console=Console(stderr=True), transient=False) as bar:
        yield _Bar(bar, bar.add_task(title, total=total, note=""))


def duration(seconds: float) -> str:
    """Return a time as people say it: 45 s, 12 min, 3.4 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
