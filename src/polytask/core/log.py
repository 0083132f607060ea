"""POLYTASK_LOG: how much the program logs."""

from __future__ import annotations

import logging
import os
import sys

from polytask.core.errors import ConfigError, nearest

LEVELS = ("debug", "info", "warning", "error")
_VARIABLE = "POLYTASK_LOG"


def configure() -> None:
    """Write the library's log to stderr from the level on that POLYTASK_LOG names.

    info: which files, checkpoints and cache entries are read; debug: a refusal with its traceback as well.
    Raises `ConfigError` for what is not a level. Without the variable nothing changes.
    """
    level = os.environ.get(_VARIABLE, "").strip().lower()
    if not level:
        return
    if level not in LEVELS:
        raise ConfigError(f'{_VARIABLE}: found "{level}", expected one of {", ".join(LEVELS)}'
                          f"{nearest(level, LEVELS)}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))
    log = logging.getLogger("polytask")
    log.handlers[:] = [handler]
    log.setLevel(level.upper())


def debugging() -> bool:
    """Return whether refusals show their traceback."""
    return os.environ.get(_VARIABLE, "").strip().lower() == "debug"
