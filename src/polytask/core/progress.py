"""Progress of long work: a bar with a rate and the time left on a terminal, a line a minute on a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

# Between two lines where there is no terminal: a log stays readable, and nobody thinks it hangs.
LINE_SECONDS = 60.0


class Progress(Protocol):
    """What long work is given to say how far it is."""

    def advance(self, done: float, note: str = "") -> None:
        """Say that `done` more units are finished, with a short note to show."""

    def total(self, units: float) -> None:
        """Say how many units there are in all."""


class Silent:
    """A progress that shows nothing."""

    def advance(self, done: float, note: str = "") -> None: ...

    def total(self, units: float) -> None: ...


class Lines:
    """A progress for a pipe or a log: a line on stderr, at most one every `LINE_SECONDS`."""

    def __init__(self, title: str, total: float | None) -> None:
        self._title, self._total, self._done = title, total, 0.0
        self._began = self._told = time.monotonic()

    def advance(self, done: float, note: str = "") -> None:
        self._done += done
        now = time.monotonic()
        if now - self._told < LINE_SECONDS:
            return
        self._told = now
        said = f"{self._title}: {self._done:,.0f}"
        if self._total:
            left = (now - self._began) / max(self._done, 1e-9) * (self._total - self._done)
            said += f" of {self._total:,.0f}, about {max(left, 0) / 60:.0f} min left"
        sys.stderr.write(f"{said}{f'  {note}' if note else ''}\n")

    def total(self, units: float) -> None:
        self._total = units


class _Bar:
    def __init__(self, bar: object, task: object) -> None:
        self._bar, self._task = bar, task

    def advance(self, done: float, note: str = "") -> None:
        self._bar.update(self._task, advance=done, note=note)  # type: ignore[attr-defined]

    def total(self, units: float) -> None:
        self._bar.update(self._task, total=units)  # type: ignore[attr-defined]


@contextmanager
def progress(title: str, total: float | None = None, quiet: bool = False) -> Iterator[Progress]:
    """Show on stderr how far the block is: a bar on a terminal, else a line a minute; or be `quiet`."""
    if quiet:
        yield Silent()
        return
    if not sys.stderr.isatty():
        yield Lines(title, total)
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
