"""The log of events: appended, cut back to a checkpoint, read while it is written and after a kill."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from polytask.core.errors import RunError
from polytask.core.events import EventFollower, EventLog, read_events
from polytask.engines.job import Job


def write(path: Path, count: int) -> EventLog:
    log = EventLog(path)
    for number in range(count):
        log.write({"event": "step", "step": number, "text": "ü" * 5})
    return log


def test_events_are_read_while_the_log_is_open(tmp_path: Path) -> None:
    log = write(tmp_path / "events.jsonl", 3)
    reader = read_events(tmp_path / "events.jsonl")
    assert [next(reader)["step"] for _ in range(3)] == [0, 1, 2]
    log.write({"event": "end"})
    assert next(reader) == {"event": "end"}
    log.close()
    assert list(reader) == []


@pytest.mark.parametrize("kept", range(1, 12))
def test_a_last_line_cut_anywhere_is_left_out(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "events.jsonl"
    write(path, 2).close()
    with path.open("ab") as file:
        file.write('{"a": "ü"}'.encode()[:kept])
    assert [event["step"] for event in read_events(path)] == [0, 1]


def test_a_log_that_is_not_there_has_no_events(tmp_path: Path) -> None:
    assert list(read_events(tmp_path / "none.jsonl")) == []


@pytest.mark.parametrize("line", [b"{\n", b"5\n", b"\0\0\0\n", b"\xff\n", b"[" * 100_000 + b"\n", b"\n"])
def test_a_damaged_line_is_reported_with_its_number(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "events.jsonl"
    write(path, 2).close()
    with path.open("ab") as file:
        file.write(line + b'{"event": "end"}\n')
    with pytest.raises(RunError, match=r"events\.jsonl: line 3 is not an event"):
        list(read_events(path))
    with pytest.raises(RunError, match=r"line \d after byte \d+ is not an event"):
        list(EventFollower(path).events())
    with pytest.raises(RunError, match="a line near its end is not an event"):
        list(read_events(path, last_bytes=len(line) + 30))


@pytest.mark.parametrize("last", [1, 17, 60, 61, 62, 200, 10_000])
def test_the_end_of_a_log_is_whole_events(tmp_path: Path, last: int) -> None:
    path = tmp_path / "events.jsonl"
    write(path, 30).close()
    whole = [*read_events(path)]
    found = [*read_events(path, last_bytes=last)]
    assert found == whole[len(whole) - len(found):]
    assert last < path.stat().st_size or found == whole
    assert sum(len(json.dumps(event)) + 1 for event in found) <= last


def test_cutting_forgets_what_came_after_a_position(tmp_path: Path) -> None:
    log = write(tmp_path / "events.jsonl", 2)
    position = log.position()
    log.write({"event": "lost"})
    log.cut(position)
    log.write({"event": "after"})
    log.close()
    assert [event["event"] for event in read_events(tmp_path / "events.jsonl")] == ["step", "step", "after"]


def test_numbers_are_rounded_and_never_what_json_cannot_say(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.write({"a": 1 / 3, "b": math.nan, "c": [math.inf, {"d": (0.1234567891,)}], "e": 2**60})
    log.close()
    assert [*read_events(tmp_path / "events.jsonl")] == [
        {"a": 0.3333333, "b": None, "c": [None, {"d": [0.1234568]}], "e": 2**60}]


def test_a_study_reads_the_same_log(tmp_path: Path) -> None:
    job = Job("one", {}, tmp_path, tmp_path / "one.toml")
    assert (job.last_events(), job.planned, job.progress()) == ([], 0, "starting")
    log = EventLog(tmp_path / "events.jsonl")
    log.write({"event": "start", "steps": 12})
    assert job.planned == 12
    log.write({"event": "step", "step": 3, "tokens": 100, "seconds": 0.5})
    assert job.progress() == "update 3 of 12, 200 tokens/s"
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(b"no event\n")
    assert job.progress() == "starting"  # the run's own process will tell of it
    log.close()


def test_the_position_after_a_cut_is_that_of_the_cut_file(tmp_path: Path) -> None:
    """Two kills in a row: what a checkpoint remembers right after a resume must not be the old end."""
    log = EventLog(tmp_path / "events.jsonl")
    log.write({"event": "step"})
    kept = log.position()
    log.write({"event": "end"})
    log.close()
    resumed = EventLog(tmp_path / "events.jsonl")
    resumed.cut(kept)
    assert resumed.position() == kept
    resumed.write({"event": "end"})
    resumed.close()
    assert [event["event"] for event in read_events(tmp_path / "events.jsonl")] == ["step", "end"]
