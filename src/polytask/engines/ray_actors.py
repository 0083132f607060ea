"""What runs on a node of a cluster: a training as a process of its own, or a worker that keeps a model."""

from __future__ import annotations

import ctypes
import io
import os
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from polytask.core.atomic_files import aside_folder, write_folder
from polytask.core.errors import RunError
from polytask.core.leftovers import tidy
from polytask.core.paths import NODE_RUN, JobPaths
from polytask.core.run_folder import RunFolder
from polytask.core.user_modules import add_search_path, trusting, worker_environment
from polytask.engines.local import module_path

# How long a run waits for the process of an earlier attempt to save and leave its folder.
_LEAVE_SECONDS = 60.0
_POLL_SECONDS = 0.2
_LOG_SHOWN = 2000
_SHARD_WORKER = "polytask.inference.shard_worker"


class RunActor:
    """Trains one job in a process of its own, which saves and stops when asked to, or when we die."""

    def __init__(self, version: str, folders: Sequence[str], trust: bool) -> None:
        _refuse_other_version(version)
        for folder in folders:
            add_search_path(folder)
        self.trust = trust
        self.process: subprocess.Popen[bytes] | None = None
        self.stopped = False

    def train(self, config: str, folder: str, log: str, mark: str | None, settings: str) -> dict[str, Any]:
        """Train in `folder` if this node sees it, which `mark` there proves; else in one of its own.

        Return why it is not finished, or "", and the folder as a tar archive if it has to travel.
        """
        if mark is not None and Path(mark).is_file():
            return {"complaint": self._run(Path(config), Path(folder), Path(log)), "folder": None}
        with _scratch() as scratch:
            own = JobPaths(scratch)
            own.config.write_text(settings, encoding="utf-8")
            complaint = self._run(own.config, own.run, own.log)
            done = RunFolder(own.run).results.is_file()
            return {"complaint": complaint and f"on {socket.gethostname()}: {complaint}",
                    "folder": _packed(own.run) if done else None}

    def _run(self, config: Path, folder: Path, log: Path) -> str:
        deadline = time.monotonic() + _LEAVE_SECONDS
        while RunFolder(folder).busy and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        command = [sys.executable, "-P", "-m", "polytask", "train", str(config), "--out", str(folder),
                   "--resume", "--quiet", *["--trust"] * self.trust]
        with log.open("ab") as output:
            start = output.tell()
            if not self.stopped:
                self.process = subprocess.Popen(
                    command, stdout=output, stderr=output, preexec_fn=_die_with_parent,
                    env=os.environ | worker_environment() | module_path())
        while self.process is not None and self.process.poll() is None:
            time.sleep(_POLL_SECONDS)
        if RunFolder(folder).results.is_file():
            return ""
        code = self.process.returncode if self.process else 0
        if code < 0:
            return f"was killed by signal {-code}"
        lines = log.read_bytes()[start:][-_LOG_SHOWN:].decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "ended without a message"

    def stop(self) -> None:
        """Let the training save and stop."""
        self.stopped = True
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()


class ShardActor:
    """Keeps a model and predicts shards."""

    def __init__(self, version: str, folder: str, index: int, folders: Sequence[str], trust: bool) -> None:
        _refuse_other_version(version)
        for place in folders:
            add_search_path(place)
        with trusting(trust):
            self.worker = import_module(_SHARD_WORKER).ShardWorker(folder, index, trust)

    def compute(self, number: int) -> dict[str, Any]:
        return self.worker.compute(number)  # type: ignore[no-any-return]


def installed_version() -> str:
    """Return the version of polytask on this machine."""
    return metadata.version("polytask")


def _refuse_other_version(version: str) -> None:
    if installed_version() != version:
        raise RunError(f"{socket.gethostname()}: has polytask {installed_version()}, and the command was "
                       f"started with {version}; install the same version on all nodes")


@contextmanager
def _scratch() -> Iterator[Path]:
    """Give a folder of this node, and remove those of actors that were killed here."""
    place = Path(tempfile.gettempdir()) / NODE_RUN
    tidy(place.parent, [place.name])
    with aside_folder(place) as scratch:
        yield scratch


def _die_with_parent() -> None:
    """Ask the kernel for a SIGTERM when the actor dies: a training without one would hold its folder."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _packed(folder: Path) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for path in sorted(folder.iterdir()):
            if path != RunFolder(folder).checkpoints:  # a finished run is never resumed
                archive.add(path, path.name)
    return content.getvalue()


def unpacked(content: bytes, folder: Path) -> None:
    """Write a packed folder in the place of `folder`."""
    with write_folder(folder) as aside, tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(aside, filter="data")
