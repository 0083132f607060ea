"""Computes numbered shards in worker processes of this machine, each of which keeps a model.

A worker that dies loses its shard, which another one computes again; the worker is replaced.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polytask.core import errors
from polytask.core.atomic_files import storing
from polytask.core.errors import PolytaskError
from polytask.core.safe_paths import refuse_link
from polytask.core.user_modules import worker_environment
from polytask.engines.local import module_path

WORKER_MODULE = "polytask.inference.shard_worker"


@dataclass(frozen=True)
class Report:
    """What became of a shard: `rows` more are answered, it is `done`, or its worker is `lost` (why)."""

    number: int
    rows: int = 0
    done: bool = False
    lost: str = ""


class ShardEngine(ABC):
    """Computes shards of one folder of predictions, `workers` at a time."""

    workers: int

    @property
    @abstractmethod
    def free(self) -> bool:
        """Whether a worker waits for a shard, or may be started."""

    @abstractmethod
    def start(self, number: int) -> None:
        """Give a shard to a worker."""

    @abstractmethod
    def reports(self, seconds: float) -> list[Report]:
        """Wait up to `seconds` for something to happen, and return it. Raises what a worker raised."""

    @abstractmethod
    def stop(self) -> None:
        """End all workers at once; a shard that is not finished is computed again another time."""


class _WorkerProcess:
    """A worker process, and the thread that reads what it says."""

    def __init__(self, command: Sequence[str], log: Path, environment: dict[str, str],
                 heard: Callable[[_WorkerProcess, dict[str, Any] | None], None]) -> None:
        self.number: int | None = None
        self.log = log
        with storing(log), log.open("wb") as file:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=file, env=environment)
        self.listener = threading.Thread(target=self._listen, args=[heard], daemon=True)
        self.listener.start()

    def _listen(self, heard: Callable[[_WorkerProcess, dict[str, Any] | None], None]) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                heard(self, json.loads(line))
        self.process.wait()
        heard(self, None)

    def give(self, number: int) -> None:
        self.number = number
        assert self.process.stdin is not None
        with suppress(OSError):  # of one that has died, which its listener says
            self.process.stdin.write(f"{number}\n".encode())
            self.process.stdin.flush()

    def end(self) -> None:
        """Kill the process if it is alive, and wait until it and its listener have ended."""
        self.process.kill()
        self.process.wait()
        self.listener.join()
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()

    def complaint(self) -> str:
        code = self.process.poll() or 0
        if code < 0:
            return f"was killed by signal {-code}"
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "ended without a message"


class LocalShards(ShardEngine):
    """Worker processes of this machine, each with its share of the processor's threads.

    log: the file for what a worker writes on standard error, by its index.
    """

    def __init__(self, folder: Path, workers: int, trust: bool, log: Callable[[int], Path]) -> None:
        self.workers, self._log = workers, log
        # -P: a random.py in the current folder must not stand in for the standard library's.
        self._command = [sys.executable, "-P", "-m", WORKER_MODULE, str(folder), *["--trust"] * trust]
        threads = max(1, (os.cpu_count() or 1) // workers)
        self._environment = (os.environ | worker_environment() | module_path()
                             | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))})
        self._heard: queue.Queue[tuple[_WorkerProcess, dict[str, Any] | None]] = queue.Queue()
        self._processes: dict[int, _WorkerProcess] = {}

    @property
    def free(self) -> bool:
        return len(self._processes) < self.workers or any(
            worker.number is None for worker in self._processes.values())

    def start(self, number: int) -> None:
        idle = next((worker for worker in self._processes.values() if worker.number is None), None)
        if idle is None:
            index = next(index for index in range(self.workers) if index not in self._processes)
            log = self._log(index)
            with storing(log):
                log.parent.mkdir(parents=True, exist_ok=True)
            refuse_link(log)
            idle = _WorkerProcess([*self._command, "--index", str(index)], log, self._environment,
                                  lambda worker, message: self._heard.put((worker, message)))
            self._processes[index] = idle
        idle.give(number)

    def reports(self, seconds: float) -> list[Report]:
        reports: list[Report] = []
        while True:
            try:
                worker, message = self._heard.get(timeout=0 if reports else seconds)
            except queue.Empty:
                return reports
            number = worker.number
            if message is None:
                worker.end()
                self._processes = {index: process for index, process in self._processes.items()
                                   if process is not worker}
                if number is not None:
                    reports.append(Report(number, lost=worker.complaint()))
            elif "error" in message:
                raise worker_error(message["kind"], message["error"])
            elif number is not None and "rows" in message:
                reports.append(Report(number, rows=message["rows"]))
            elif number is not None and "done" in message:
                worker.number = None
                reports.append(Report(number, done=True))

    def stop(self) -> None:
        for worker in self._processes.values():
            worker.end()
        self._processes = {}
        for index in range(self.workers):
            self._log(index).unlink(missing_ok=True)


def worker_error(kind: str, text: str) -> PolytaskError:
    """Return the error that a worker raised, as one of ours."""
    error = getattr(errors, kind, None)
    if isinstance(error, type) and issubclass(error, PolytaskError) and error is not errors.MissingExtra:
        return error(text)
    return PolytaskError(text)
