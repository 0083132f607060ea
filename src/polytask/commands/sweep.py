"""`polytask sweep`: Optuna proposes trials; each is its own run in its own process.

The search lives in a journal file in the sweep's folder. Trials that a kill left open resume where their
runs stopped; a trial that failed stays open, and the next call tries it again.
"""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from polytask.commands.check import refusals
from polytask.commands.train import complete_all
from polytask.config import Run
from polytask.core.atomic_files import write_file
from polytask.core.errors import ConfigError, Interrupted, RunError, nearest
from polytask.core.frames import data_frame, html_lines, html_table
from polytask.core.paths import SweepPaths
from polytask.core.results_file import read_results
from polytask.core.run_folder import RunFolder, claim_folder
from polytask.core.safe_paths import refuse_special
from polytask.core.toml import write_toml
from polytask.core.user_modules import trusting
from polytask.engines.choice import engine_for
from polytask.engines.contract import Engine
from polytask.engines.job import Job
from polytask.engines.place import read_place
from polytask.engines.queue import Queue, run_jobs
from polytask.engines.watch import watching
from polytask.metrics import overall
from polytask.studies import search, sweep_tables
from polytask.studies.shared_search import SharedSearch, check_address, shown, storage_errors
from polytask.studies.statistics import less_is_better
from polytask.studies.study import SCALES
from polytask.studies.sweep import OVERALL, Sweep, read_sweep
from polytask.training.machine import where_and_when
from polytask.training.session import stop_signals


@dataclass
class Swept:
    """A sweep's result; prints as Markdown."""

    sweep: Sweep
    folder: Path
    trials: list[search.FinishedTrial]
    failures: dict[int, str]
    importances: dict[str, dict[str, float]]
    about: dict[str, str] = field(default_factory=dict)

    @property
    def best(self) -> list[search.FinishedTrial]:
        """The best trial; with several metrics, the trials that no other one beats in all of them."""
        return search.front(self.trials, self.sweep.metrics)

    def __str__(self) -> str:
        return sweep_tables.markdown(self.sweep, self.trials, self.best, self.failures, self.importances,
                                     self.about)

    def _repr_html_(self) -> str:
        """Return the table of the trials for a notebook."""
        numbers = {str(trial.number) for trial in self.best}
        rows = [[f"{number} (best)" if number in numbers else number, *cells]
                for number, *cells in sweep_tables.rows(self.sweep, self.trials)]
        return html_table(sweep_tables.header(self.sweep), rows, self.sweep.title) + html_lines(
            f"trial {number} failed: {complaint}" for number, complaint in self.failures.items())

    def to_pandas(self) -> Any:
        """Return what `results.csv` holds as a data frame."""
        return data_frame([*csv.DictReader(io.StringIO(sweep_tables.as_csv(self.sweep, self.trials)))],
                          numbers=True)


def sweep(path: str | Path, out: str | Path, trials: int | None = None, workers: int | None = None,
          scale: str = "full", assignments: Iterable[str] = (), seed: int = 0,
          quiet: bool = False, trust: bool = False, engine: Engine | None = None, on: str | None = None,
          resources: str | None = None, storage: str | None = None) -> Swept:
    """Search the parameters of a sweep file; resume what is in `out`.

    trials: how many in all; absent, the file's. workers: runs at the same time (with more than one, the
    order in which they end influences what a `tpe` search asks next). seed: of the search. trust: a run
    that trials start from (encoder.checkpoint) may bring in modules with custom components. engine, on,
    resources: where the runs are computed, as of `compare`. storage: a database (sqlite:///FILE,
    postgresql://USER@HOST/NAME) in place of the folder's journal: others work on the same sweep.
    Raises `ConfigError` for every mistake of the file and of each value in it before anything runs,
    `RunError` for another sweep's folder, and `Interrupted` with everything finished kept.
    """
    if scale not in SCALES:
        raise ConfigError(f'--scale: found "{scale}", expected pilot or full{nearest(scale, SCALES)}')
    read_place(on, resources)
    if storage is not None:
        check_address(storage)
    out, assignments = Path(out), list(assignments)
    refuse_special(out)
    loaded = read_sweep(path, cast(Literal["pilot", "full"], scale), assignments, trials)
    search.available()
    _check(loaded, quiet)
    claim_folder(out, "sweep", loaded.title, {loaded.title: loaded.digest})
    complete_all(SweepPaths(out).all_trials())
    queue = TrialQueue(loaded, out, SharedSearch.open_shared(loaded, storage, seed) if storage else
                       search.Search.open(loaded, SweepPaths(out).journal, seed))
    command = shlex.join(["polytask", "sweep", str(path), "--scale", scale, "--seed", str(seed),
                          *(["--trials", str(trials)] if trials else []),
                          *(word for assignment in assignments for word in ("--set", assignment)),
                          *(["--trust"] if trust else []),
                          *(["--storage", shown(storage)] if storage else []),
                          *(["--on", on] if on else []), *(["--each", resources] if resources else []),
                          "--out", str(out)])
    with closing(queue.search), storage_errors(storage) if storage else nullcontext():
        with (trusting(trust), stop_signals() as stopped, watching(loaded.title, quiet) as watch,
              engine_for(engine, workers, on, resources) as chosen_engine):
            run_jobs(queue, chosen_engine, stopped.is_set, watch)
        if stopped.is_set():
            raise Interrupted(f"stopped; finished trials are kept; resume with: {command}")
        return _write(queue, {"command": f"`{command}`"}, seed)


