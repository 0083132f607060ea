"""A command's exit status: mistakes are one line and status 2, what ends quietly says nothing."""

from __future__ import annotations

import errno

import pytest

from polytask.core.errors import ConfigError, Interrupted
from polytask.output import exit_status


def raising(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(("error", "status", "says"), [
    (ConfigError(["one", "two"]), 2, "polytask: one\npolytask: two\n"),
    (Interrupted("stopped"), 130, "stopped\n"),
    (KeyboardInterrupt(), 130, ""),
    (SystemExit(3), 3, ""),
    (OSError(errno.ENOSPC, "No space left"), 2, "polytask: a file: could not be written (No space left)\n"),
    (OSError(errno.ENOSPC, "No space left", "x.csv"), 2,
     "polytask: x.csv: could not be written (No space left)\n"),
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
