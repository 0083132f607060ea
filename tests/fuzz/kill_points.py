"""Kills at every kind of file operation, and at any moment; then a resume, and the ends compared.

A kill is `os._exit` in a fork of this process: no handler runs, no buffer is flushed. Operations are seen
by an audit hook, so that those of libraries count too; `os.fsync`, which Python does not audit, is wrapped.
A kind of operation is what is done to which file: "os.rename model", "open tasks.json".
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
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz_child import in_child, silence

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_AUDITED = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod", "os.link",
            "os.symlink", "shutil.rmtree", "tempfile.mkstemp", "tempfile.mkdtemp"}
# What is drawn in a file's name: the random part of a temporary one, digests, numbers.
_DRAWN = ((re.compile(r"\.[a-z0-9_]{8}\.aside$"), ".aside"), (re.compile(r"[0-9a-f]{16,}"), "*"),
          (re.compile(r"\d+"), "*"))
KILLED = 9
# A kind drawn so often without a kill before it is drawn like any other; so many faults are enough to see.
MOST_DRAWS, ENOUGH_BAD = 3, 20
# A card's row of how long a graph takes.
_MEASURED = re.compile(r"\| `onnx/\w+\.onnx` \| [\d.]+ \|")

# What differs between two undisturbed runs too: how long they took, and when.
_TIMES = {"seconds", "seconds_by_machine", "finished", "time", "peak_memory_mb", "threads", "cost", "about",
          "date", "events", "datetime_start", "datetime_complete", "worker_id", "machine"}
_OWN = {".lock", ".shards"}  # hidden, and meant to stay
_ONLY_THERE = {"report.html", "results.md", "results.csv"}  # they show those times


@dataclass(frozen=True)
class Scenario:
    """What is killed: `action` starts it in a folder, or resumes what is there.

    look: what others may do with the folder at any moment, as a server that loads a model again does; it
    succeeds or is refused, and changes nothing. cache: the scenario's own cache, which stands beside the
    folder and starts empty; its content is not compared, but nothing may stand aside in it either.
    """

    name: str
    action: Callable[[Path], Any]
    prepare: Callable[[Path], Any] = lambda folder: None
    look: Callable[[Path], Any] | None = None
    cache: Callable[[Path], Path] | None = None


def kind_of(event: str, arguments: tuple[Any, ...]) -> str:
    """Return what an operation does, and to which file; files of drawn names and plots count as one."""
    target = arguments[1] if event in ("os.rename", "os.link", "os.symlink") else arguments[0]
    if isinstance(target, int):
        try:
            target = os.readlink(f"/proc/self/fd/{target}")
        except OSError:
            target = "?"
    path = Path(os.fsdecode(target))
    name = f"*{path.suffix}" if "plots" in path.parent.name else path.name
    for drawn, stands_for in _DRAWN:
        name = drawn.sub(stands_for, name)
    return f"{event} {name}"


def is_write(event: str, arguments: tuple[Any, ...]) -> bool:
    """Return whether an audited event changes something on disk."""
    if event != "open":
        return event in _AUDITED
    path, _, flags = arguments
    return isinstance(flags, int) and bool(flags & _WRITES) and not str(path).startswith("/dev/")


class Counted:
    """Counts the operations that write, and ends the process at one of them.

    mark: gets that operation's kind. It tells a kill from an error where another process dies of the kill.
    """

    def __init__(self, last: int | None, mark: Path | None = None) -> None:
        self.last, self.mark = last, mark
        self.kinds: list[str] = []

    def watch(self) -> None:
        """Start to count."""
        def fsync(descriptor: int) -> None:  # what a killed process has written is not lost without it
            self._operation("os.fsync", (descriptor,))

        os.fsync = fsync
        sys.addaudithook(self._audited)

    def _audited(self, event: str, arguments: tuple[Any, ...]) -> None:
        if is_write(event, arguments):
            self._operation(event, arguments)

    def _operation(self, event: str, arguments: tuple[Any, ...]) -> None:
        self.kinds.append(kind_of(event, arguments))
        if len(self.kinds) == self.last:
            if self.mark is not None:  # its own operations count on, beyond the last
                self.mark.write_text(self.kinds[-1])
            os._exit(KILLED)


def start(scenario: Scenario, folder: Path, last: int | None = None, after: float | None = None,
          report: Path | None = None, mark: Path | None = None) -> int:
    """Run a scenario in a fork; return its exit status: 0, `KILLED`, or 1 for an error.

    last: the operation before which it dies; after: the seconds after which it is killed. report: gets the
    kinds of its operations in their order, or the error; mark: the kind of the operation it died before.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            silence()
            counted = Counted(last, mark)
            counted.watch()
            scenario.action(folder)
            status = 0
            counted.last = None
            if report is not None:
                report.write_text(json.dumps(counted.kinds))
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
            found[name] = _parsed(path.read_bytes())
        elif path.suffix == ".jsonl":
            found[name] = [_parsed(line) for line in path.read_bytes().splitlines()]
        elif path.name == "journal.log":  # what trials drew and scored is in results.json too
            found[name] = True
        else:
            found[name] = path.read_bytes()
    return found


