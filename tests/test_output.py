"""No name in a user's file gives a terminal an order; a command's exit status and what it says then."""

from __future__ import annotations

import io

import pytest

from polytask.core.errors import ConfigError, Interrupted
from polytask.core.terminal import TerminalOutput, tell, terminal_text
from polytask.output import exit_status


@pytest.mark.parametrize(("text", "expected"), [
    ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"), ("bell\a", r"bell\x07"), ("\x9b31m", r"\x9b31m"),
    ("\ufefftext", r"\ufefftext"), ("a\u202eb", r"a\u202eb"), ("over\rwritten", r"over\rwritten"),
    ("two\nlines\tand a tab", "two\nlines\tand a tab"), ("naïve 漢字 😀 עברית", "naïve 漢字 😀 עברית"),
])
def test_orders_are_spelled_out_and_text_stays(text: str, expected: str) -> None:
    assert terminal_text(text) == expected


def test_what_is_told_and_printed_is_text_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    tell("a column \x1b[2J")
    shown = io.StringIO()
    output = TerminalOutput(shown)
    assert output.write("a,\x1b]0;title\x07,b\n") == 15
    output.flush()
    assert capsys.readouterr().err == "a column \\x1b[2J\n"
    assert shown.getvalue() == "a,\\x1b]0;title\\x07,b\n"


def raising(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(("error", "status", "says"), [
    (ConfigError(["one", "two"]), 2, "polytask: one\npolytask: two\n"),
    (Interrupted("stopped"), 130, "stopped\n"),
    (KeyboardInterrupt(), 130, ""),
    (SystemExit(3), 3, ""),
])
def test_what_is_raised_decides_the_status(
    error: BaseException, status: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(lambda: raising(error)) == status
    assert capsys.readouterr().err == says


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    assert exit_status(lambda: None) == 0
    with pytest.raises(ZeroDivisionError):
        exit_status(lambda: raising(ZeroDivisionError()))
