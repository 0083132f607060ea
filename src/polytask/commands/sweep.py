"""`polytask sweep`: Optuna asks for trials, each is a run of its own in a process of its own.

The search lives in a journal file in the sweep's folder. Trials that a kill left open go on where
their runs stopped; one that failed stays open, and the next call tries it again.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from polytask.commands.check import refusals
from polytask.config import Run
from polytask.core.atomic_files import write_file
from polytask.core.errors import ConfigError, Interrupted, RunError, nearest
from polytask.core.paths import SweepPaths
from polytask.core.run_folder import RunFolder, claim_folder
from polytask.core.toml import write_toml
from polytask.core.user_modules import trusting
from polytask.engines.local import POLL_SECONDS, Job, Watch, threads_each, watching
from polytask.metrics import overall
from polytask.studies import search, sweep_tables
from polytask.studies.statistics import less_is_better
from polytask.studies.study import SCALES
from polytask.studies.sweep import OVERALL, Sweep, read_sweep
from polytask.training.session import stop_signals


@dataclass
class Swept:
    """A sweep's result; printed, it is the Markdown."""

    sweep: Sweep
    folder: Path
    trials: list[search.FinishedTrial]
    failures: dict[int, str]
    importances: dict[str, dict[str, float]]
    about: dict[str, str] = field(default_factory=dict)

    @property
    def best(self) -> list[search.FinishedTrial]:
        """The best trial, or with several metrics those that no other is better than in all."""
        return search.front(self.trials, self.sweep.metrics)

    def __str__(self) -> str:
        return sweep_tables.markdown(self.sweep, self.trials, self.best, self.failures, self.importances,
                                     self.about)


def sweep(path: str | Path, out: str | Path, trials: int | None = None, workers: int = 1,
          scale: str = "full", assignments: Iterable[str] = (), seed: int = 0,
          quiet: bool = False, trust: bool = False) -> Swept:
    """Search the parameters of a sweep file; go on with what is in `out`.

    trials: how many in all; absent, the file's. workers: runs at the same time (with more than one,
    the order in which they end decides what a `tpe` search asks next). seed: of the search.
    trust: a run that trials start from (encoder.checkpoint) may bring in modules of someone's own.
    Raises `ConfigError` for every mistake of the file and of each value in it before anything runs,
    `RunError` for a folder of another sweep, `Interrupted` with everything finished kept.
    """
    if scale not in SCALES:
        raise ConfigError(f'--scale: found "{scale}", expected pilot or full{nearest(scale, SCALES)}')
    out, assignments = Path(out), list(assignments)
    read = read_sweep(path, cast(Literal["pilot", "full"], scale), assignments, trials)
    search.available()
    _check(read, quiet)
    claim_folder(out, "sweep", read.title, {read.title: read.digest})
    going = _Search(read, out, search.Search.open(read, SweepPaths(out).journal, seed))
    with trusting(trust), stop_signals() as stopped, watching(read.title, quiet) as watch:
        going.run(workers, stopped.is_set, watch)
    command = shlex.join(["polytask", "sweep", str(path), "--scale", scale, "--seed", str(seed),
                          *(["--trials", str(trials)] if trials else []),
                          *(word for each in assignments for word in ("--set", each)),
                          *(["--trust"] if trust else [])])
    if stopped.is_set():
        raise Interrupted("stopped; what is finished is kept, go on with: "
                          f"{command} --out {shlex.quote(str(out))}")
    return going.written({"command": f"`{command}`", "date": time.strftime("%Y-%m-%d")})


def _check(read: Sweep, quiet: bool) -> None:
    """Read a config, its data and encoder for every value of every parameter; tell all mistakes at once."""
    runs: dict[str, Run] = {}
    problems: dict[str, None] = {}
    probes = {str(number): probe for number, probe in enumerate(read.probes())}
    scored = _scored(read)
    for name, probe in (probes | scored).items():
        try:
            runs[name] = Run.from_table(probe, str(read.path))
        except ConfigError as error:
            problems |= dict.fromkeys(_of_metrics(said) if name in scored else said
                                      for said in error.problems)
    if not problems:
        problems = dict.fromkeys(
            f"{read.path}: {_of_metrics(said)}" if scored.keys() >= {*names} else said
            for said, names in refusals(runs, quiet).items())
    if problems:
        raise ConfigError(problems)


def _scored(read: Sweep) -> dict[str, Any]:
    """Return metric → config: a metric serves as metric exactly where it serves as the score."""
    first = next(read.probes())
    return {metric: {**first, "train": {**first.get("train", {}), "score": score}}
            for metric in read.metrics if metric != OVERALL
            for score in [f"-{metric}" if less_is_better(metric) else metric]}


