"""A zygote: a process that has imported polytask and forks one for each command: torch is imported once.

Inside `warm()`, `subprocess.Popen` starts `python -m polytask …`, `python -c …` and `python FILE` as forks
of the zygote. Each is a child of the caller, with its number, arguments, folder, environment, streams,
session, signals and status, as if it had been started anew; and so are those that it starts itself. What a
fork cannot show (what another `PYTHONPATH` finds, a `preexec_fn`) starts a fresh interpreter.

    python -P tests/warm_processes.py DESCRIPTOR PADDING

serves the socket of that descriptor. The padding makes room for the command line that `ps` and `pkill -f`
see.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import inspect
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

IMPORTED = ("polytask.cli", "polytask.commands.init", "polytask.commands.train", "polytask.commands.check",
            "polytask.commands.evaluate", "polytask.commands.predict", "polytask.commands.compare",
            "polytask.commands.serve", "polytask.serve.app", "polytask.engines.shards",
            "polytask.inference.predictor", "polytask.report.page",
            "sklearn.linear_model", "sklearn.feature_extraction.text", "scipy.sparse", "polytask.losses",
            "polytask.metrics", "torch._dynamo")  # the last one for the first step of an optimizer
# What is read while libraries are imported: a command with another value gets an interpreter of its own.
_AT_IMPORT = ("PYTHON", "LD_", "LC_", "LANG", "TORCH", "CUDA", "MALLOC_")
# These verbs start processes of their own, for which they get a zygote.
STARTERS = {"compare", "sweep", "predict"}
_PADDING = 4096
_SOURCE = str(Path(__file__).parents[1] / "src")
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_Popen = subprocess.Popen


class Zygote:
    """The caller's end: a direct child of this process, which nobody else may ask."""

    def __init__(self, link: socket.socket, environment: Mapping[str, str], source: str = _SOURCE) -> None:
        self.link, self.environment, self.source = link, dict(environment), source
        self.owner, self.lock = os.getpid(), threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    def begin(cls, source: str = _SOURCE) -> Zygote:
        """Start one from nothing; `source` holds the package that it imports."""
        environment = dict(os.environ)
        ours, theirs = socket.socketpair()
        with theirs:
            # Threads of an idle OpenMP sleep: the processors are shared.
            process = _Popen([sys.executable, "-P", __file__, str(theirs.fileno()), "." * _PADDING],
                             pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, cwd="/",
                             env=environment | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1",
                                                "OMP_WAIT_POLICY": "PASSIVE"})
        if ours.recv(1) != b"r":
            raise RuntimeError("the zygote has not started")
        zygote = cls(ours, environment, source)
        zygote.process = process
        return zygote

    def fits(self, words: Sequence[str], environment: Mapping[str, str]) -> bool:
        """Whether a fork is as good as a fresh interpreter for a command."""
        differing = {name for name in {*self.environment, *environment}
                     if self.environment.get(name) != environment.get(name)}
        if environment.get("PYTHONPATH", "") in ("", self.source):
            differing.discard("PYTHONPATH")
        match [word for word in words[:4] if word != "-P"]:
            case [sys.executable, "-m", module, *_]:
                ours = module.startswith("polytask")
            case [sys.executable, option, *_]:
                ours = option == "-c" or option.endswith(".py")
            case _:
                ours = False
        return (ours and os.getpid() == self.owner
                and not any(name.startswith(_AT_IMPORT) for name in differing))

    def start(self, words: Sequence[str], folder: str, environment: Mapping[str, str],
              streams: Sequence[int], session: bool) -> int:
        """Start a command as a child of this process; return its number."""
        request = json.dumps([words, folder, dict(environment), session]).encode()
        with self.lock:
            _adopt(True)
            try:
                socket.send_fds(self.link, [len(request).to_bytes(8, "big")], list(streams))
                self.link.sendall(request)
                return int.from_bytes(_whole(self.link, 8), "big")
            finally:
                _adopt(False)

    def end(self) -> None:
        """Close the link, which ends the zygote."""
        self.link.close()
        if self.process is not None:
            self.process.wait()


def _adopt(orphans: bool) -> None:
    """Let orphans among this process's descendants become its children, or its own parent's again."""
    if ctypes.CDLL(None).prctl(_SUBREAPER, int(orphans), 0, 0, 0):
        raise OSError("prctl")


def _whole(link: socket.socket, size: int) -> bytes:
    found = link.recv(size, socket.MSG_WAITALL)
    if len(found) < size:
        raise EOFError
    return found


@contextmanager
def warm(zygote: Zygote) -> Iterator[None]:
    """Start the commands of this block as forks; elsewhere than on Linux, as fresh interpreters."""
    if sys.platform != "linux":
        yield
        return
    with patch.object(subprocess, "Popen", _popen(zygote)):
        yield


