"""Jobs on an engine: each once, whoever else works in its folder; how it ended is known from its folder."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from polytask.core.run_folder import RunFolder
from polytask.engines.contract import Engine, Execution
from polytask.engines.job import Job
from polytask.engines.local import LocalEngine, LocalProcess, visible_gpus
from polytask.engines.queue import FixedQueue, run_jobs
from polytask.engines.watch import Watch


def job_in(folder: Path, name: str = "a") -> Job:
    return Job(name, {"seed": 1}, folder / name, folder / "configs" / f"{name}.toml")


def finish(job: Job, seconds: float = 2.0) -> None:
    folder = RunFolder(job.folder)
    folder.checkpoint.mkdir(parents=True)
    folder.results.write_text(json.dumps({"seconds": seconds}))


class Immediate(Execution):
    """A run that has ended as soon as it is started."""

    ended, seconds = True, 0.0

    def __init__(self, job: Job) -> None:
        self.job = job

    def stop(self) -> None:
        raise AssertionError("it has ended")

    def complaint(self) -> str:
        return f"{self.job.name} failed"


class Scripted(Engine):
    """Finishes jobs at once, except those whose names are in `failing`."""

    def __init__(self, failing: set[str] = frozenset()) -> None:
        self.workers, self.failing = 2, failing
        self.started: list[str] = []

    def start(self, job: Job) -> Immediate:
        self.started.append(job.name)
        if job.name not in self.failing:
            finish(job)
        return Immediate(job)


def test_every_job_is_started_once_and_failures_have_their_complaint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [job_in(tmp_path, name) for name in "abcd"]
    finish(jobs[0])
    engine = Scripted({"c"})
    failures = run_jobs(FixedQueue(jobs), engine, lambda: False, Watch("A study"))
    assert engine.started == ["b", "c", "d"] and failures == {"c": "c failed"}
    assert not jobs[1].folder.joinpath("checkpoints").exists()  # nobody resumes a finished run
    lines = [line[9:] for line in capsys.readouterr().err.splitlines()]
    assert sorted(lines) == ["b: done", "c: failed: c failed", "d: done"]


def test_a_job_whose_folder_is_in_use_waits(tmp_path: Path) -> None:
    job, other = job_in(tmp_path, "a"), job_in(tmp_path, "b")
    job.folder.mkdir()
    lock = FileLock(RunFolder(job.folder).lock)
    lock.acquire()
    queue = FixedQueue([job, other])
    assert queue.next() is other and queue.next() is None and queue.waiting == [job]
    lock.release()
    assert queue.next() is job and not queue.waiting


def test_once_stopped_nothing_is_started(tmp_path: Path) -> None:
    engine = Scripted()
    assert run_jobs(FixedQueue([job_in(tmp_path)]), engine, lambda: True, Watch("x", quiet=True)) == {}
    assert engine.started == []


def test_a_process_that_fails_says_its_last_line(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    process = LocalEngine(1).start(job)
    deadline = time.monotonic() + 100
    while not process.ended:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "tasks" in process.complaint() and not job.finished
    assert 'seed = 1' in job.config.read_text()


def test_a_process_is_asked_to_stop_and_its_signal_is_named(tmp_path: Path) -> None:
    process = LocalProcess(job_in(tmp_path), subprocess.Popen([sys.executable, "-c", "input()"],
                                                              stdin=subprocess.PIPE))
    assert not process.ended
    process.stop()
    process.process.wait(20)
    assert process.ended and process.complaint() == "was killed by signal 15"
    assert process.process.stdin is not None
    process.process.stdin.close()


def test_the_progress_of_a_job_is_read_from_its_folder(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    assert (job.progress(), job.planned, job.last_line()) == ("starting", 0, "ended without a message")
    assert job.rest() is None
    events = [{"event": "start", "steps": 40}, {"event": "step", "step": 3, "tokens": 500, "seconds": 0.5},
              {"event": "evaluation", "step": 3, "summary": "dev sst accuracy 0.5"}]
    job.folder.mkdir()
    RunFolder(job.folder).events.write_text("".join(json.dumps(event) + "\n" for event in events))
    assert job.progress() == "update 3 of 40, 1,000 tokens/s, dev sst accuracy 0.5"
    assert job.rest() == 37 * 0.5


def test_a_pipe_gets_a_line_a_minute_of_what_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("polytask.engines.watch.time.monotonic", lambda: now[0])
    jobs = [job_in(tmp_path, name) for name in "abc"]
    finish(jobs[0], seconds=120)
    watch, queue = Watch("A study"), FixedQueue(jobs)
    watch.show(queue, [Immediate(jobs[1])])
    assert capsys.readouterr().err == ""
    now[0] += 61
    watch.show(queue, [Immediate(jobs[1])])
    assert capsys.readouterr().err[9:] == (
        "A study: 1 of 3 done, 0 failed, about 4 min left; b: starting\n")
    jobs[1].folder.mkdir(exist_ok=True)
    events = [{"event": "start", "steps": 900}, {"event": "step", "step": 300, "tokens": 5, "seconds": 2.0}]
    RunFolder(jobs[1].folder).events.write_text("".join(json.dumps(event) + "\n" for event in events))
    now[0] += 61
    watch.show(queue, [Immediate(jobs[1])])  # 20 minutes of its own and, of another, half of 20 and 2
    assert "about 31 min left" in capsys.readouterr().err
    quiet = Watch("A study", quiet=True)
    now[0] += 61
    quiet.show(queue, [Immediate(jobs[1])])
    quiet.ended(jobs[0], None)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("named", "expected"), [("2,3", ["2", "3", "3"]), ("0", [None, None, None]),
                                                 ("", [None, None, None])])
def test_each_run_sees_the_gpu_that_fewest_others_see(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, expected: list[str | None]) -> None:
    seen: list[str | None] = []

    class Process:
        def __init__(self, *_: object, env: dict[str, str], **__: object) -> None:
            seen.append(env["CUDA_VISIBLE_DEVICES"] if env["CUDA_VISIBLE_DEVICES"] != named else None)
            self.code: int | None = None

        def poll(self) -> int | None:
            return self.code

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    monkeypatch.setattr(subprocess, "Popen", Process)
    engine = LocalEngine(2)
    for name in "abc":
        execution = engine.start(job_in(tmp_path, name))
        if name == "b":
            execution.process.code = 0  # it has ended, so that its GPU is free
    assert seen == expected


def test_gpus_are_counted_where_none_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus(tmp_path / "none") == []
    for bus in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / bus).mkdir()
    assert visible_gpus(tmp_path) == ["0", "1"]
