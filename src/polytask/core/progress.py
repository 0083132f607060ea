"""Progress of long work: a bar with a rate and the time left on a terminal, silence on a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


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


class _Bar:
    def __init__(self, bar: object, task: object) -> None:
        self._bar, self._task = bar, task

    def advance(self, done: float, note: str = "") -> None:
        self._bar.update(self._task, advance=done, note=note)  # type: ignore[attr-defined]

    def total(self, units: float) -> None:
        self._bar.update(self._task, total=units)  # type: ignore[attr-defined]


@contextmanager
def progress(title: str, total: float | None = None, quiet: bool = False) -> Iterator[Progress]:
    """Show a bar on stderr while the block runs, if stderr is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield Silent()
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
