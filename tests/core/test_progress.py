"""Progress: a bar on a terminal, a line a minute on a pipe, nothing where quiet was asked for."""

from __future__ import annotations

import io
import sys

import pytest

from polytask.core import progress as module
from polytask.core.progress import Lines, Silent, progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_pipe_gets_a_line_a_minute(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress("tokenizing", total=1000) as bar:
        assert isinstance(bar, Lines)
        for _ in range(40):  # 13 s each: 520 s
            clock[0] += 13
            bar.advance(20, "sst-train.csv")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 8
    assert lines[0] == "tokenizing: 100 of 1,000, about 10 min left  sst-train.csv"
    assert lines[-1].startswith("tokenizing: 800 of 1,000")


def test_short_work_says_nothing_on_a_pipe(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress("reading") as bar:
        clock[0] += 59
        bar.advance(5)
    assert capsys.readouterr() == ("", "")


def test_without_a_total_the_count_is_told(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress("reading") as bar:
        clock[0] += 61
        bar.advance(1_234_567)
        bar.total(2_000_000)
        clock[0] += 61
        bar.advance(0)
    assert capsys.readouterr().err == (
        "reading: 1,234,567\nreading: 1,234,567 of 2,000,000, about 1 min left\n")


def test_quiet_is_silent_even_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress("x", total=3, quiet=True) as bar:
        assert isinstance(bar, Silent)
        bar.advance(3, "done")
        bar.total(4)
    assert terminal.getvalue() == ""


def test_a_terminal_gets_a_bar_with_notes_as_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with progress("training [/b]", total=None) as bar:
        bar.total(8)
        bar.advance(8, "file [red].csv")
    shown = terminal.getvalue()
    assert "training [/b]" in shown and "8/8" in shown and "file [red].csv" in shown


def test_the_block_s_error_passes_through(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="inside"), progress("x"):
        raise ValueError("inside")
