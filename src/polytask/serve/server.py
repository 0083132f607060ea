"""The server process: loads models, binds the address, handles signals, reloads models, shuts down."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from pathlib import Path
from types import FrameType

import uvicorn

from polytask.core.errors import ConfigError, PolytaskError, RunError
from polytask.core.paths import ModelPaths, RunPaths
from polytask.core.safe_paths import refuse_special
from polytask.core.terminal import tell
from polytask.model.hub import fetched_model, is_address, parsed
from polytask.serve.app import create_app
from polytask.serve.connections import MAX_HEAD_BYTES, ConnectionLimits, guarded_protocol
from polytask.serve.counters import Counters
from polytask.serve.engine import ServedModel
from polytask.serve.limits import log_to_stderr
from polytask.serve.service import Service
from polytask.serve.settings import ServeSettings

# Connections that wait to be accepted; and open files besides them, of the model and the libraries.
_BACKLOG, _FILES_OF_OUR_OWN = 2048, 256
Loader = Callable[[Path, str], ServedModel]


class OrderlyServer(uvicorn.Server):
    """A server that, when asked to stop, answers its open requests and exits with status 0."""

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Drain on SIGTERM and SIGINT, which uvicorn would raise again at the end."""
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
        if is_address(run):
            name = parsed(str(run))[0].split("/")[1]
        else:
            refuse_special(Path(run))
            name = Path(run).resolve().name
        if name in folders:
            raise ConfigError(f'{run}: another model is called "{name}" too; expected folders with '
                              "different names")
        folders[name] = fetched_model(str(run), engine) if is_address(run) else Path(run)
    return folders


def serve(runs: Sequence[str | Path], settings: ServeSettings, keys: Sequence[bytes], load: Loader,
          started: Callable[[str], None] | None = None) -> None:
    """Serve models until a signal. Everything that can be refused is refused before the port opens.

    `started` is called with the address. Raises `RunError`, `ConfigError` and `CheckpointError` for a
    folder that cannot be served, `RunError` for a port that is taken.
    """
    names = named_folders(runs, settings.engine)
    listening, ended = _bound(settings), threading.Event()
    try:
        service = Service([load(folder, name) for name, folder in names.items()], settings, Counters(),
                          names)
        server = server_of(service, keys)
        # Later collections of garbage leave out what stays: looking through it all takes 0.3 s.
        gc.collect()
        gc.freeze()
        _listen(listening, settings)
        log_to_stderr(settings.log != "none")
        if settings.reload_seconds:
            watch = FolderWatch(service, names, load)
            # A thread begins with an empty context; what the user trusts is in ours.
            threading.Thread(target=copy_context().run, args=(watch.run, settings.reload_seconds, ended),
                             daemon=True, name="polytask-reload").start()
        if started is not None:
            started(f"http://{settings.host}:{listening.getsockname()[1]}{settings.root_path}")
        server.run(sockets=[listening])
    finally:
        ended.set()
        listening.close()


def server_of(service: Service, keys: Sequence[bytes] = (), parser: str = "auto") -> OrderlyServer:
    """Return the HTTP server of a service; `parser` is "auto" or "h11"."""
    settings = service.settings
    limits = ConnectionLimits(settings.read_timeout, settings.timeout,
                              _open_files(settings.max_connections), service.counters.refused_connection)
    config = uvicorn.Config(
        create_app(service, keys), log_config=None, access_log=False, lifespan="on", ws="none",
        http=guarded_protocol(limits, parser), timeout_graceful_shutdown=int(settings.timeout) + 1,
        timeout_keep_alive=10, h11_max_incomplete_event_size=MAX_HEAD_BYTES, server_header=False)
    return OrderlyServer(config, lambda: setattr(service, "draining", True))


def _open_files(connections: int) -> int:
    """Return how many connections this process may hold, its limit of open files raised where it can be."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _FILES_OF_OUR_OWN
    if soft != resource.RLIM_INFINITY and soft < needed:
        more = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
            soft = more
        return max(1, min(connections, soft - _FILES_OF_OUR_OWN))
    return connections


def _bound(settings: ServeSettings) -> socket.socket:
    """Return a socket that is bound but does not listen yet; raise `RunError` if the address is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except (OSError, UnicodeError) as error:
        listening.close()
        raise _cannot_listen(settings, error) from None
    return listening


def _listen(listening: socket.socket, settings: ServeSettings) -> None:
    """Open the port; another process may have taken it while the models were loaded."""
    try:
        listening.listen(_BACKLOG)
    except OSError as error:
        raise _cannot_listen(settings, error) from None


def _cannot_listen(settings: ServeSettings, error: OSError | UnicodeError) -> RunError:
    reason = str(error)
    if isinstance(error, OSError) and error.errno:  # of a name that is not found, not the system's number
        reason = str(error.strerror) if isinstance(error, socket.gaierror) else os.strerror(error.errno)
    return RunError(f"{settings.host}:{settings.port}: cannot listen there ({reason}); choose another "
                    "with --host and --port")


class FolderWatch:
    """Reloads a model whose folder was replaced; requests in progress finish with the old one.

    A folder that is copied file by file is loaded once it stops changing.
    """

    def __init__(self, service: Service, folders: dict[str, Path], load: Loader) -> None:
        self.service, self.folders, self.load = service, folders, load
        self._loaded = {name: _mark(folder) for name, folder in folders.items()}
        self._before = dict(self._loaded)

    def run(self, seconds: float, ended: threading.Event) -> None:
        """Look every `seconds`, until `ended`."""
        while not ended.wait(seconds):
            self.look()

    def look(self) -> None:
        """Load every model that was replaced; if that fails, say so and keep the old one."""
        for name, folder in self.folders.items():
            mark, before = _mark(folder), self._before[name]
            self._before[name] = mark
            if not mark or mark == self._loaded[name] or mark != before:
                continue
            self._loaded[name] = mark
            try:
                self.service.replace(self.load(folder, name))
            except Exception as error:  # of any kind: the thread must outlive it
                reason = str(error) if isinstance(error, PolytaskError | OSError) else type(error).__name__
                tell(f"{folder}: the new model cannot be loaded, so the old one stays "
                     f"({reason})")


def _mark(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Return what tells a model folder's files from their replacements; () while there is no model."""
    with contextlib.suppress(OSError):  # a disk that is away for a moment, a folder that is closed to us
        for place in (RunPaths(folder).model, folder):
            if ModelPaths(place).tasks.is_file():
                return tuple(sorted(_files(place)))
    return ()


def _files(folder: Path) -> Iterator[tuple[str, int, int, int]]:
    for path in [*folder.glob("*"), *folder.glob("*/*"), *folder.glob("*/*/*")]:
        with contextlib.suppress(OSError):
            status = path.stat()
            if stat.S_ISREG(status.st_mode):
                yield str(path), status.st_ino, status.st_mtime_ns, status.st_size
