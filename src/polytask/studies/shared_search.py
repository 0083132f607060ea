"""A search in a database that several processes, on one machine or many, work on.

A trial at work beats: its process writes the time into the database every few seconds. One whose process
was killed stops beating, is closed as failed, and is queued again with the same parameters for whoever asks
next. Where the sweep's folder is shared, the second attempt resumes in the folder of the first.
"""

from __future__ import annotations

import os
import socket
import time
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from polytask.core.errors import ConfigError, MissingExtra, PolytaskError
from polytask.studies.search import Search
from polytask.studies.sweep import Sweep

BEAT_SECONDS = 10
# A trial that has not beaten for so long is tried again.
STALE_SECONDS = 60
_MOST_RETRIES = 3
# How often, and after how long, a database is opened again whose tables another process is making.
_MOST_OPENINGS, _OPEN_SECONDS = 10, 0.5
# What PostgreSQL and SQLite say of a table or a row that is there already.
_MADE_TWICE = ("already exists", "UNIQUE constraint failed")
_LOOK_SECONDS = 1.0
_ENDED = "polytask_ended"
_KINDS = ("sqlite:///", "postgresql://", "postgresql+psycopg://")


class SharedSearch(Search):
    """A search whose trials others may be at work on."""

    _beats: dict[int, float]
    _looked: float
    _others: bool
    _database: Any

    @classmethod
    def open_shared(cls, sweep: Sweep, storage: str, seed: int) -> SharedSearch:
        """Return the search of a database; the first process makes it.

        storage: sqlite:///FILE or postgresql://USER@HOST/NAME. Raises `ConfigError` for another address,
        `MissingExtra` without a driver, `PolytaskError` where the database does not answer.
        """
        import optuna

        check_address(storage)
        address = storage.replace("postgresql://", "postgresql+psycopg://", 1)
        # A grid's trials are given; for the others no two processes may draw the same.
        own = zlib.crc32(f"{socket.gethostname()} {os.getpid()}".encode())
        with warnings.catch_warnings(), storage_errors(storage):
            warnings.simplefilter("ignore")
            try:
                database = _opened(address)
            except ImportError:
                raise MissingExtra("--storage postgresql://…", "postgresql") from None
            sampler = optuna.samplers.TPESampler(seed=(seed + own) % 2**31, constant_liar=True)
            search = cls(sweep, cls._study(sweep, database, f"polytask {sweep.digest}", sampler))
        search._beats, search._looked, search._others = {}, 0.0, False
        search._database = database
        return search

    @property
    def asked(self) -> int:
        """The number of trials so far but for those that are tried again."""
        return sum(self._counts(trial) for trial in self.study.get_trials(deepcopy=False))

    @staticmethod
    def _counts(trial: Any) -> bool:
        ended = trial.user_attrs.get(_ENDED)
        return trial.state.name in ("RUNNING", "COMPLETE", "PRUNED") or ended == "failed"

    def left_open(self) -> list[int]:
        """Return none: an open trial is at work elsewhere, or is queued again when it stops beating."""
        return []

    def ask(self) -> int | None:
        self._look()
        while (number := self._next()) is not None:
            trials = self.study.get_trials(deepcopy=False)
            before = [trial for trial in trials[:number] if self._counts(trial)]
            twice = self.sweep.sampler == "grid" and any(
                trial.params == trials[number].params for trial in before)
            if len(before) < self.sweep.trials and not twice:
                return number
            # Another process was quicker: this one is a trial too many, or the same point of a grid.
            self._close(number, "surplus")
            if not twice:
                return None
        return None

    def _next(self) -> int | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # beating is meant for Optuna's own loop; ours beats itself
            return super().ask()

    def _draw(self, trial: Any) -> None:
        self.beat(trial.number)  # first, so that a trial whose drawing is killed is queued again
        super()._draw(trial)

    def close(self) -> None:
        self._database.remove_session()
        self._database.engine.dispose()

    def beat(self, number: int) -> None:
        if time.monotonic() - self._beats.get(number, -BEAT_SECONDS) >= BEAT_SECONDS:
            self._beats[number] = time.monotonic()
            self.study._storage.record_heartbeat(self._open(number)._trial_id)

    @property
    def others_at_work(self) -> bool:
        self._look()
        return self._others

    def _look(self) -> None:
        """Queue trials without a heartbeat again and see whether others work; once a second at most."""
        import optuna

        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optuna.storages.fail_stale_trials(self.study)
        states = {trial.state.name for trial in self.study.get_trials(deepcopy=False)}
        self._others = "RUNNING" in states or ("WAITING" in states and self.asked < self.sweep.trials)

    def folder_number(self, number: int) -> int:
        attributes = self.study.get_trials(deepcopy=False)[number].system_attrs
        return int(attributes.get("failed_trial", number))

    def release(self, number: int) -> None:
        trial = self.study.get_trials()[number]
        self._close(number, "released")
        if self.study.get_trials(deepcopy=False)[number].user_attrs.get(_ENDED) == "released":
            self.study._storage.get_heartbeat_stale_trial_callback()(self.study, trial)

    def fail(self, number: int) -> None:
        self._close(number, "failed")

    def _close(self, number: int, why: str) -> None:
        import optuna

        with _closed_elsewhere():
            trial = self._open(number)
            trial.set_user_attr(_ENDED, why)
            self.study.tell(trial, state=optuna.trial.TrialState.FAIL)

    def report(self, number: int, step: int, value: float) -> None:
        with _closed_elsewhere():
            super().report(number, step, value)

    def prunes(self, number: int) -> bool:
        with _closed_elsewhere():
            return super().prunes(number)
        return False

    def tell(self, number: int, values: Sequence[float], seconds: float) -> None:
        with _closed_elsewhere():
            super().tell(number, values, seconds)

    def end_pruned(self, number: int) -> None:
        with _closed_elsewhere():
            super().end_pruned(number)


