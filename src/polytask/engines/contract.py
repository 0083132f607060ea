"""The contract of engines: they start jobs somewhere and report how each ended."""

from __future__ import annotations

from abc import ABC, abstractmethod

from polytask.engines.job import Job


class Execution(ABC):
    """A job that an engine has started."""

    job: Job

    @property
    @abstractmethod
    def ended(self) -> bool:
        """Whether the training has ended, in whatever way; `job.finished` says whether it succeeded."""

    @property
    @abstractmethod
    def seconds(self) -> float:
        """How long ago it was started."""

    @abstractmethod
    def stop(self) -> None:
        """Ask the training to save and stop; return at once."""

    @abstractmethod
    def complaint(self) -> str:
        """Return in a line why an ended job is not finished."""


class Engine(ABC):
    """Computes jobs, `workers` at a time.

    An engine of another kind starts `polytask train CONFIG --out FOLDER --resume` where it has room. The
    folder may be shared storage; if it is not, the engine brings the folder back.
    """

    workers: int

    @abstractmethod
    def start(self, job: Job) -> Execution:
        """Start the job, or resume what a killed one left."""

    def close(self) -> None:  # noqa: B027
        """Give back what the engine holds beside its jobs."""
