"""Paths that lead where they should: inside their folder, through no link, to no device.

A name that is read from a file (a task, a split, a part of a checkpoint) becomes part of a path through
`inside` alone.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from polytask.core.errors import PolytaskError, RunError, nearest

LONGEST_NAME = 100


def expanded(path: str | Path, where: str) -> Path:
    """Return a path with `~` and `~user` filled in; raise `RunError` where there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise RunError(f"{where}: {path} names a home folder that cannot be found; "
                       "write the path in full") from None


def name_problem(name: str) -> str | None:
    """Return why a name cannot be that of a task or layer, which are folders too, or None."""
    if len(name) > LONGEST_NAME:
        return f"is {len(name):,} characters long, expected at most {LONGEST_NAME}"
    if not name.replace("-", "_").isidentifier():
        return 'is not made of letters, digits, "_" and "-", starting with a letter or "_"'
    return None


def inside(folder: Path, name: str, error: type[PolytaskError] = RunError) -> Path:
    """Return `folder / name`; raise `error` for a name that would lead out of the folder."""
    if name in ("", ".", "..") or len(name.encode("utf-8", "surrogatepass")) > 255 or any(
            separator in name for separator in ("/", "\\", "\0")):
        shown = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…"
        raise error(f"{folder}: {shown!r} is not the name of a file in this folder")
    return folder / name


def require_folder(path: str | Path, expected: str) -> None:
    """Raise `RunError` where no folder is at `path`, with the folder beside it that was probably meant."""
    place = Path(path)
    if place.is_file():
        raise RunError(f"{path}: is a file, expected the folder of {expected}"
                       + f"; to make one: polytask train {path} --out FOLDER" * (place.suffix == ".toml"))
    if not place.is_dir():
        beside = sorted(each.name for each in place.absolute().parent.glob("*/"))
        raise RunError(f"{path}: there is no such folder; expected {expected}"
                       f"{nearest(place.name, beside)}")


def refuse_special(path: Path, error: type[PolytaskError] = RunError) -> None:
    """Raise `error` for a device, pipe or socket: reading one may never end. What is missing passes.

    What can be no path is refused too: a name that is too long, a zero byte, links in a circle.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as refused:
        if isinstance(refused, ValueError) or refused.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            shown = str(path)
            shown = shown if len(shown) <= 2 * LONGEST_NAME else f"{shown[:LONGEST_NAME]}…"
            why = getattr(refused, "strerror", None) or str(refused)
            raise error(f"{shown!r}: cannot be read ({why})") from None
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise error(f"{path}: is a device or a pipe, expected a file")


def leads_outside(path: Path, folder: Path) -> bool:
    """Return whether a path in a folder is, by links, a place outside of it.

    The hub's cache, whose snapshots are links to the blobs beside them, counts as one folder.
    """
    home = folder.resolve()
    if home.parent.name == "snapshots":
        home = home.parent.parent
    return not path.resolve().is_relative_to(home)


def refuse_link(path: Path) -> None:
    """Raise `RunError` for a link: what is written there would end up somewhere else."""
    if path.is_symlink():
        raise RunError(f"{path}: is a link to {os.readlink(path)}, and nothing is written through links; "
                       "remove it")