def _popen(zygote: Zygote) -> type[subprocess.Popen[Any]]:
    signature = inspect.signature(_Popen._execute_child)  # type: ignore[attr-defined]

    class Forked(_Popen):  # type: ignore[type-arg]
        def _execute_child(self, *given: Any) -> None:
            asked = signature.bind(self, *given).arguments
            words, environment = asked["args"], asked["env"]
            environment = dict(os.environ if environment is None else environment)
            cold = ("preexec_fn", "pass_fds", "shell", "startupinfo")
            if isinstance(words, str | bytes | os.PathLike) or any(asked[name] for name in cold) or not (
                    zygote.fits([*map(os.fsdecode, words)], environment)):
                super()._execute_child(*given)  # type: ignore[misc]
                return
            streams = [own if given == -1 else given for own, given in enumerate(
                (asked["p2cread"], asked["c2pwrite"], asked["errwrite"]))]
            self.pid = zygote.start([*map(os.fsdecode, words)], os.fspath(asked["cwd"] or os.getcwd()),
                                    environment, streams, asked["start_new_session"])
            self._child_created = True
            self._close_pipe_fds(*(asked[name] for name in (  # type: ignore[attr-defined]
                "p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")))

    return Forked


# ---- the zygote's end

def serve(link: socket.socket) -> None:
    """Fork a process for each request, until nobody can ask any more. Never returns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            size, streams, _, _ = socket.recv_fds(link, 8, 3)
            asked = json.loads(_whole(link, int.from_bytes(size, "big")) if size else "null")
        except (OSError, EOFError):
            asked = None
        if asked is None:
            os._exit(0)
        ours, theirs = os.pipe()
        between = os.fork()
        if between == 0:  # its child is an orphan at once, and so its grandparent's
            own = os.getpid()
            child = os.fork()
            if child == 0:
                link.close()
                for each in (ours, theirs):
                    os.close(each)
                while os.getppid() == own:
                    time.sleep(0.0005)
                os._exit(become(streams, *asked))
            os.write(theirs, child.to_bytes(8, "big"))
            os._exit(0)
        os.waitpid(between, 0)
        for each in (*streams, theirs):
            os.close(each)
        with suppress(OSError):  # whoever asked has died
            link.sendall(os.read(ours, 8))
        os.close(ours)


def become(streams: list[int], words: list[str], folder: str, environment: dict[str, str], session: bool
           ) -> int:
    """Be the command; return its status."""
    import torch

    from polytask.core import user_modules

    if session:
        os.setsid()
    for own, given in enumerate(streams):
        os.dup2(given, own)
        os.close(given)
    _show(words)
    words = words[1 + (words[1] == "-P"):]
    if words[:2] == ["-m", "polytask"] and words[2:3] and words[2] in STARTERS:
        branch(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    reopen()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    user_modules._folders[:] = json.loads(environment.get(user_modules._VARIABLE, "[]"))
    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    return ended(words)


def reopen() -> None:
    """Open the standard streams anew: the zygote's own remember where they were in a file."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        old = getattr(sys, name)
        new = open(number, mode, 1 if name == "stderr" else -1, old.encoding, old.errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)


def branch(environment: Mapping[str, str]) -> None:
    """Give this process, which is about to become a command, a zygote for those that it will start."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        os.chdir("/")
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):  # whoever reads what the command prints must see its end
            os.dup2(nothing, stream)
        serve(theirs)
    theirs.close()
    subprocess.Popen = _popen(Zygote(ours, environment, environment.get("PYTHONPATH", _SOURCE)))  # type: ignore[misc]


def _show(words: Sequence[str]) -> None:
    """Write a command line where the kernel keeps this process's own."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = int(fields[45]), int(fields[46])
    shown = b"\0".join(map(os.fsencode, words))[:end - begin - 1]
    ctypes.memmove(begin, shown.ljust(end - begin, b"\0"), end - begin)


def ended(words: list[str]) -> int:
    """Run `polytask …` or what a command line of Python names; return the status to end with."""
    status: Any = 0
    try:
        _run(words)
    except SystemExit as end:
        status = end.code
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
        status = 1
    if isinstance(status, str):
        sys.stderr.write(f"{status}\n")
        status = 1
    with suppress(Exception):
        threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as an interpreter does
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    return int(status or 0)


def _run(words: list[str]) -> None:
    option, *words = words
    if option == "polytask":
        from polytask.cli import main

        sys.argv = [option, *words]
        main()
    elif option == "-m":
        sys.argv = list(words)
        if not hasattr(sys.modules.get(words[0]), "__path__"):
            sys.modules.pop(words[0], None)  # or runpy warns that it is imported already
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    elif option == "-c":
        code, *words = words
        sys.argv = ["-c", *words]
        sys.path.insert(0, "")
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = [option, *words]
        sys.path.insert(0, str(Path(option).parent.resolve()))
        runpy.run_path(option, run_name="__main__")


if __name__ == "__main__":
    for name in IMPORTED:
        import_module(name)
    assert "huggingface_hub" not in sys.modules, "it reads HF_ENDPOINT and HF_HOME while it is imported"
    gc.freeze()
    asked_at = socket.socket(fileno=int(sys.argv[1]))
    asked_at.sendall(b"r")
    serve(asked_at)
