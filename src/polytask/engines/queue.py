"""Jobs computed on an engine until none are left, even if others work in the same folders."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress

from polytask.engines.contract import Engine, Execution
from polytask.engines.job import Job
from polytask.engines.watch import Watch

POLL_SECONDS = 0.2


class Queue(ABC):
    """Jobs as they become known: a study knows all of its own, a sweep asks for its next trial.

    A job whose folder another process trains in waits until that process ends; it is never started twice.
    """

    def __init__(self, waiting: Sequence[Job] = ()) -> None:
        self.waiting = list(waiting)
        self.failures: dict[str, str] = {}
        """Job name → the last line of its log."""

    @property
    @abstractmethod
    def jobs(self) -> Sequence[Job]:
        """All jobs so far, finished ones included."""

    @property
    @abstractmethod
    def total(self) -> int:
        """How many jobs there will be in all."""

    @property
    def unfinished(self) -> bool:
        """Whether jobs may still come, or come back, although none runs here."""
        return bool(self.waiting)

    def next(self) -> Job | None:
        """Return the next job, None if there is none now."""
        job = next((job for job in self.waiting if not job.in_use), None)
        if job is not None:
            self.waiting.remove(job)
        return job

    def abandons(self, job: Job) -> bool:
        """Return whether a running job is not worth finishing."""
        return False

    def ended(self, job: Job, complaint: str | None) -> None:
        """Record how a job ended; `complaint` is None if it finished or was stopped."""
        self.failures.pop(job.name, None)
        if complaint is not None:
            self.failures[job.name] = complaint


class FixedQueue(Queue):
    """Jobs that are all known from the start."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        super().__init__([job for job in jobs if not job.finished])
        self._jobs = jobs

    @property
    def jobs(self) -> Sequence[Job]:
        return self._jobs

    @property
    def total(self) -> int:
        return len(self._jobs)


def run_jobs(queue: Queue, engine: Engine, stopped: Callable[[], bool], watch: Watch) -> dict[str, str]:
    """Compute the jobs of a queue; return the complaints of those that failed, by name.

    Once `stopped` returns true no job is started, and those that run are asked to save and stop; they are
    too when this call fails, as it does when a database or a cluster goes away.
    """
    running: list[Execution] = []
    try:
        return _run_all(queue, engine, stopped, watch, running)
    except BaseException:
        for execution in running:
            with suppress(Exception):  # a cluster that is gone runs nothing
                execution.stop()
        raise


def _run_all(queue: Queue, engine: Engine, stopped: Callable[[], bool], watch: Watch,
             running: list[Execution]) -> dict[str, str]:
    while True:
        while len(running) < engine.workers and not stopped() and (job := queue.next()) is not None:
            if job.finished:  # another process had it, and has finished it
                _end(job, None, queue, watch)
            else:
                running.append(engine.start(job))
        watch.show(queue, running)
        if not running and (stopped() or not queue.unfinished):
            return queue.failures
        time.sleep(POLL_SECONDS)
        for execution in [*running]:
            job = execution.job
            if stopped() or queue.abandons(job):
                execution.stop()
            if not execution.ended:
                continue
            running.remove(execution)
            if job.finished or stopped():
                _end(job, None, queue, watch)
            elif job.in_use:  # another study was quicker to take the folder
                queue.waiting.append(job)
            else:
                _end(job, execution.complaint(), queue, watch)


def _end(job: Job, complaint: str | None, queue: Queue, watch: Watch) -> None:
    if job.finished:
        job.remove_checkpoint()
    queue.ended(job, complaint)
    watch.ended(job, queue.failures.get(job.name))
