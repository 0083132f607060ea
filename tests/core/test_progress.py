"""Progress: a line a minute on a pipe, nothing if it is unwanted."""

from __future__ import annotations

import pytest

from polytask.core import progress as module
from polytask.core.progress import duration, progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that the test moves: its first entry is the time in seconds."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_pipe_gets_a_line_a_minute(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress("training") as bar:
        bar.total(400)
        for second in range(130):
            clock[0] = 1000.0 + second
            bar.advance(1, f"{800 + second} tokens/s  sst 0.{second}")
    lines = capsys.readouterr().err.splitlines()
    assert [line[9:] for line in lines] == [
        "training: 61 of 400, 6 min left, 860 tokens/s  sst 0.60",
        "training: 121 of 400, 5 min left, 920 tokens/s  sst 0.120"]


def test_what_a_resumed_run_had_done_took_no_time(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("training", total=1000) as bar:
        bar.skip(900)
        clock[0] += 60
        bar.advance(50)
    assert "training: 950 of 1,000, 60 s left" in capsys.readouterr().err


def test_short_work_and_quiet_work_show_nothing(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("short", total=3) as bar:
        bar.advance(3)
    with progress("quiet", total=3, quiet=True) as bar:
        clock[0] += 1000
        bar.skip(1)
        bar.total(5)
        bar.advance(3)
    assert capsys.readouterr().err == ""


def test_durations_have_the_unit_that_people_use() -> None:
    assert [duration(seconds) for seconds in (3.2, 89, 91, 720, 5400, 12_240)] == [
        "3 s", "89 s", "2 min", "12 min", "1.5 h", "3.4 h"]
