"""A sweep in a database: several processes, each trial once, those of a killed one again."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from polytask.commands.sweep import sweep
from polytask.core.errors import ConfigError, PolytaskError
from polytask.engines.contract import Engine, Execution
from polytask.engines.job import Job
from polytask.studies import shared_search
from polytask.studies.search import Search
from polytask.studies.shared_search import SharedSearch, shown
from polytask.studies.sweep import read_sweep

GRID = ('base = "base.toml"\nsampler = "grid"\npruner = "none"\n[parameters]\n'
        '"train.optimizer.lr" = [1e-4, 1e-3, 1e-2]\n')
FREE = ('base = "base.toml"\ntrials = 6\npruner = "{pruner}"\n[parameters]\n'
        '"train.optimizer.lr" = {{ low = 1e-5, high = 1e-2, log = true }}\n')
SERVER = shutil.which("pg_ctl") or next(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), None)

pytestmark = pytest.mark.usefixtures("forked_commands")


@pytest.fixture
def base(small_table: dict[str, Any], tmp_path: Path) -> Path:
    small_table["tasks"] = {"sst": small_table["tasks"]["sst"]}
    small_table["train"] = {"max_steps": 2, "batch_size": 4}
    small_table["data"]["baselines"] = False
    (tmp_path / "base.toml").write_text(tomli_w.dumps(small_table))
    (tmp_path / "sweep.toml").write_text(GRID)
    return tmp_path


def opened(base: Path, storage: str) -> SharedSearch:
    return SharedSearch.open_shared(read_sweep(base / "sweep.toml"), storage, 0)


def test_two_searches_share_a_grid_and_retry_what_is_dead(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_search, "STALE_SECONDS", 4)  # a busy machine asks in 2 s
    monkeypatch.setattr(shared_search, "BEAT_SECONDS", 1)
    monkeypatch.setattr(shared_search, "_LOOK_SECONDS", 0.0)
    storage = f"sqlite:///{base}/search.db"
    here, there = opened(base, storage), opened(base, storage)
    numbers = [here.ask(), there.ask(), here.ask()]
    assert numbers == [0, 1, 2] and here.ask() is None
    assert sorted(here.drawn(number)["train.optimizer.lr"] for number in (0, 1, 2)) == [0, 1, 2]
    here.tell(0, [0.5], 1.0)
    deadline = time.monotonic() + 60
    while (again := here.ask()) is None:  # "there" beats no more
        here.beat(2)
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert here.drawn(again) == here.drawn(1) and here.folder_number(again) == 1
    assert here.others_at_work
    here.tell(again, [0.6], 1.0)
    there.tell(1, [0.1], 1.0)  # it was only slow; the second attempt counts
    here.fail(2)
    assert not here.others_at_work and here.asked == 3 and here.ask() is None
    assert [(trial.number, trial.values) for trial in here.finished()] == [(0, (0.5,)), (again, (0.6,))]


def test_a_trial_whose_drawing_was_killed_is_tried_again(
        base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_search, "STALE_SECONDS", 1)
    monkeypatch.setattr(shared_search, "_LOOK_SECONDS", 0.0)
    storage = f"sqlite:///{base}/search.db"
    here, there = opened(base, storage), opened(base, storage)

    def killed(search: SharedSearch, trial: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Search, "_draw", killed)
        with pytest.raises(KeyboardInterrupt):
            here.ask()
    time.sleep(2.5)
    number = there.ask()
    assert number is not None and there.folder_number(number) == 0
    assert there.drawn(number) and there.asked == 1


def test_a_stopped_trial_is_given_back(base: Path) -> None:
    search = opened(base, f"sqlite:///{base}/search.db")
    first = search.ask()
    assert first is not None
    search.release(first)
    again = search.ask()
    assert again not in (None, first) and search.folder_number(again or 0) == first
    assert search.drawn(again or 0) == search.drawn(first) and search.asked == 1


@pytest.mark.parametrize("pruner", ["asha", "hyperband"])
def test_halving_prunes_the_worse_of_many(base: Path, pruner: str) -> None:
    (base / "sweep.toml").write_text(FREE.format(pruner=pruner).replace("trials = 6", "trials = 40"))
    search = opened(base, f"sqlite:///{base}/search.db")
    pruned = []
    for score in [0.9, 0.8, 0.7, 0.6] + [0.1, 0.9] * 6:
        number = search.ask()
        assert number is not None
        for step in range(25, 101, 25):
            search.report(number, step, score)
            if search.prunes(number):
                pruned.append(score)
                search.end_pruned(number)
                break
        else:
            search.tell(number, [score], 1.0)
    assert pruned and max(pruned) < 0.9 and 0.1 in pruned


def test_addresses_that_cannot_work(base: Path) -> None:
    with pytest.raises(ConfigError, match=r'found "mysql://me@host/x", expected sqlite:///FILE or'):
        sweep(base / "sweep.toml", base / "out", storage="mysql://me:secret@host/x", quiet=True)
    with pytest.raises(ConfigError, match=r'found "s\.db", expected .*; did you mean "sqlite:///s\.db"\?'):
        sweep(base / "sweep.toml", base / "out", storage="s.db", quiet=True)
    with pytest.raises(ConfigError, match=r'; did you mean "postgresql://me@db/x"\?'):
        sweep(base / "sweep.toml", base / "out", storage="postgres://me:secret@db/x", quiet=True)
    assert not (base / "out").exists()
    with pytest.raises(PolytaskError, match=r"postgresql://me@127\.0\.0\.1:1/x does not answer") as error:
        opened(base, "postgresql://me:secret@127.0.0.1:1/x")
    assert "secret" not in str(error.value)
    assert shown("sqlite:///a.db") == "sqlite:///a.db"


class AtWork(Execution):
    """A training that goes on until it is stopped."""

    ended, seconds = False, 1.0

    def __init__(self, job: Job) -> None:
        self.job, self.stopped = job, False

    def stop(self) -> None:
        self.stopped = True

    def complaint(self) -> str:
        return ""


class Starting(Engine):
    """Starts a run, and does something behind its back."""

    workers = 1

    def __init__(self, then: Callable[[], None]) -> None:
        self.then, self.started = then, list[AtWork]()

    def start(self, job: Job) -> AtWork:
        self.started.append(AtWork(job))
        self.then()
        return self.started[-1]


def test_a_database_that_goes_away_stops_the_runs_in_one_sentence(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_search, "BEAT_SECONDS", 1)
    monkeypatch.setattr(shared_search, "_LOOK_SECONDS", 0.0)
    database = base / "search.db"
    engine = Starting(database.unlink)
    with pytest.raises(PolytaskError, match=r"--storage: sqlite:///.*search\.db does not answer \(.*\); "
                                            r"finished work is kept, and the same command resumes$"):
        sweep(base / "sweep.toml", base / "out", storage=f"sqlite:///{database}", engine=engine, quiet=True)
    assert [run.stopped for run in engine.started] == [True]


@contextmanager
def postgresql() -> Iterator[str]:
    """Start a server of its own in a folder, on a free port; as another user if we are root."""
    binaries = Path(str(SERVER)).resolve().parent
    folder = Path(tempfile.mkdtemp(prefix="polytask-postgresql-"))
    run: dict[str, Any] = {"check": True, "stdout": subprocess.DEVNULL, "cwd": folder}
    if os.getuid() == 0:
        entry = pwd.getpwnam("nobody")
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        run |= {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = ["-D", folder / "db"]
    subprocess.run([binaries / "initdb", *data, "-U", "me", "-A", "trust", "--no-sync"], **run)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    subprocess.run([binaries / "pg_ctl", *data, "-o", options, "-l", folder / "log", "-w", "start"], **run)
    try:
        yield f"postgresql://me@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([binaries / "pg_ctl", *data, "-m", "immediate", "stop"], **run)
        shutil.rmtree(folder)


LONG = ["train.max_steps=60", "train.epochs=100", "train.evaluate_every=60"]
# The command itself, but for how soon it gives up a trial whose process is gone.
SWEEP = """
from polytask.cli import main
from polytask.studies import shared_search
shared_search.BEAT_SECONDS, shared_search.STALE_SECONDS = 1, 12
main()
"""


def swept(base: Path, name: str, storage: str) -> subprocess.Popen[str]:
    """Start `polytask sweep` in a process group of its own; its trials take some seconds each."""
    words = ["sweep", str(base / "sweep.toml"), "--out", str(base / name), "--storage", storage, "-q",
             *(word for setting in LONG for word in ("--set", setting))]
    return subprocess.Popen([sys.executable, "-c", SWEEP, *words], start_new_session=True, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def begun(base: Path, name: str, storage: str) -> subprocess.Popen[str]:
    """Start a sweep and wait until its first trial makes updates."""
    process = swept(base, name, storage)
    wait_for(lambda: at_work(base / name) or process.poll() is not None)
    assert process.poll() is None, process.communicate()[0]
    return process


def at_work(out: Path) -> bool:
    """Return whether a trial of a sweep makes updates."""
    return any('"step"' in log.read_text() for log in out.glob("trials/*/events.jsonl"))


@pytest.mark.timeout(900)
@pytest.mark.skipif(not os.environ.get("POLYTASK_POSTGRESQL") or SERVER is None,
                    reason="POLYTASK_POSTGRESQL is not set, or PostgreSQL is not installed")
def test_two_processes_share_postgresql_and_one_is_killed(base: Path) -> None:
    """Both are at work on the same grid when one is killed; the other one does all that is left."""
    with postgresql() as storage:
        # One after the other: it is killed as soon as it is at work, and that is short of its trial's end.
        left, killed = begun(base, "left", storage), begun(base, "killed", storage)
        os.killpg(killed.pid, signal.SIGKILL)
        end_orphans(base / "killed")
        killed.communicate()
        assert left.poll() is None, left.communicate()[0]
        said, _ = left.communicate(timeout=480)
        assert left.returncode == 0, said
        search = SharedSearch.open_shared(read_sweep(base / "sweep.toml", assignments=LONG), storage, 0)
        # Where both drew the same point at the same moment, one gave it back.
        trials = [trial for trial in search.study.get_trials()
                  if trial.user_attrs.get("polytask_ended") != "surplus"]
        search.close()
    assert not list(base.glob("killed/trials/*/results.json")), "it was killed in its first trial"
    states = [trial.state.name for trial in trials]
    assert sorted(states) == ["COMPLETE", "COMPLETE", "COMPLETE", "FAIL"]
    (lost,) = [trial for trial in trials if trial.state.name == "FAIL"]
    (again,) = [trial for trial in trials if trial.system_attrs.get("failed_trial") == lost.number]
    assert again.params == lost.params and again.state.name == "COMPLETE"
    results = json.loads((base / "left" / "results.json").read_text())
    rates = [trial["parameters"]["train.optimizer.lr"] for trial in results["trials"]]
    assert sorted(rates) == [1e-4, 1e-3, 1e-2], "each point of the grid once"


@pytest.mark.timeout(600)
@pytest.mark.skipif(not os.environ.get("POLYTASK_POSTGRESQL") or SERVER is None,
                    reason="POLYTASK_POSTGRESQL is not set, or PostgreSQL is not installed")
def test_a_server_that_stops_is_one_sentence(base: Path) -> None:
    with postgresql() as storage:
        search = opened(base, storage)
        number = search.ask()
        assert number is not None
    with pytest.raises(PolytaskError, match=r"does not answer .*the same command resumes"), \
            shared_search.storage_errors(storage):
        search.tell(number, [0.5], 1.0)
    search.close()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def end_orphans(out: Path) -> None:
    """Kill the trainings that outlived the process that started them."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        words = entry.read_bytes().split(b"\0") if entry.exists() else []
        if b"train" in words and any(word.startswith(os.fsencode(out)) for word in words):
            os.kill(int(entry.parent.name), signal.SIGKILL)
