"""Standard output and error of the command line: any text in any locale, and devices that refuse it."""

from __future__ import annotations

import io
import os
import sys


def write_any_text() -> None:
    """Write UTF-8 to files and pipes whatever the locale; a terminal shows what it can."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


def output_refused(error: OSError) -> int:
    """Say that standard output could not be written; return the exit status."""
    discard_output()
    print(f"polytask: standard output: could not be written ({error.strerror})", file=sys.stderr)
    return 2


def discard_output() -> None:
    """Let what is still buffered go nowhere, so that the interpreter does not fail on it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
