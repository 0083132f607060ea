"""No name in a user's file gives a terminal an order."""

from __future__ import annotations

import io

import pytest

from polytask.core.terminal import TerminalOutput, tell, terminal_text


@pytest.mark.parametrize(("text", "expected"), [
    ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"), ("bell\a", r"bell\x07"), ("\x9b31m", r"\x9b31m"),
    ("\ufefftext", r"\ufefftext"), ("a\u202eb", r"a\u202eb"), ("over\rwritten", r"over\rwritten"),
    ("two\nlines\tand a tab", "two\nlines\tand a tab"), ("naïve 漢字 😀 עברית", "naïve 漢字 😀 עברית"),
])
def test_orders_are_spelled_out_and_text_stays(text: str, expected: str) -> None:
    assert terminal_text(text) == expected


def test_what_is_reported_and_printed_is_text_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    tell("a column \x1b[2J")
    shown = io.StringIO()
    output = TerminalOutput(shown)
    assert output.write("a,\x1b]0;title\x07,b\n") == 15
    output.flush()
    assert capsys.readouterr().err == "a column \\x1b[2J\n"
    assert shown.getvalue() == "a,\\x1b]0;title\\x07,b\n"
