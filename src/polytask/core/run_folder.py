"""A run is a folder (`core/paths.py` says what lies where): who may open it, and one writer at a time.

A process that trains holds the folder's lock, and only it repairs what a kill left there. Readers
change nothing.
"""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from polytask.core.atomic_files import storing, write_file, write_json
from polytask.core.errors import ConfigError, RunError
from polytask.core.json_files import read_json
from polytask.core.leftovers import leftovers, recover_all, tidy
from polytask.core.paths import ManyRunsPaths, RunPaths
from polytask.core.safe_paths import name_problem, refuse_link, refuse_special, require_folder

# A watcher (`busy`) holds a lock for an instant only: a training waits that long.
_LOCK_SECONDS = 0.5


class RunFolder(RunPaths):
    """The folder of a run: its paths, and what may be done with it."""

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Return an existing run, for reading; raise `RunError` if `path` is none."""
        folder = cls(path)
        refuse_special(folder.path)
        require_folder(path, "a run")
        if not folder.config.is_file():
            raise RunError(f"{path}: is not a run: it has no {folder.config.name}")
        return folder

    @property
    def used(self) -> bool:
        """Whether anything is there that a killed start of a run did not leave."""
        if not self.path.is_dir():
            return self.path.exists()
        own = {self.lock, *leftovers(self.path)}
        return any(path not in own for path in self.path.iterdir())

    @classmethod
    def admits(cls, path: str | Path, config: str, resume: bool) -> None:
        """Raise what `claimed` would for a folder and its config, and make nothing."""
        folder = cls(path)
        refuse_special(folder.path)
        if not folder.used:
            return
        if not resume:
            if folder.config.is_file():
                raise RunError(f"{path}: already holds a run; resume it with --resume, or give "
                               "another --out")
            if folder.path.is_file():
                raise RunError(f"{path}: is a file, expected a folder or an unused name")
            raise RunError(f"{path}: already holds files, but no run; give another --out")
        cls.open(path)
        difference = first_difference(folder.settings(), tomllib.loads(config))
        if difference:
            key, was, now = difference
            raise RunError(f"{path}: the run belongs to another config: {key} was {was!r} and is now "
                           f"{now!r}; give another --out, or the config it was started with")
        if folder.results.is_file() and not folder.checkpoint.is_dir():
            raise RunError(f"{path}: the run is finished and its checkpoint was removed; "
                           "give another --out")

    @classmethod
    @contextmanager
    def claimed(cls, path: str | Path, config: str, resume: bool) -> Iterator[RunFolder]:
        """Hold a run for writing, made if it is not there.

        Raises `RunError` where another process trains in it, or where it may not be started or resumed.
        A config that is refused before training begins is not kept.
        """
        folder = cls(path)
        with storing(folder.path):
            folder.path.mkdir(parents=True, exist_ok=True)
        with folder.locked():
            cls.admits(path, config, resume)  # checked again: another process may have been first
            if not folder.config.is_file():
                write_file(folder.config, config)
            try:
                yield folder
            except ConfigError:
                if not folder.events.is_file():  # nothing was trained: the corrected config may start here
                    folder.config.unlink(missing_ok=True)
                    folder.data.unlink(missing_ok=True)
                raise

    def settings(self) -> dict[str, Any]:
        """Return the resolved settings as a table; raise `RunError` for what is not a config of a run."""
        refuse_special(self.config)
        try:
            table = tomllib.loads(self.config.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"{self.config}: cannot be read ({error})") from None
        tasks = table.get("tasks", {})
        if not isinstance(tasks, dict) or not tasks:
            raise RunError(f"{self.config}: has no tasks; expected the config of a run")
        for name in tasks:
            if mistake := name_problem(name):
                raise RunError(f"{self.config}: tasks.{name[:40]!r} {mistake}")
        return table

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for writing; raise `RunError` if another process trains in it.

        What a killed process left is repaired first.
        """
        for part in (self.lock, self.events, *self._kept[1:]):
            refuse_link(part)
        lock = FileLock(self.lock)
        with storing(self.path):
            try:
                lock.acquire(timeout=_LOCK_SECONDS)
            except Timeout:
                raise RunError(f"{self.path}: another process is training in this folder") from None
        try:
            self._mend()
            yield
        finally:
            lock.release()

    def mend(self) -> None:
        """Remove what a kill left in the folder, where it left anything and nobody trains there."""
        if any(leftovers(folder) for folder in self._kept) and not self.busy:
            with self.locked():
                pass

    def remove_checkpoint(self) -> None:
        """Remove a finished run's training state: three times the model's size, and no longer needed."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    @property
    def busy(self) -> bool:
        """Whether a process trains in the folder now."""
        if not self.lock.is_file() or self.lock.is_symlink():
            return False
        try:
            with FileLock(self.lock).acquire(timeout=0):
                return False
        except Timeout:
            return True
        except OSError:
            return False

    @property
    def _kept(self) -> tuple[Path, ...]:
        return (self.path, self.best, self.checkpoints, self.predictions, self.artifacts, self.plots)

    def _mend(self) -> None:
        with storing(self.path):
            for folder in self._kept:
                recover_all(folder)
                tidy(folder)


def claim_folder(out: Path, noun: str, title: str, parts: Mapping[str, str],
                 others: Mapping[str, str] | None = None) -> None:
    """Make a folder that of one study or sweep; raise `RunError` if it is another's, or anything else.

    noun: "study" or "sweep". parts: name → digest of all that it runs now. others: of what else its file
    names, by which a folder is known as its own too. Parts may be added later; one that changed is
    another's, as is a folder without any of them.
    """
    mark = ManyRunsPaths(out).mark(noun)
    for part in ManyRunsPaths(out).written():
        refuse_link(part)
    if out.exists() and not out.is_dir():
        raise RunError(f"{out}: is a file, expected a folder or an unused name")
    known_parts: Any = {}
    if mark.is_file():
        marked = read_json(mark)
        known_parts = marked.get("parts", {}) if isinstance(marked, dict) else None
        if not isinstance(known_parts, dict):
            raise RunError(f"{mark}: is damaged; give another --out")
        if changed := [name for name, digest in parts.items() if known_parts.get(name, digest) != digest]:
            raise RunError(f'{out}: was started with another config of "{changed[0]}", or at another scale '
                           "or --set; give another --out")
        if known_parts and not known_parts.items() & {**(others or {}), **parts}.items():
            raise RunError(f"{out}: belongs to another {noun}; give another --out")
    elif out.exists() and {*out.iterdir()} - {*leftovers(out), ManyRunsPaths(out).lock}:
        raise RunError(f"{out}: is neither a {noun} folder nor empty; give another --out")
    for folder in (out, ManyRunsPaths(out).configs):
        tidy(folder)
    write_json(mark, {"title": title, "parts": {**known_parts, **parts}})


def first_difference(kept: Any, asked: Any, path: str = "") -> tuple[str, Any, Any] | None:
    """Return the first dotted key at which two tables differ, with both values."""
    if isinstance(kept, dict) and isinstance(asked, dict):
        for key in [*kept, *(key for key in asked if key not in kept)]:
            inner = first_difference(kept.get(key), asked.get(key), f"{path}.{key}" if path else key)
            if inner:
                return inner
        return None
    return None if kept == asked else (path, kept, asked)
