"""Kills at every kind of file operation, and at any moment; then a resume, and the ends compared.

A kill is `os._exit` in a fork of this process: no handler runs, no buffer is flushed. Operations are seen
by an audit hook, so that those of libraries count too; `os.fsync`, which Python does not audit, is wrapped.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz_child import silence

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_AUDITED = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod", "os.link",
            "os.symlink", "shutil.rmtree", "tempfile.mkstemp", "tempfile.mkdtemp"}
KILLED = 9
# A card's row of how long a graph takes.
_MEASURED = re.compile(r"\| `onnx/\w+\.onnx` \| [\d.]+ \|")

# What differs between two undisturbed runs too: how long they took, and when.
_TIMES = {"seconds", "finished", "time", "peak_memory_mb", "threads", "cost", "about", "date", "events",
          "datetime_start", "datetime_complete", "worker_id", "machine"}
_OWN = {".lock", ".shards"}  # hidden, and meant to stay
_ONLY_THERE = {"report.html", "results.md", "results.csv"}  # they show those times


@dataclass(frozen=True)
class Scenario:
    """What is killed: `action` starts it in a folder, or resumes what is there."""

    name: str
    action: Callable[[Path], Any]
    prepare: Callable[[Path], Any] = lambda folder: None


def is_write(event: str, arguments: tuple[Any, ...]) -> bool:
    """Return whether an audited event changes something on disk."""
    if event != "open":
        return event in _AUDITED
    path, _, flags = arguments
    return isinstance(flags, int) and bool(flags & _WRITES) and not str(path).startswith("/dev/")


class Counted:
    """Counts the operations that write, and ends the process at one of them."""

    def __init__(self, last: int | None) -> None:
        self.last, self.seen = last, 0
        self.kinds: Counter[str] = Counter()

    def watch(self) -> None:
        """Start to count."""
        def fsync(descriptor: int) -> None:  # what a killed process has written is not lost without it
            self._operation("os.fsync")

        os.fsync = fsync
        sys.addaudithook(self._audited)

    def _audited(self, event: str, arguments: tuple[Any, ...]) -> None:
        if is_write(event, arguments):
            self._operation("open for writing" if event == "open" else event)

    def _operation(self, kind: str) -> None:
        self.seen += 1
        self.kinds[kind] += 1
        if self.seen == self.last:
            os._exit(KILLED)


def start(scenario: Scenario, folder: Path, last: int | None = None, after: float | None = None,
          report: Path | None = None) -> int:
    """Run a scenario in a fork; return its exit status: 0, `KILLED`, or 1 for an error.

    last: the operation before which it dies; after: the seconds after which it is killed. report: gets the
    number and kinds of its operations, or the error.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            silence()
            counted = Counted(last)
            counted.watch()
            scenario.action(folder)
            status = 0
            counted.last = None
            if report is not None:
                report.write_text(json.dumps({"seen": counted.seen, "kinds": counted.kinds}))
        except BaseException as error:
            if report is not None:
                counted.last = None
                report.write_text(f"{type(error).__name__}: {error}")
        finally:
            os._exit(status)
    if after is not None:
        deadline = time.monotonic() + after
        while time.monotonic() < deadline:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return KILLED if code == -signal.SIGKILL else code


# ---- the end of a scenario

def snapshot(folder: Path) -> dict[str, Any]:
    """Return every file of a folder by its path: its bytes, and of JSON what is not a time."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or path.name == ".lock" or (path.suffix == ".log" and path.name != "journal.log"):
            continue
        if path.name in _ONLY_THERE:
            found[name] = path.stat().st_size > 0
        elif path.suffix == ".md":
            found[name] = [line for line in path.read_text().splitlines() if not _MEASURED.match(line)]
        elif path.suffix == ".json":
            found[name] = _timeless(json.loads(path.read_bytes()))
        elif path.suffix == ".jsonl":
            found[name] = [_timeless(json.loads(line)) for line in path.read_bytes().splitlines()]
        elif path.name == "journal.log":  # what trials drew and scored is in results.json too
            found[name] = True
        else:
            found[name] = path.read_bytes()
    return found


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        if "$dict" in value:  # the state of a checkpoint
            return [[key, _timeless(inner)] for key, inner in value["$dict"] if key not in _TIMES]
        return {key: _timeless(inner) for key, inner in value.items() if key not in _TIMES}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


def leftovers(folder: Path) -> list[str]:
    """Return what stands aside in a folder after all is over."""
    return [str(path.relative_to(folder)) for path in sorted(folder.rglob(".*")) if path.name not in _OWN]


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the files in which two ends differ."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


# ---- the campaign

@dataclass
class KillFigures:
    """How the kills of a scenario ended."""

    operations: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    same: int = 0
    left: int = 0
    bad: list[str] = field(default_factory=list)

    def row(self, name: str) -> str:
        """Return the figures as a row of a Markdown table."""
        return (f"| {name} | {self.operations:,} of {len(self.kinds)} kinds | {self.kills:,} | "
                f"{self.same:,} | {len(self.bad):,} | {self.left:,} |")


class Kills:
    """Kills one scenario again and again. `ways` counts how: at an operation, at a moment, twice."""

    def __init__(self, scenario: Scenario, place: Path) -> None:
        self.scenario, self.place, self.report = scenario, place, place.with_name(f"{place.name}-report")
        self.figures = KillFigures()
        began = time.monotonic()
        self.fresh()
        if start(scenario, place, report=self.report):
            raise AssertionError(f"{scenario.name} fails undisturbed: {self.report.read_text()}")
        self.seconds = time.monotonic() - began
        told = json.loads(self.report.read_text())
        self.figures.operations, self.figures.kinds = told["seen"], Counter(told["kinds"])
        self.whole = snapshot(place)

    def fresh(self) -> None:
        """Empty the folder, and prepare it."""
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        self.scenario.prepare(self.place)

    def once(self, seed: int) -> None:
        """Kill as the seed says, resume until it ends, and compare."""
        random_, figures = random.Random(seed), self.figures
        self.fresh()
        told = []
        for _ in range(random_.choice((1, 1, 2, 3))):
            if random_.random() < 0.75:
                last = random_.randrange(1, figures.operations + 1)
                told.append(f"operation {last}")
                start(self.scenario, self.place, last=last)
            else:
                after = random_.uniform(0, self.seconds)
                told.append(f"{after:.2f} s")
                start(self.scenario, self.place, after=after)
        self.report.unlink(missing_ok=True)
        status = start(self.scenario, self.place, report=self.report)
        figures.kills += len(told)
        if status:
            error = self.report.read_text() if self.report.exists() else f"status {status}"
            figures.bad.append(f"{self.scenario.name}, seed {seed}, killed at {', '.join(told)}: {error}")
            return
        differ, left = differences(self.whole, snapshot(self.place)), leftovers(self.place)
        figures.left += len(left)
        if differ or left:
            figures.bad.append(f"{self.scenario.name}, seed {seed}, killed at {', '.join(told)}: "
                               f"differ: {differ}, left behind: {left}")
        else:
            figures.same += len(told)
