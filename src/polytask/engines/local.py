"""Runs as processes of their own: several at a time, resumed where they were killed, watched.

A job is a run folder and the config that it is trained from. Whether it is finished, running or
failed is told from its folder, so whoever starts the same jobs again goes on where others stopped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polytask.core.atomic_files import write_file
from polytask.core.errors import RunError
from polytask.core.events import Event, read_events
from polytask.core.run_folder import RunFolder
from polytask.core.toml import write_toml
from polytask.core.user_modules import trusted, worker_environment

POLL_SECONDS = 0.2
# What is read of the end of an event log to see how far a run is.
_TAIL = 1 << 14


@dataclass
class Job:
    """One training: its name, its config, where it lies, and its process while it runs."""

    name: str
    settings: dict[str, Any]
    folder: Path
    config: Path
    process: subprocess.Popen[bytes] | None = None
    began: float = field(default_factory=time.monotonic)

    @property
    def finished(self) -> bool:
        return RunFolder(self.folder).results.is_file()

    @property
    def held(self) -> bool:
        """Whether a process trains in the folder: one that outlived whoever had started it."""
        return RunFolder(self.folder).busy

    @property
    def log(self) -> Path:
        return self.config.with_suffix(".log")

    def start(self, threads: int) -> None:
        """Begin the run, or go on with what a killed one left."""
        write_file(self.config, write_toml(self.settings))
        # -P: a random.py in the current folder must not stand for the standard library's.
        command = [sys.executable, "-P", "-m", "polytask", "train", str(self.config), "--out",
                   str(self.folder), "--resume", "--quiet", *(["--trust"] if trusted() else [])]
        self.began = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True,
                                            env=os.environ | worker_environment() | _module_path()
                                            | {"OMP_NUM_THREADS": str(threads)})

    @property
    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def stop(self) -> None:
        """Ask the process to save and stop."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def tidy(self) -> None:
        """Remove the exact state of a finished run: thrice its model, and nothing goes on from it."""
        shutil.rmtree(RunFolder(self.folder).checkpoints, ignore_errors=True)

    def complaint(self) -> str:
        """Return the last line that a failed run said."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.is_file() else ""
        said = text.strip().splitlines()
        if self.process is not None and (self.process.returncode or 0) < 0:
            return f"was killed by signal {-self.process.returncode}"
        return said[-1] if said else "ended without a word"

    def events(self) -> list[Event]:
        """Return the last events of the run; none of a damaged log, which its own process will tell of."""
        try:
            return [*read_events(RunFolder(self.folder).events, _TAIL)]
        except RunError:
            return []

    @property
    def planned(self) -> int:
        """The updates that the run will make; 0 as long as it has not begun."""
        with closing(read_events(RunFolder(self.folder).events)) as events:
            return int(next(events, {}).get("steps", 0))

    def standing(self) -> str:
        """Say how far the run is: its updates, its rate, its last score."""
        events = self.events()
        steps = [event for event in events if event.get("event") == "step"]
        scores = [event for event in events if event.get("event") == "evaluation"]
        if not steps:
            return "starting"
        recent = steps[-20:]
        rate = sum(event["tokens"] for event in recent) / max(1e-9, sum(e["seconds"] for e in recent))
        said = f"update {steps[-1]['step']}, {rate:,.0f} tokens/s"
        return f"{said}, {scores[-1]['summary']}" if scores else said


def _module_path() -> dict[str, str]:
    """Return where a worker finds polytask, if its parent found it in the current folder, as -P forbids."""
    root = Path(__file__).parents[2]
    if root != Path.cwd():
        return {}
    return {"PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(root)]))}


def threads_each(workers: int) -> int:
    """Return how many threads each of several workers may have."""
    return max(1, (os.cpu_count() or 1) // workers)


def run_all(jobs: Sequence[Job], workers: int, stopped: Callable[[], bool],
            watch: Watch) -> dict[str, str]:
    """Run the jobs that are not finished, `workers` at a time; return what failed ones said, by name.

    A job whose folder another process still trains in is waited for, not started a second time.
    """
    waiting = [job for job in jobs if not job.finished]
    running: list[Job] = []
    failures: dict[str, str] = {}
    watch.show(jobs, running, failures)
    while waiting or running:
        free = [job for job in waiting if not job.held]
        while free and len(running) < workers and not stopped():
            job = free.pop(0)
            waiting.remove(job)
            if not job.finished:  # the process that held it may have ended it
                job.start(threads_each(workers))
                running.append(job)
        if stopped():
            waiting = []
            for job in running:
                job.stop()
        time.sleep(POLL_SECONDS)
        for job in [job for job in running if job.ended]:
            running.remove(job)
            if job.finished:
                job.tidy()
            elif job.held and not stopped():  # another study was quicker to take the folder
                waiting.append(job)
                continue
            elif not stopped():
                failures[job.name] = job.complaint()
            watch.ended(job, failures.get(job.name))
        watch.show(jobs, running, failures)
    return failures


class Watch:
    """Says on stderr which jobs end; on a terminal, a table of all that run."""

    def __init__(self, title: str, live: Any = None, quiet: bool = False) -> None:
        self.title, self.live, self.quiet, self.shown = title, live, quiet, 0.0

    def ended(self, job: Job, complaint: str | None) -> None:
        if not self.quiet and self.live is None:
            state = f"failed: {complaint}" if complaint else "done" if job.finished else "stopped"
            sys.stderr.write(f"{time.strftime('%H:%M:%S')} {job.name}: {state}\n")

    def show(self, jobs: Sequence[Job], running: Sequence[Job], failures: dict[str, str]) -> None:
        if self.live is None or time.monotonic() - self.shown < 1.0:
            return
        self.shown = time.monotonic()
        self.live.update(self._table(jobs, running, failures), refresh=True)

    def _table(self, jobs: Sequence[Job], running: Sequence[Job], failures: dict[str, str]) -> Any:
        from rich.table import Table

        done = [job for job in jobs if job.finished]
        spent = [_seconds(job) for job in done]
        left = len(jobs) - len(done) - len(failures)
        title = f"{self.title}: {len(done)} of {len(jobs)} done, {len(failures)} failed"
        if spent and left and running:
            title += f", about {left * sum(spent) / len(spent) / len(running) / 60:.0f} min left"
        table = Table("run", "state", "", title=title, title_justify="left", min_width=100)
        for job in running:
            table.add_row(job.name, f"{time.monotonic() - job.began:.0f} s", job.standing())
        for name, said in failures.items():
            table.add_row(name, "[red]failed", said)
        return table


def _seconds(job: Job) -> float:
    return float(json.loads(RunFolder(job.folder).results.read_text(encoding="utf-8")).get("seconds", 0.0))


@contextmanager
def watching(title: str, quiet: bool) -> Iterator[Watch]:
    """Watch jobs while the block runs: a live table on a terminal, a line a job on a pipe."""
    if quiet or not sys.stderr.isatty():
        yield Watch(title, quiet=quiet)
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        yield Watch(title, live)
