"""Finds, repairs and removes what killed writers leave beside their files and folders.

Only for the process that may write a folder: beside a writer at work, a repair would undo its rename.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Age at which a temporary file counts as abandoned, where there are no locks to prove it.
ABANDONED_SECONDS = 24 * 3600
# ".NAME.", what `tempfile` puts behind that, and an ending that no file of a user has by chance.
ENDING = ".aside"
_ASIDE = re.compile(r"\.(?P<name>.+)\.[a-z0-9_]{8}\.aside")
_OLD = ".old"


def standing_aside(path: Path) -> Path:
    """Return where `write_folder` puts the folder that stood at `path`, until the new one stands there."""
    if path.name in ("", ".."):  # the folder that one is in, or one above it
        path = path.resolve()
    return path.parent / f".{path.name}{_OLD}"


def meant(path: Path) -> Path:
    """Return a path with the names of what stands aside replaced by the names that it will have."""
    return Path(*(match["name"] if (match := _ASIDE.fullmatch(part)) else part for part in path.parts))


def recover(path: str | Path) -> None:
    """Finish what a kill inside `write_folder` left: put `.NAME.old` back if `path` is gone.

    Only for the process that may write `path`: beside a writer at work it would undo a rename.
    """
    path = Path(path)
    old = standing_aside(path)
    if old.exists():
        if path.exists():
            remove(old)
        else:
            old.rename(path)


def recover_all(folder: Path) -> None:
    """Call `recover` for everything in a folder that has a predecessor standing aside."""
    for path in leftovers(folder):
        if path.name.endswith(_OLD):
            recover(folder / path.name.removesuffix(_OLD).removeprefix("."))


def _remove_abandoned(path: Path) -> None:
    """Remove what stands aside and no process is writing any more: a killed writer's lock is gone."""
    with suppress(OSError):
        if fcntl is None:
            _remove_old(path)
            return
        # A pipe that somebody put there must not make us wait, nor a link lead us elsewhere.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(path)  # while the lock is held, so that its writer cannot take it in between
        except BlockingIOError:
            pass
        except OSError:  # a file system without locks
            _remove_old(path)
        finally:
            os.close(handle)


def _remove_old(path: Path) -> None:
    if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
        remove(path)


def tidy(folder: Path, names: Iterable[str] | None = None) -> None:
    """Remove what killed writers left aside in a folder; only those of the named files where given.

    What is being written at this moment stays.
    """
    wanted = None if names is None else set(names)
    for path in leftovers(folder):
        match = _ASIDE.fullmatch(path.name)
        if match and (wanted is None or match["name"] in wanted):
            _remove_abandoned(path)


def leftovers(folder: Path) -> list[Path]:
    """Return the temporary files in a folder: being written, or left by a kill."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _ASIDE.fullmatch(path.name) or (
        path.name.startswith(".") and path.name.endswith(_OLD) and path.is_dir()))


def remove(path: Path) -> None:
    """Remove a file, a link or a folder; what cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
