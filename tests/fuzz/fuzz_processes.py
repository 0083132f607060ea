"""Trainings of two processes, as torchrun starts them but as forks, which meet over gloo."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from polytask.core.errors import PolytaskError, RunError

WORLD = 2
# After one of them has failed, the other has this long before it is killed, as torchrun kills it.
GRACE_SECONDS = 3.0
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def environment(rank: int, port: int) -> dict[str, str]:
    """Return what torchrun sets for a process."""
    return {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(WORLD),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def forked(action: Callable[[], Any], variables: Mapping[str, str], pipe: int | None = None) -> int:
    """Run `action` in a fork that dies with us; return its number. Its error goes into the pipe as JSON."""
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked to be told
            os._exit(status)
        os.environ |= variables
        action()
        status = 0
    except PolytaskError as error:
        _say(pipe, [True, str(error)[:1500]])
    except BaseException:
        _say(pipe, [False, traceback.format_exc()[-3000:]])
    finally:
        os._exit(status)


def _say(pipe: int | None, what: list[Any]) -> None:
    if pipe is not None:
        os.write(pipe, json.dumps(what).encode() + b"\n")


def together(action: Callable[[], Any]) -> None:
    """Run `action` here as process 0 beside process 1; raise what it raises, or that process 1 failed."""
    port = free_port()
    other = forked(action, environment(1, port))
    os.environ |= environment(0, port)
    try:
        action()
        _, status = os.waitpid(other, 0)
        if status:
            raise RunError("process 1 failed")
    finally:
        for name in environment(0, port):
            os.environ.pop(name, None)


def launched(actions: tuple[Callable[[], Any], ...], variables: tuple[Mapping[str, str], ...]) -> None:
    """Run a process for each action; once one fails, the others are killed after a while.

    Raises the first refusal as a `RunError`, and an `AssertionError` for what is none.
    """
    ours, theirs = os.pipe()
    alive = {forked(action, each, theirs) for action, each in zip(actions, variables, strict=True)}
    os.close(theirs)
    deadline = float("inf")
    while alive and time.monotonic() < deadline:
        for child in [*alive]:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                alive.remove(child)
                if status and deadline == float("inf"):
                    deadline = time.monotonic() + GRACE_SECONDS
        time.sleep(0.005)
    for child in alive:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with os.fdopen(ours, "rb") as pipe:
        said = [json.loads(line) for line in pipe.read().splitlines()]
    for refused, text in said:
        if not refused:
            raise AssertionError(text)
    if said:
        raise RunError(said[0][1])
    if deadline != float("inf"):
        raise AssertionError("a process died without a word")