def _opened(address: str) -> Any:
    """Return Optuna's storage in a database.

    Where several processes find it empty at the same moment, each makes the tables, and those that come
    second are refused: they look again.
    """
    import optuna
    from sqlalchemy.exc import DBAPIError

    retry = optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=_MOST_RETRIES)
    options = {"connect_args": {"timeout": 60}} if address.startswith("sqlite") else {}
    openings = 0
    while True:
        openings += 1
        try:
            return optuna.storages.RDBStorage(
                address, heartbeat_interval=BEAT_SECONDS, grace_period=STALE_SECONDS, engine_kwargs=options,
                heartbeat_stale_trial_callback=retry)
        except DBAPIError as error:
            if openings == _MOST_OPENINGS or not any(word in str(error) for word in _MADE_TWICE):
                raise
            time.sleep(_OPEN_SECONDS)


@contextmanager
def _closed_elsewhere() -> Iterator[None]:
    """Pass over a trial that others took for dead: its second attempt tells how it ends."""
    import optuna

    try:
        yield
    except optuna.exceptions.UpdateFinishedTrialError:
        pass
    except ValueError as error:
        if "finished" not in str(error) and "Cannot tell" not in str(error):
            raise


def check_address(storage: str) -> None:
    """Raise `ConfigError` for what is no address of a database that is known."""
    if not storage.startswith(_KINDS):
        kind, _, rest = storage.rpartition("://")
        meant = {"": f"sqlite:///{storage}", "postgres": f"postgresql://{rest}"}.get(kind)
        hint = "" if meant is None else f'; did you mean "{shown(meant)}"?'
        raise ConfigError(f'--storage: found "{shown(storage)}", expected sqlite:///FILE or '
                          f"postgresql://USER@HOST/NAME{hint}")


def shown(storage: str) -> str:
    """Return an address without its password."""
    scheme, is_address, rest = storage.partition("://")
    if not is_address:
        return storage
    login, at, host = rest.rpartition("@")
    return f"{scheme}://{login.partition(':')[0]}{at}{host}"


@contextmanager
def storage_errors(storage: str) -> Iterator[None]:
    """Say in a sentence that a database does not answer, or no longer."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = error.__cause__ or error
        reason = " ".join(str(getattr(cause, "orig", cause)).split())[:160]
        raise PolytaskError(f"--storage: {shown(storage)} does not answer ({reason}); finished work is "
                            "kept, and the same command resumes") from None
