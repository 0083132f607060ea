"""`polytask compare`: every row and seed of a study is a run of its own, in a process of its own."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch

from polytask.core.config import write_toml
from polytask.core.disk import write_file, write_json
from polytask.core.errors import ConfigError, Interrupted, RunError
from polytask.core.folders import RunFolder
from polytask.core.progress import Progress, progress
from polytask.measure.comparison import compare_runs
from polytask.measure.study import Row, Study, chosen, read_study
from polytask.measure.study_tables import as_csv, as_html, as_json, markdown
from polytask.run import Run
from polytask.training import stop_signals

SCALES = ("pilot", "full")


@dataclass
class Job:
    """One run of a study: where it lies, and its process while it runs."""

    row: Row
    seed: int
    folder: Path
    config: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def finished(self) -> bool:
        return RunFolder(self.folder).results.is_file()

    @property
    def log(self) -> Path:
        return self.config.with_suffix(".log")

    def start(self, threads: int) -> None:
        """Begin the run, or go on with what a killed one left."""
        write_file(self.config, write_toml({**self.row.config, "seed": self.seed}))
        command = [sys.executable, "-m", "polytask", "train", str(self.config), "--out", str(self.folder),
                   "--resume", "--quiet"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True,
                                            env=os.environ | {"OMP_NUM_THREADS": str(threads)})

    def complaint(self) -> str:
        """Return the last line that a failed run said."""
        said = self.log.read_text(errors="replace").strip().splitlines()
        return said[-1] if said else "ended without a word"


def compare_study(path: Path, out: Path, seeds: int | None = None, workers: int = 1,
                  rows: Sequence[str] | None = None, scale: str = "full",
                  assignments: Iterable[str] = (), quiet: bool = False) -> str:
    """Run what is not finished of a study, write its tables, and return the Markdown one.

    Raises `ConfigError` for every mistake of the study and its rows before anything runs, `RunError`
    for a folder of another study, `Interrupted` with everything finished kept.
    """
    if scale not in SCALES:
        raise ConfigError(f'--scale: found "{scale}", expected pilot or full')
    assignments = list(assignments)
    study = read_study(path, cast(Literal["pilot", "full"], scale), assignments)
    wanted = chosen(study, rows)
    first_seeds = _checked(study, wanted)
    _claim(study, out)
    jobs = [Job(row, first_seeds[row.name] + n, out / "runs" / row.slug / str(first_seeds[row.name] + n),
                out / "configs" / f"{row.slug}-{first_seeds[row.name] + n}.toml")
            for n in range(seeds or study.seeds) for row in wanted]
    command = " ".join(["polytask compare", str(path), "--scale", scale,
                        *(f"--set {a}" for a in assignments)])
    with stop_signals() as stopped, progress(study.title, total=len(jobs), quiet=quiet) as bar:
        failures = _run_all(jobs, workers, bar, stopped.is_set, quiet)
    if stopped.is_set():
        raise Interrupted(f"stopped; what is finished is kept, go on with: {command} --out {out}")
    return _written(study, wanted, jobs, failures, out, command)


def _checked(study: Study, rows: Sequence[Row]) -> dict[str, int]:
    """Read every row's config, and return its first seed; all mistakes are told at once."""
    problems, seeds = [], {}
    for row in rows:
        try:
            seeds[row.name] = Run.from_table(row.config, f'{study.path}: row "{row.name}"').seed
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return seeds


def _claim(study: Study, out: Path) -> None:
    """Mark a folder as this study's; raise `RunError` if it is another's."""
    mark = out / "study.json"
    if mark.is_file():
        held = json.loads(mark.read_text())
        if held["digest"] != study.digest:
            raise RunError(f"{out}: belongs to another study ({held['title']}), or to another scale or "
                           "--set of this one; give another --out")
    elif out.exists() and any(out.iterdir()):
        raise RunError(f"{out}: is no study folder, and not empty; give another --out")
    write_json(mark, {"title": study.title, "digest": study.digest, "study": str(study.path)})


def _run_all(jobs: Sequence[Job], workers: int, bar: Progress, stopped: Callable[[], bool],
             quiet: bool) -> dict[str, str]:
    """Run the jobs that are not finished, `workers` at a time; return what the failed ones said."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    waiting = [job for job in jobs if not job.finished]
    bar.advance(len(jobs) - len(waiting))
    running: list[Job] = []
    failures: dict[str, str] = {}
    while waiting or running:
        while waiting and len(running) < workers and not stopped():
            job = waiting.pop(0)
            job.start(threads)
            running.append(job)
        if stopped():
            for job in running:
                job.process.terminate()  # type: ignore[union-attr]
            waiting = []
        time.sleep(0.2)
        for job in [job for job in running if job.process and job.process.poll() is not None]:
            running.remove(job)
            if not job.finished and not stopped():
                failures[job.row.name] = job.complaint()
            state = "done" if job.finished else "failed"
            bar.advance(1, f"{job.row.name} seed {job.seed} {state}")
            if not quiet:
                sys.stderr.write(f"{time.strftime('%H:%M:%S')} {state}: {job.row.name}, seed {job.seed}\n")
    return failures


def _written(study: Study, rows: Sequence[Row], jobs: Sequence[Job], failures: dict[str, str], out: Path,
             command: str) -> str:
    done = {(job.row.name, job.seed): job.folder for job in jobs if job.finished}
    lines = compare_runs(study, rows, done, failures)
    about = {"command": f"`{command}`",
             "seeds": ", ".join(str(seed) for seed in sorted({job.seed for job in jobs})),
             "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
             "date": time.strftime("%Y-%m-%d")}
    text = markdown(study, lines, about)
    write_file(out / "results.md", text)
    write_file(out / "results.csv", as_csv(lines))
    write_file(out / "results.json", as_json(study, lines, about))
    write_file(out / "results.html", as_html(text, study.title))
    return text
