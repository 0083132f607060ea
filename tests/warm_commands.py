"""A process that has imported polytask and forks one for each command, so that a page imports torch once.

    python tests/warm_commands.py SOCKET FOLDER

writes the programs `polytask` and `python` to FOLDER and serves them at SOCKET until it is stopped. Each
command is still a process of its own: with its arguments, folder, environment, streams, signals and status.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

from warm_processes import IMPORTED, STARTERS, branch, ended, reopen

# Sends its own arguments and streams, forwards signals, and ends as the command ends.
PROGRAM = """\
#!{python} -SEs
import array, json, os, signal, socket, sys
link = socket.socket(socket.AF_UNIX)
link.connect({place!r})
request = json.dumps([{name!r}, sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
link.sendmsg([len(request).to_bytes(8, "big")],
             [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
link.sendall(request)
answers = link.makefile()
process = int(answers.readline())
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, frame: os.kill(process, number))
for stream in (0, 1, 2):
    os.close(stream)
os._exit(int(answers.readline() or 1))
"""


@contextmanager
def warm_commands(folder: Path) -> Iterator[Path]:
    """Start the server; yield the folder of the programs."""
    place, tools = folder / "socket", folder / "tools"
    environment = {**os.environ, "OMP_NUM_THREADS": "1",
                   "PYTHONPATH": str(Path(__file__).parents[1] / "src")}
    server = subprocess.Popen([sys.executable, __file__, str(place), str(tools)], env=environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None and server.stdout.readline() == b"ready\n"
        yield tools
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


def serve(place: Path, tools: Path) -> None:
    for name in IMPORTED:
        import_module(name)
    del sys.path[0]  # this file's folder
    tools.mkdir()
    for name in ("polytask", "python"):
        program = tools / name
        program.write_text(PROGRAM.format(python=sys.executable, place=str(place), name=name))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place))
    listener.listen()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    while True:
        link, _ = listener.accept()
        with suppress(ChildProcessError):  # collect what has ended
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            answer(link)
        link.close()


def answer(link: socket.socket) -> None:
    """Run one command in a process of its own; send its number, and then its status."""
    size, streams, _, _ = socket.recv_fds(link, 8, 3)
    request = link.makefile("rb").read(int.from_bytes(size, "big"))
    process = os.fork()
    if process == 0:
        link.close()
        os._exit(run(streams, *json.loads(request)))
    for stream in (*streams, 0, 1):
        os.close(stream)
    link.sendall(f"{process}\n".encode())
    _, status = os.waitpid(process, 0)
    with suppress(OSError):  # the program was killed
        link.sendall(f"{os.waitstatus_to_exitcode(status) % 256}\n".encode())
    os._exit(0)


def run(streams: list[int], name: str, words: list[str], folder: str, environment: dict[str, str]) -> int:
    """Become the command; return its status."""
    for own, given in enumerate(streams):
        os.dup2(given, own)
        os.close(given)
    if name == "polytask" and words and words[0] in STARTERS:
        branch(environment)
    reopen()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    return ended([name, *words] if name == "polytask" else words)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]))
