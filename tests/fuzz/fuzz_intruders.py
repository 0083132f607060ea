"""What may stand in the place of a file that polytask keeps in its cache."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np


def _sparse(place: Path) -> None:
    with place.open("wb") as file:
        file.truncate(1 << 34)


def _socket(place: Path) -> None:
    here = Path.cwd()
    os.chdir(place.parent)  # a socket's address is short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(place.name)
    os.chdir(here)


def _text(text: str) -> Callable[[Path], None]:
    return lambda place: place.write_text(text) and None


def _archive(place: Path) -> None:
    with place.open("wb") as file:
        np.savez(file, a=np.arange(3))


INTRUDERS: dict[str, Callable[[Path], None]] = {
    "a pipe": lambda place: os.mkfifo(place),
    "a socket": _socket,
    "a link to /dev/zero": lambda place: place.symlink_to("/dev/zero"),
    "a link to itself": lambda place: place.symlink_to(place.name),
    "a link to nothing": lambda place: place.symlink_to("nowhere"),
    "a folder": lambda place: place.mkdir(),
    "16 GiB of nothing": _sparse,
    "nothing": _text(""),
    "deep JSON": _text("[" * 100_000 + "]" * 100_000),
    "a list": _text("[1, 2]"),
    "a number": _text("7"),
    "null": _text("null"),
    "wrong keys": _text(json.dumps({"name": "x", "size": 3})),
    "right keys, wrong values": _text(json.dumps({
        "state": {}, "key": [], "name": 3, "scores": {"accuracy": "high"}, "limits": None, "version": 2,
        "columns": [{}], "refused": [["x", 1]], "rows": -1, "notes": [1]})),
    "no UTF-8": lambda place: place.write_bytes(b"\xff\xfe{}") and None,
    "an archive": _archive,
}


def put(place: Path, name: str) -> None:
    """Put an intruder in the place of a file."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    INTRUDERS[name](place)
