"""One try in a process of its own: what came of it, within a time and a memory that it may take."""

from __future__ import annotations

import faulthandler
import json
import math
import os
import resource
import select
import signal
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from polytask.core.errors import PolytaskError

SECONDS = 20.0
MEMORY = 1 << 30
# With so many seconds of drawing and so many kills, no test comes near pytest's usual time limit.
USUAL_SECONDS, USUAL_KILLS = 60.0, 100

# What a child that does not end is asked first: where it is.
WHERE = signal.SIGUSR2

RIGHT, REFUSED, TRACEBACK, HANG, CRASH = "right", "refused", "traceback", "hang", "crash"


def time_limit(usual: float, seconds: float, kills: int) -> float:
    """Return the seconds that a test may take which draws for longer and kills more than usual."""
    return usual * max(1.0, seconds / USUAL_SECONDS, kills / USUAL_KILLS)


@dataclass(frozen=True)
class Outcome:
    """How a try ended: `kind` is one of the five words above, `detail` the refusal or the traceback."""

    kind: str
    detail: str = ""
    seconds: float = 0.0

    @property
    def fine(self) -> bool:
        """Whether it is one of the two ends that every input must have."""
        return self.kind in (RIGHT, REFUSED)


def in_child(action: Callable[[], None], seconds: float = SECONDS, memory: int | None = MEMORY) -> Outcome:
    """Run `action` in a fork of this process; kill it after `seconds`.

    seconds: of the processor, so that a busy machine makes no hang; three times as many by the clock.
    memory: bytes that it may have beyond what this process has; None: any.
    """
    began = time.monotonic()
    stack = os.memfd_create("stack")
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        _attempt(action, theirs, memory, seconds, stack)
    os.close(theirs)
    try:
        said = _all_of(ours, began + 3 * seconds)
        if said is None:
            os.kill(child, WHERE)
            time.sleep(0.2)
            os.kill(child, signal.SIGKILL)
    finally:
        os.close(ours)
        _, status, usage = os.wait4(child, 0)
        where = os.pread(stack, 4000, 0).decode(errors="replace")
        os.close(stack)
    took = usage.ru_utime + usage.ru_stime
    if said is None or os.waitstatus_to_exitcode(status) == -signal.SIGXCPU:
        return Outcome(HANG, f"no end after {took:.1f} s of the processor, "
                             f"{time.monotonic() - began:.1f} s by the clock\n{where}", took)
    if not said:
        return Outcome(CRASH, f"ended with status {os.waitstatus_to_exitcode(status)} and no word", took)
    kind, detail = json.loads(said)
    return Outcome(kind, detail, took)


def _all_of(pipe: int, deadline: float) -> bytes | None:
    parts = []
    while True:
        ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None
        part = os.read(pipe, 1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)


def _attempt(action: Callable[[], None], pipe: int, memory: int | None, seconds: float, stack: int) -> None:
    """Be the child: never return."""
    said = [CRASH, ""]
    try:
        silence()
        for number in (WHERE, signal.SIGXCPU):  # written whatever the thread waits for
            faulthandler.register(number, stack, chain=number != WHERE)
        whole = max(1, math.ceil(seconds))
        resource.setrlimit(resource.RLIMIT_CPU, (whole, whole + 1))
        warnings.resetwarnings()
        warnings.simplefilter("ignore")  # as in a program; pytest makes errors of them
        if memory is not None:
            limit = _mapped() + memory
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        action()
        said = [RIGHT, ""]
    except PolytaskError as error:
        said = [REFUSED, str(error)[:2000]]
    except BaseException:
        said = [TRACEBACK, traceback.format_exc()[-4000:]]
    finally:
        try:
            os.write(pipe, json.dumps(said).encode())
        finally:
            os._exit(0)


def silence() -> None:
    """Send what a child writes to its terminal nowhere, from Python and from libraries."""
    faulthandler.disable()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _mapped() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
