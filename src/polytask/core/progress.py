"""Progress of long work: a bar on a terminal or in a notebook, a line per minute on a pipe, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Protocol

from polytask.core.terminal import tell, terminal_text

# Seconds between two lines on a pipe.
PIPE_SECONDS = 60.0
_REDRAW_SECONDS = 0.3


class Progress(Protocol):
    """Where long work reports its progress."""

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


class Checked:
    """A progress that calls `check` wherever work is reported; what that raises ends the work."""

    def __init__(self, shown: Progress, check: Callable[[], None]) -> None:
        self._shown, self._check = shown, check

    def advance(self, done: float, note: str = "") -> None:
        self._shown.advance(done, note)
        self._check()

    def skip(self, done: float) -> None:
        self._shown.skip(done)

    def total(self, units: float) -> None:
        self._shown.total(units)


class _Bar:
    def __init__(self, bar: object, task: object) -> None:
        self._bar, self._task = bar, task

    def advance(self, done: float, note: str = "") -> None:
        self._bar.update(self._task, advance=done, note=terminal_text(note))  # type: ignore[attr-defined]

    def skip(self, done: float) -> None:
        self._bar.update(self._task, advance=done)  # type: ignore[attr-defined]

    def total(self, units: float) -> None:
        self._bar.update(self._task, total=units)  # type: ignore[attr-defined]


class _LineProgress:
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
        tell(f"{time.strftime('%H:%M:%S')} {', '.join([*parts, *filter(None, [note])])}")
        sys.stderr.flush()

    def total(self, units: float) -> None:
        self.units = units


class _NotebookBar(_LineProgress):
    """A bar of HTML in the output of a notebook's cell, redrawn now and then."""

    def __init__(self, title: str, units: float | None) -> None:
        super().__init__(title, units)
        from IPython.display import display

        self.note, self.shown = "", 0.0
        self._display = display(self, display_id=True)

    def _repr_html_(self) -> str:
        of = f" max={self.units:.0f} value={self.done:.0f}" if self.units else ""
        count = f"{self.done:,.0f}{f' of {self.units:,.0f}' if self.units else ''}"
        return f"<div>{escape(self.title)} <progress{of}></progress> {count} {escape(self.note)}</div>"

    def __repr__(self) -> str:
        return f"{self.title}: {self.done:,.0f}{f' of {self.units:,.0f}' if self.units else ''} {self.note}"

    def advance(self, done: float, note: str = "") -> None:
        self.done += done
        self.note = note
        if time.monotonic() - self.shown >= _REDRAW_SECONDS:
            self.draw()

    def draw(self) -> None:
        self.shown = time.monotonic()
        self._display.update(self)


def in_notebook() -> bool:
    """Return whether the program runs in a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


@contextmanager
def progress(title: str, total: float | None = None, quiet: bool = False) -> Iterator[Progress]:
    """Show progress while the block runs: a bar on a terminal or in a notebook, else one line per minute.

    Work that takes less than a minute shows nothing on a pipe; with `quiet` nothing is ever shown.
    """
    if quiet:
        yield Silent()
        return
    if in_notebook():
        shown = _NotebookBar(title, total)
        yield shown
        shown.draw()
        return
    if not sys.stderr.isatty():
        yield _LineProgress(title, total)
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
        yield _Bar(bar, bar.add_task(terminal_text(title), total=total, note=""))


def duration(seconds: float) -> str:
    """Return a time as people say it: 45 s, 12 min, 3.4 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
