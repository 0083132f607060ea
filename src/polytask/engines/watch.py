"""Shows the progress of jobs on stderr: a live table on a terminal, lines on a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from polytask.core.progress import PIPE_SECONDS, duration
from polytask.core.terminal import tell, terminal_text
from polytask.engines.contract import Execution
from polytask.engines.job import Job


class JobCounts(Protocol):
    """What is shown of a queue: its jobs so far, how many there will be, and why some have failed."""

    @property
    def jobs(self) -> Sequence[Job]: ...
    @property
    def total(self) -> int: ...
    @property
    def failures(self) -> Mapping[str, str]: ...


class Watch:
    """Where a queue reports its progress.

    live: a live table of rich; without it, a line is written for each job that ends, and one a minute for
    those that run.
    """

    def __init__(self, title: str, live: Any = None, quiet: bool = False) -> None:
        self.title, self.live, self.quiet = title, live, quiet
        self.shown = time.monotonic() if live is None else 0.0

    def ended(self, job: Job, complaint: str | None) -> None:
        """Say that a job has ended."""
        if self.live is None:
            state = f"failed: {complaint}" if complaint else "done" if job.finished else "stopped"
            self._line(f"{job.name}: {state}")

    def show(self, queue: JobCounts, running: Sequence[Execution]) -> None:
        """Show the progress of the jobs, at most once per interval."""
        if self.quiet or time.monotonic() - self.shown < (PIPE_SECONDS if self.live is None else 1.0):
            return
        self.shown = time.monotonic()
        if self.live is not None:
            self.live.update(self._table(queue, running), refresh=True)
        elif running:
            states = "; ".join(f"{execution.job.name}: {execution.job.progress()}" for execution in running)
            self._line(f"{self._summary(queue, running)}; {states}")

    def _line(self, text: str) -> None:
        if not self.quiet:
            tell(f"{time.strftime('%H:%M:%S')} {text}")
            sys.stderr.flush()

    def _summary(self, queue: JobCounts, running: Sequence[Execution]) -> str:
        done = [job for job in queue.jobs if job.finished]
        left = queue.total - len(done) - len(queue.failures)
        summary = f"{self.title}: {len(done)} of {queue.total} done, {len(queue.failures)} failed"
        if running and left > 0 and (seconds := _seconds_left(done, running, left)) is not None:
            summary += f", about {duration(seconds)} left"
        return summary

    def _table(self, queue: JobCounts, running: Sequence[Execution]) -> Any:
        from rich.table import Table
        from rich.text import Text as RichText

        def shown(text: str) -> RichText:
            return RichText(terminal_text(text))

        table = Table("run", "state", "", title=shown(self._summary(queue, running)), title_justify="left",
                      min_width=100)
        for execution in running:
            table.add_row(shown(execution.job.name), duration(execution.seconds),
                          shown(execution.job.progress()))
        for name, complaint in queue.failures.items():
            table.add_row(shown(name), "[red]failed", shown(complaint))
        return table


def _seconds_left(done: Sequence[Job], running: Sequence[Execution], left: int) -> float | None:
    """Return how long the runs that are left take: one under way by its own rate, others as those before.

    A finished run may have been made on another machine, or have had less to do.
    """
    rests = [execution.job.rest() for execution in running]
    whole = [job.seconds for job in done]
    whole += [execution.seconds + rest for execution, rest in zip(running, rests, strict=True)
              if rest is not None]
    if not whole:
        return None
    usual = sum(whole) / len(whole)
    under_way = sum(max(0.0, usual - execution.seconds) if rest is None else rest
                    for execution, rest in zip(running, rests, strict=True))
    return (under_way + max(0, left - len(running)) * usual) / len(running)


@contextmanager
def watching(title: str, quiet: bool) -> Iterator[Watch]:
    """Watch jobs while the block runs: a live table on a terminal, lines on a pipe, nothing if `quiet`."""
    if quiet or not sys.stderr.isatty():
        yield Watch(title, quiet=quiet)
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        yield Watch(title, live)