def _check(sweep: Sweep, quiet: bool) -> None:
    """Read config, data and encoder for every value of every parameter; report all mistakes at once."""
    runs: dict[str, Run] = {}
    problems: dict[str, None] = {}
    probes = {str(number): probe for number, probe in enumerate(sweep.probes())}
    scored = _scored(sweep)
    for name, probe in (probes | scored).items():
        try:
            runs[name] = Run.from_table(probe, str(sweep.path))
        except ConfigError as error:
            problems |= dict.fromkeys(_of_metrics(problem) if name in scored else problem
                                      for problem in error.problems)
    if not problems:
        problems = dict.fromkeys(
            f"{sweep.path}: {_of_metrics(problem)}" if scored.keys() >= {*names} else problem
            for problem, names in refusals(runs, quiet).items())
    if problems:
        raise ConfigError(problems)


def _scored(sweep: Sweep) -> dict[str, Any]:
    """Return metric → config: a metric can be maximised if it can be `train.score`."""
    first = next(sweep.probes())
    return {metric: {**first, "train": {**first.get("train", {}), "score": score}}
            for metric in sweep.metrics if metric != OVERALL
            for score in [f"-{metric}" if less_is_better(metric) else metric]}


def _of_metrics(problem: str) -> str:
    return problem.replace("train.score", "metrics")


class TrialQueue(Queue):
    """The trials of one call, as the search proposes them."""

    def __init__(self, sweep: Sweep, out: Path, asked: search.Search) -> None:
        self.sweep, self.out, self.search = sweep, out, asked
        self.paths = SweepPaths(out)
        self._by_name: dict[str, tuple[int, Job]] = {}
        super().__init__([self._job(number) for number in asked.left_open()])

    @property
    def jobs(self) -> Sequence[Job]:
        return [job for _, job in self._by_name.values()]

    @property
    def total(self) -> int:
        return len(self._by_name) + max(0, self.sweep.trials - self.search.asked)

    @property
    def unfinished(self) -> bool:
        return bool(self.waiting) or self.search.others_at_work

    def next(self) -> Job | None:
        if self.waiting:
            return super().next()
        number = self.search.ask() if self.search.asked < self.sweep.trials else None
        return None if number is None else self._job(number)

    def _job(self, number: int) -> Job:
        job = Job(f"trial {number}", self.sweep.config(self.search.drawn(number)),
                  self.paths.trial(self.search.folder_number(number)),
                  self.paths.trial_config(self.search.folder_number(number)))
        self._by_name[job.name] = number, job
        return job

    def number(self, name: str) -> int:
        """Return the number of a trial by its job's name."""
        return self._by_name[name][0]

    def abandons(self, job: Job) -> bool:
        """Report the dev scores so far; return whether the search prunes the trial.

        A trial that has made its last update is not pruned: there is no time left to save.
        """
        self.search.beat(self.number(job.name))
        if self.sweep.pruner == "none":
            return False
        number, events = self.number(job.name), job.last_events()
        if not self._report(number, events):
            return False
        done = max((event["step"] for event in events if event.get("event") == "step"), default=0)
        return done < job.planned and self.search.prunes(number)

    def _report(self, number: int, events: Iterable[Mapping[str, Any]]) -> bool:
        """Report the dev scores that a run has so far; return whether there are any."""
        evaluations = [event for event in events if event.get("event") == "evaluation"]
        for event in evaluations:
            self.search.report(number, int(event["step"]), self._values(event["dev"])[0])
        return bool(evaluations)

    def _values(self, dev: Mapping[str, Mapping[str, Any]]) -> list[float]:
        formula = str(self.sweep.base.get("train", {}).get("score", "default"))
        values = []
        for key in self.sweep.metrics:
            task, _, metric = key.partition(".")
            value = overall(formula, dev) if key == OVERALL else dev[task].get(metric)
            if value is None:
                raise RunError(f'{self.out}: metrics: "{key}" was not measured; expected one of '
                               f"{', '.join(dev[task])}")
            values.append(float(value))
        return values

    def ended(self, job: Job, complaint: str | None) -> None:
        number = self.number(job.name)
        if job.finished:
            if self.sweep.pruner != "none":
                self._report(number, job.last_events())  # what the next trials are compared with
            results = read_results(RunFolder(job.folder).results)
            self.search.tell(number, self._values(results["dev"]["scores"]), job.seconds)
        elif self.search.pruned(number):
            self.search.end_pruned(number)
            complaint = None
        elif complaint is None:
            self.search.release(number)
        else:
            self.search.fail(number)
        super().ended(job, complaint)


def _write(queue: TrialQueue, about: dict[str, str], seed: int) -> Swept:
    """Write the tables and the best configs; `about` gains the seeds, and where and when the trials ran."""
    sweep, paths = queue.sweep, queue.paths
    failures = {queue.number(name): complaint for name, complaint in queue.failures.items()}
    trials = queue.search.finished()
    here = [folder for each in trials if RunFolder(folder := paths.trial(each.number)).results.is_file()]
    seeds = sorted({sweep.config(trial.drawn).get("seed", Run.seed) for trial in trials})
    trained = f"{', '.join(map(str, seeds))} of the trainings, " if seeds else ""
    about = {**about, "seeds": f"{trained}{seed} of the search", **where_and_when(here)}
    swept = Swept(sweep, queue.out, trials, failures, queue.search.importances(), about)
    write_file(paths.table("md"), str(swept))
    write_file(paths.table("csv"), sweep_tables.as_csv(sweep, swept.trials))
    write_file(paths.results, sweep_tables.as_json(
        sweep, swept.trials, swept.best, swept.failures, swept.importances, about))
    for stale in paths.every_best():
        stale.unlink()
    for trial in swept.best:
        number = None if len(sweep.metrics) == 1 else trial.number
        write_file(paths.best(number), write_toml(sweep.config(trial.drawn)))
    return swept
