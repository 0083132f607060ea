"""Jobs as processes of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from polytask.core.atomic_files import storing
from polytask.core.user_modules import trusted, worker_environment
from polytask.engines.contract import Engine, Execution
from polytask.engines.job import Job


class LocalProcess(Execution):
    """A job in its own process, which outlives a killed parent and saves on SIGTERM."""

    def __init__(self, job: Job, process: subprocess.Popen[bytes]) -> None:
        self.job, self.process = job, process
        self.started = time.monotonic()

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def stop(self) -> None:
        if not self.ended:
            self.process.terminate()

    def complaint(self) -> str:
        code = self.process.poll() or 0
        return f"was killed by signal {-code}" if code < 0 else self.job.last_line()


class LocalEngine(Engine):
    """Processes of this machine; each has its share of OMP_NUM_THREADS, or of all threads."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        allowed = os.environ.get("OMP_NUM_THREADS", "")
        self.threads = max(1, (int(allowed) if allowed.isdecimal() else os.cpu_count() or 1) // workers)
        self._on: dict[str, list[LocalProcess]] = {gpu: [] for gpu in visible_gpus()}

    def start(self, job: Job) -> LocalProcess:
        job.write_config()
        # -P: a random.py in the current folder must not stand in for the standard library's.
        command = [sys.executable, "-P", "-m", "polytask", "train", str(job.config),
                   "--out", str(job.folder), "--resume", "--quiet",
                   *(["--trust"] if trusted() else [])]
        environment = (os.environ | worker_environment() | module_path()
                       | {"OMP_NUM_THREADS": str(self.threads)})
        siblings: list[LocalProcess] = []
        if len(self._on) > 1:
            for processes in self._on.values():
                processes[:] = [each for each in processes if not each.ended]
            gpu, siblings = min(self._on.items(), key=lambda item: len(item[1]))
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        with storing(job.log), job.log.open("ab") as log:
            process = LocalProcess(job, subprocess.Popen(command, stdout=log, stderr=log, env=environment,
                                                         start_new_session=True))
        siblings.append(process)
        return process


def visible_gpus(listed: Path = Path("/proc/driver/nvidia/gpus")) -> list[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them.

    torch would know them, too, but importing it takes a second.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [gpu.strip() for gpu in named.split(",") if gpu.strip()]
    return [str(number) for number in range(len(list(listed.iterdir())))] if listed.is_dir() else []


def module_path() -> dict[str, str]:
    """Return where a worker finds polytask, if its parent found it in the current folder, as -P forbids."""
    root = Path(__file__).parents[2]
    if root != Path.cwd():
        return {}
    return {"PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(root)]))}