def _parsed(content: bytes) -> Any:
    """Return what JSON says without its times; what a kill cut short as it is."""
    try:
        return _timeless(json.loads(content))
    except ValueError:
        return content


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
    """How the kills of a scenario ended.

    places: the operations of each kind in an undisturbed run; reached: the kinds before which a process was
    killed. kills: those that happened, as a resume may end before its turn comes; same: those of them after
    which the end was an undisturbed run's; bad: the others, a line for each row of kills.
    """

    operations: int = 0
    places: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    reached: set[str] = field(default_factory=set)
    kills: int = 0
    same: int = 0
    left: int = 0
    bad: list[str] = field(default_factory=list)

    def row(self, name: str) -> str:
        """Return the figures as a row of a Markdown table."""
        reached = len(self.reached & self.places.keys())  # a resume has kinds of its own
        return (f"| {name} | {self.operations:,} | {reached} of {len(self.places)} | "
                f"{self.kills:,} | {self.same:,} | {len(self.bad):,} | {self.left:,} |")


class Kills:
    """Kills one scenario again and again: at an operation or at a moment, once and several times."""

    def __init__(self, scenario: Scenario, place: Path) -> None:
        self.scenario, self.place = scenario, place
        self.report, self.mark = (place.with_name(f"{place.name}-{what}") for what in ("report", "killed"))
        self.figures, self.draws = KillFigures(), Counter[str]()
        began = time.monotonic()
        self.fresh()
        if start(scenario, place, report=self.report):
            raise AssertionError(f"{scenario.name} fails undisturbed: {self.report.read_text()}")
        self.seconds = time.monotonic() - began
        kinds = json.loads(self.report.read_text())
        self.figures.operations = len(kinds)
        for number, kind in enumerate(kinds, 1):
            self.figures.places[kind].append(number)
        self.whole = snapshot(place)

    def fresh(self) -> None:
        """Empty the folder, and prepare it."""
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        if self.scenario.cache is not None:
            shutil.rmtree(self.scenario.cache(self.place), ignore_errors=True)
        self.scenario.prepare(self.place)

    def wants(self, kills: int) -> bool:
        """Return whether fewer kills than these have happened, and not so many faults that one may stop."""
        return self.figures.kills < kills and len(self.figures.bad) < ENOUGH_BAD

    def once(self, seed: int) -> None:
        """Kill as the seed says, resume until it ends, and compare.

        The first operation is drawn by its kind, of the kinds that no kill has reached: so a file that is
        renamed once has its turn among the hundreds of a report. A resume has about as many operations as
        were left, of which any is drawn.
        """
        random_, figures = random.Random(seed), self.figures
        points: list[int | float] = []
        left = figures.operations
        for _ in range(random_.choice((1, 1, 2, 3))):
            if random_.random() >= 0.75:
                points.append(random_.uniform(0, self.seconds * left / figures.operations))
                left -= int(points[-1] / self.seconds * figures.operations)
            else:
                points.append(random_.randint(1, left) if points else self._of_a_new_kind(random_))
                left -= int(points[-1])
            left = max(1, left)
        self.at(points, f"seed {seed}")

    def _of_a_new_kind(self, random_: random.Random) -> int:
        """Return an operation of a kind not reached yet; one drawn in vain loses its priority."""
        places = self.figures.places
        kind = random_.choice([kind for kind in sorted(places) if kind not in self.figures.reached
                               and self.draws[kind] < MOST_DRAWS] or sorted(places))
        self.draws[kind] += 1
        return random_.choice(places[kind])

    def at(self, points: Sequence[int | float], why: str) -> None:
        """Kill at operations (their numbers) and moments (seconds), resume, and compare."""
        figures, kills = self.figures, 0
        self.fresh()
        told = ", ".join(f"operation {point}" if isinstance(point, int) else f"{point:.2f} s"
                         for point in points)
        mistakes = []
        for number, point in enumerate(points, 1):
            killed, mistake = self._killed_at(point)
            kills += killed
            mistakes += [f"start {number} of it: {mistake}"] if mistake else []
            mistakes += self._looked_at()
        self.report.unlink(missing_ok=True)
        status = start(self.scenario, self.place, report=self.report)
        figures.kills += kills
        if status:
            mistakes.append(self._error(status))
        else:
            left = leftovers(self.place)
            if self.scenario.cache is not None:
                left += leftovers(self.scenario.cache(self.place))
            figures.left += len(left)
            if differ := differences(self.whole, snapshot(self.place)):
                mistakes.append(f"differ: {differ}")
            mistakes += [f"left behind: {left}"] if left else []
        if mistakes:
            figures.bad.append(f"{self.scenario.name}, {why}, killed at {told}: {'; '.join(mistakes)}")
        else:
            figures.same += kills

    def _killed_at(self, point: int | float) -> tuple[bool, str]:
        """Start it, to be killed at an operation or a moment; return whether it was, and its own error."""
        for note in (self.report, self.mark):
            note.unlink(missing_ok=True)
        operation = point if isinstance(point, int) else None
        status = start(self.scenario, self.place, operation, None if operation else float(point),
                       self.report, self.mark)
        if self.mark.exists():
            self.figures.reached.add(self.mark.read_text())
            return True, ""
        return status == KILLED, "" if status in (0, KILLED) else self._error(status)

    def _error(self, status: int) -> str:
        """Return why a start failed."""
        return self.report.read_text() if self.report.exists() else f"status {status}"

    def _looked_at(self) -> list[str]:
        """Let others look at what a kill left; return what they should not have met or done."""
        if self.scenario.look is None:
            return []
        before, look, place = snapshot(self.place), self.scenario.look, self.place
        outcome = in_child(lambda: look(place) and None)
        changed = differences(before, snapshot(self.place))
        return ([] if outcome.fine else [f"a reader: {outcome.kind} {outcome.detail}"]) + (
            [f"a reader changed {changed}"] if changed else [])
