"""The command line as a program: its exit status, what a refusal says, and streams that take any text."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from typing import Any

from polytask.core.errors import Interrupted, MissingPackage, PolytaskError, missing_dependency
from polytask.core.log import configure, debugging
from polytask.core.terminal import tell


def exit_status(command: Callable[[], Any]) -> str | int | None:
    """Run a command and return its exit status; the user's mistakes are one line each and status 2."""
    write_any_text()
    status = _status(command)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()
    except OSError as error:
        status = output_refused(error)
    return status


def _status(command: Callable[[], Any]) -> str | int | None:
    try:
        configure()
        command()
    except SystemExit as stop:
        return stop.code
    except Interrupted as stopped:
        if not stopped.silent:
            tell(str(stopped))
        return 130
    except PolytaskError as error:
        if debugging():
            import traceback

            traceback.print_exc()
        if not error.silent:
            for line in str(error).split("\n"):
                tell(f"polytask: {line}")
        return 2
    except ModuleNotFoundError as error:
        if (package := missing_dependency(error)) is None:
            raise
        purpose = " ".join(["polytask", *sys.argv[1:2]])
        tell(f"polytask: {MissingPackage(purpose, package)}")
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the output has seen enough
        discard_output()
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        if error.filename is None and _output_refuses():
            return output_refused(error)
        tell(f"polytask: {error.filename or 'a file'}: could not be written ({error.strerror})")
        return 2
    return 0


def _output_refuses() -> bool:
    """Return whether standard output is what could not be written: it has kept what it did not take.

    Unbuffered (PYTHONUNBUFFERED) it keeps nothing, and is taken for what failed.
    """
    if isinstance(getattr(sys.stdout, "buffer", None), io.RawIOBase):
        return True
    try:
        sys.stdout.flush()
    except OSError:
        return True
    return False


def write_any_text() -> None:
    """Write UTF-8 to files and pipes whatever the locale; a terminal shows what it can."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


def output_refused(error: OSError) -> int:
    """Say that standard output could not be written; return the exit status."""
    discard_output()
    tell(f"polytask: standard output: could not be written ({error.strerror})")
    return 2


def discard_output() -> None:
    """Let what is still buffered go nowhere, so that the interpreter does not fail on it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