def _of_metrics(said: str) -> str:
    return said.replace("train.score", "metrics")


class _Search:
    """The trials of one call: asked for, run, told."""

    def __init__(self, read: Sweep, out: Path, asked: search.Search) -> None:
        self.sweep, self.out, self.search = read, out, asked
        self.paths = SweepPaths(out)
        self.failures: dict[int, str] = {}
        self.jobs: dict[int, Job] = {}

    def run(self, workers: int, stopped: Any, watch: Watch) -> None:
        """Run trials until there are as many as wanted, or `stopped` says so."""
        waiting = self.search.left_open()
        running: dict[int, Job] = {}
        while True:
            while len(running) < workers and not stopped():
                # One whose folder another process still trains in is waited for.
                free = (each for each in waiting if not self._job(each).held)
                number = next(free, None) if waiting else self._next()
                if number is None:
                    break
                waiting = [each for each in waiting if each != number]
                job = self.jobs[number] = self._job(number)
                if not job.finished:
                    job.start(threads_each(workers))
                running[number] = job
            if not running and (stopped() or not waiting):
                return
            time.sleep(POLL_SECONDS)
            for number, job in list(running.items()):
                if stopped() or self._hopeless(number, job):
                    job.stop()
                if job.ended or job.process is None:  # None: it was finished before
                    del running[number]
                    if job.held and not job.finished and not stopped():
                        waiting.append(number)
                        continue
                    self._ended(number, job, stopped())
                    watch.ended(job, self.failures.get(number))
            failed = {self.jobs[number].name: said for number, said in self.failures.items()}
            watch.show(list(self.jobs.values()), list(running.values()), failed)

    def _next(self) -> int | None:
        return self.search.ask() if self.search.asked < self.sweep.trials else None

    def _job(self, number: int) -> Job:
        return Job(f"trial {number}", self.sweep.config(self.search.drawn(number)),
                   self.paths.trial(number), self.paths.trial_config(number))

    def _hopeless(self, number: int, job: Job) -> bool:
        """Tell the search the dev scores so far; return whether it gives the trial up.

        One that has made its last update is not: there is nothing left to save.
        """
        if self.sweep.pruner == "none":
            return False
        events = job.events()
        if not self._reported(number, events):
            return False
        done = max((event["step"] for event in events if event.get("event") == "step"), default=0)
        return done < job.planned and self.search.gives_up(number)

    def _reported(self, number: int, events: Iterable[Mapping[str, Any]]) -> bool:
        """Tell the search the dev scores that a run has so far; return whether there are any."""
        scores = [event for event in events if event.get("event") == "evaluation"]
        for event in scores:
            self.search.report(number, int(event["step"]), self._values(event["dev"])[0])
        return bool(scores)

    def _values(self, dev: Mapping[str, Mapping[str, Any]]) -> list[float]:
        formula = str(self.sweep.base.get("train", {}).get("score", "default"))
        found = []
        for key in self.sweep.metrics:
            task, _, metric = key.partition(".")
            value = overall(formula, dev) if key == OVERALL else dev[task].get(metric)
            if value is None:
                raise RunError(f'{self.out}: metrics: "{key}" was not measured; expected one of '
                               f"{', '.join(dev[task])}")
            found.append(float(value))
        return found

    def _ended(self, number: int, job: Job, stopped: bool) -> None:
        self.failures.pop(number, None)
        if job.finished:
            job.tidy()
            if self.sweep.pruner != "none":
                self._reported(number, job.events())  # what the next trials are compared with
            results = json.loads(RunFolder(job.folder).results.read_text(encoding="utf-8"))
            self.search.tell(number, self._values(results["dev"]["scores"]), float(results["seconds"]))
        elif self.search.given_up(number):
            self.search.prune(number)
        elif not stopped:
            self.failures[number] = job.complaint()

    def written(self, about: dict[str, str]) -> Swept:
        """Write the tables and the best configs."""
        found = Swept(self.sweep, self.out, self.search.finished(), self.failures,
                      self.search.importances(), about)
        write_file(self.paths.table("md"), str(found))
        write_file(self.paths.table("csv"), sweep_tables.as_csv(self.sweep, found.trials))
        write_file(self.paths.results, sweep_tables.as_json(
            self.sweep, found.trials, found.best, found.failures, found.importances, about))
        for stale in self.paths.every_best():
            stale.unlink()
        for each in found.best:
            number = None if len(self.sweep.metrics) == 1 else each.number
            write_file(self.paths.best(number), write_toml(self.sweep.config(each.drawn)))
        return found
