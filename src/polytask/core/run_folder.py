"""A run is a folder: where its parts lie, who may open it, and one writer at a time.

    config.toml      the resolved settings          model/            best by the overall score
    events.jsonl     what happened                  best/<task>/      best of each task, where asked
    predictions/     <task>-<split>.csv             checkpoints/last/ exact state of the training
    report.html      plots/                         data.json         what the data gate found
"""

from __future__ import annotations

import fcntl
import json
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polytask.core.atomic_files import recover, storing, write_file, write_json
from polytask.core.errors import RunError


class RunFolder:
    """The paths of a run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.toml"
        self.events = self.path / "events.jsonl"
        self.model = self.path / "model"
        self.best = self.path / "best"
        self.checkpoint = self.path / "checkpoints" / "last"
        self.predictions = self.path / "predictions"
        self.results = self.path / "results.json"
        self.data = self.path / "data.json"
        self.report = self.path / "report.html"
        self.plots = self.path / "plots"

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Return an existing run; raise `RunError` if `path` is none."""
        folder = cls(path)
        if not folder.path.is_dir():
            raise RunError(f"{path}: there is no such folder; expected a run")
        if not folder.config.is_file():
            raise RunError(f"{path}: is no run, it has no config.toml")
        recover(folder.model)
        recover(folder.checkpoint)
        return folder

    @property
    def used(self) -> bool:
        """Whether anything is there already."""
        return self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir()))

    @classmethod
    def admits(cls, path: str | Path, config: str, resume: bool) -> None:
        """Raise what `create` or `resume` would, and make nothing."""
        folder = cls(path)
        if not folder.used:
            return
        if not resume:
            what = "a run is" if folder.config.is_file() else "files are"
            raise RunError(f"{path}: {what} there already; go on with --resume, or give another --out")
        cls.resume(path, config)

    @classmethod
    def create(cls, path: str | Path, config: str) -> RunFolder:
        """Make a run of a config; raise `RunError` if something is there already."""
        folder = cls(path)
        cls.admits(path, config, resume=False)
        with storing(folder.path):
            folder.path.mkdir(parents=True, exist_ok=True)
        write_file(folder.config, config)
        return folder

    @classmethod
    def resume(cls, path: str | Path, config: str) -> RunFolder:
        """Return the run at `path`, made if it is not there; `RunError` if it has another config."""
        folder = cls(path)
        if not folder.used:
            return cls.create(path, config)
        folder = cls.open(path)
        held, given = tomllib.loads(folder.config.read_text(encoding="utf-8")), tomllib.loads(config)
        if difference := first_difference(held, given):
            key, was, now = difference
            raise RunError(f"{path}: the run belongs to another config, {key} was {was!r} and is now "
                           f"{now!r}; give another --out, or the config it was started with")
        if folder.results.is_file() and not folder.checkpoint.is_dir():
            raise RunError(f"{path}: the run is finished and its checkpoint was removed; "
                           "give another --out")
        return folder

    def settings(self) -> dict[str, Any]:
        """Return the resolved settings as a table."""
        return tomllib.loads(self.config.read_text(encoding="utf-8"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for writing; `RunError` if another process trains in it."""
        with storing(self.path):
            file = (self.path / ".lock").open("w", encoding="utf-8")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(f"{self.path}: another process is training in this folder") from None
            yield


def claim_folder(out: Path, noun: str, title: str, parts: Mapping[str, str]) -> None:
    """Make a folder that of one study or sweep; raise `RunError` if it is another's, or anything else.

    noun: "study" or "sweep"; the mark is <noun>.json. parts: name → digest of all that it runs. Parts may
    be added later; one that changed is another's.
    """
    mark = out / f"{noun}.json"
    if out.exists() and not out.is_dir():
        raise RunError(f"{out}: is a file, expected a folder, or a name that is free")
    held: dict[str, str] = {}
    if mark.is_file():
        held = json.loads(mark.read_text(encoding="utf-8")).get("parts", {})
        if changed := [name for name, digest in parts.items() if held.get(name, digest) != digest]:
            raise RunError(f'{out}: was begun with another config of "{changed[0]}", or at another scale '
                           "or --set; give another --out")
        if held and not held.keys() & parts.keys():
            raise RunError(f"{out}: belongs to another {noun}; give another --out")
    elif out.exists() and any(out.iterdir()):
        raise RunError(f"{out}: is no {noun} folder, and not empty; give another --out")
    write_json(mark, {"title": title, "parts": {**held, **parts}})


def first_difference(held: Any, given: Any, path: str = "") -> tuple[str, Any, Any] | None:
    """Return the first dotted key at which two tables differ, with both values."""
    if isinstance(held, dict) and isinstance(given, dict):
        for key in [*held, *(key for key in given if key not in held)]:
            inner = first_difference(held.get(key), given.get(key), f"{path}.{key}" if path else key)
            if inner:
                return inner
        return None
    return None if held == given else (path, held, given)
