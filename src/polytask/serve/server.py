"""The process: models loaded, the address bound, signals, new models taken up, the end in order."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

import uvicorn

from polytask.core.errors import ConfigError, PolytaskError, RunError
from polytask.core.paths import ModelPaths, RunPaths
from polytask.model.hub import fetched_model, is_address, parsed
from polytask.serve.app import create_app
from polytask.serve.counters import Counters
from polytask.serve.engine import ServedModel
from polytask.serve.limits import log_to_stderr
from polytask.serve.service import Service
from polytask.serve.settings import ServeSettings

Loader = Callable[[Path, str], ServedModel]


class OrderlyServer(uvicorn.Server):
    """A server that ends with exit status 0 when it was asked to end, its requests answered."""

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let SIGTERM and SIGINT drain; uvicorn would raise them again at the end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: FrameType | None) -> None:
            self._stopping()
            self.handle_exit(number, frame)

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def named_folders(runs: Sequence[str | Path], engine: str) -> dict[str, Path]:
    """Return the folder of each model by its name: that of the folder, or of the repository on the hub.

    Raises `ConfigError` for two models of one name, and what `fetched_model` raises.
    """
    folders: dict[str, Path] = {}
    for run in runs:
        name = parsed(str(run))[0].split("/")[1] if is_address(run) else Path(run).resolve().name
        if name in folders:
            raise ConfigError(f'{run}: another model is called "{name}" too; expected folders of '
                              "different names")
        folders[name] = fetched_model(str(run), engine) if is_address(run) else Path(run)
    return folders


def serve(runs: Sequence[str | Path], settings: ServeSettings, keys: Sequence[bytes], load: Loader,
          started: Callable[[str], None] | None = None) -> None:
    """Serve models until a signal ends it. Everything that can be refused is, before the port is open.

    `started` is told the address. Raises `RunError`, `ConfigError` and `CheckpointError` for a folder that
    cannot be served, `RunError` for a port that is taken.
    """
    folders = named_folders(runs, settings.engine)
    models = [load(folder, name) for name, folder in folders.items()]
    service = Service(models, settings, Counters())
    listening = _bound(settings)
    if settings.log != "none":
        log_to_stderr()
    config = uvicorn.Config(
        create_app(service, keys), log_config=None, access_log=False, lifespan="on",
        timeout_graceful_shutdown=int(settings.timeout) + 1, timeout_keep_alive=10,
        h11_max_incomplete_event_size=65536, server_header=False)
    server = OrderlyServer(config, lambda: setattr(service, "draining", True))
    ended = threading.Event()
    if settings.reload_seconds:
        watch = FolderWatch(service, folders, load)
        threading.Thread(target=watch.run, args=(settings.reload_seconds, ended), daemon=True,
                         name="polytask-reload").start()
    try:
        if started is not None:
            started(f"http://{settings.host}:{listening.getsockname()[1]}{settings.root_path}")
        server.run(sockets=[listening])
    finally:
        ended.set()
        listening.close()


def _bound(settings: ServeSettings) -> socket.socket:
    """Return a socket that listens; raise `RunError` for an address that cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except (OSError, UnicodeError) as error:
        listening.close()
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise RunError(f"{settings.host}:{settings.port}: cannot listen there ({reason}); choose another "
                       "with --host and --port") from None
    return listening


class FolderWatch:
    """Takes up a model whose folder was replaced; requests under way are answered by the old one."""

    def __init__(self, service: Service, folders: dict[str, Path], load: Loader) -> None:
        self.service, self.folders, self.load = service, folders, load
        self._seen = {name: self._mark(folder) for name, folder in folders.items()}

    def run(self, seconds: float, ended: threading.Event) -> None:
        """Look every `seconds`, until `ended`."""
        while not ended.wait(seconds):
            self.look()

    def look(self) -> None:
        """Load every model that was replaced; where that fails, tell it and keep the old one."""
        for name, folder in self.folders.items():
            mark = self._mark(folder)
            if mark is None or mark == self._seen[name]:
                continue
            self._seen[name] = mark
            try:
                self.service.replace(self.load(folder, name))
            except (PolytaskError, OSError) as error:
                sys.stderr.write(f"{folder}: the new model cannot be loaded, so the old one stays "
                                 f"({error})\n")

    @staticmethod
    def _mark(folder: Path) -> tuple[int, int, int] | None:
        """Return what changes when a model folder is replaced; None while there is none."""
        for place in (ModelPaths(RunPaths(folder).model).tasks, ModelPaths(folder).tasks):
            with contextlib.suppress(OSError):
                status = place.stat()
                return status.st_ino, status.st_mtime_ns, status.st_size
        return None
