"""`polytask compare`: every row and seed of a study is its own run, in its own process."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from polytask.commands.check import refusals
from polytask.commands.report import report_quietly
from polytask.commands.train import complete_all
from polytask.config import Run
from polytask.core.atomic_files import write_file
from polytask.core.errors import ConfigError, Interrupted, PolytaskError, nearest
from polytask.core.frames import data_frame, html_lines, html_table
from polytask.core.paths import StudyPaths
from polytask.core.run_folder import claim_folder
from polytask.core.safe_paths import refuse_special
from polytask.core.user_modules import trusting
from polytask.engines.choice import engine_for
from polytask.engines.contract import Engine
from polytask.engines.job import Job
from polytask.engines.place import read_place
from polytask.engines.queue import FixedQueue, run_jobs
from polytask.engines.watch import watching
from polytask.learn.phase_plan import PhasePlan, phases_of
from polytask.studies import comparison
from polytask.studies.comparison import Comparison
from polytask.studies.single_task import is_limited, single_rows
from polytask.studies.study import SCALES, Study, StudyRow, chosen, digest, read_study, seed_problems
from polytask.studies.tables import as_csv, as_json, markdown, remarks, sections, terminal
from polytask.training.build import read_data, starting_point
from polytask.training.machine import where_and_when
from polytask.training.session import stop_signals


@dataclass(frozen=True)
class Compared:
    """A study's result, its folder and how it was computed; prints as Markdown."""

    comparison: Comparison
    folder: Path
    about: dict[str, str]

    def __str__(self) -> str:
        return markdown(self.comparison, self.about)

    def _repr_html_(self) -> str:
        """Return the tables for a notebook."""
        return "".join(html_table(header, rows, title) for title, header, rows in sections(self.comparison)
                       ) + html_lines(remarks(self.comparison))

    def to_pandas(self) -> Any:
        """Return what `results.csv` holds as a data frame."""
        return data_frame([*csv.DictReader(io.StringIO(as_csv(self.comparison)),
                                           quoting=csv.QUOTE_MINIMAL)], numbers=True)

    def tables(self) -> list[Any]:
        """Return the same as rich's tables, for a terminal."""
        return terminal(self.comparison)


def compare(study: str | Path, out: str | Path, seeds: int | None = None, workers: int | None = None,
            rows: Sequence[str] | None = None, scale: str = "full",
            assignments: Iterable[str] = (), baselines: bool | None = None,
            quiet: bool = False, trust: bool = False, engine: Engine | None = None, on: str | None = None,
            resources: str | None = None) -> Compared:
    """Run the unfinished rows of a study, then compare all finished ones.

    study: the TOML file. out: the study's folder; it gets `results.{md,csv,json}` and `report.html`.
    seeds: how many per row; absent, the study's. workers: runs at a time. rows: names; absent, all.
    scale: "pilot" or "full". assignments: "dotted.key=value" changes to every row's config. baselines:
    whether to train each task alone as well; absent, as in the study. trust: a run that a row starts from
    (encoder.checkpoint) may import its own modules. engine: where the runs are computed; absent,
    `workers` local processes (default: 1), or `on` a cluster: "ray", "ray://head:10001", where
    each run gets `resources`: "cpus=2,gpus=1" (default: cpus=1) and `workers` is by default what fits.
    Raises `ConfigError` for every mistake of the study and its rows before anything runs, `RunError` for
    another study's folder, and `Interrupted` after a signal; finished runs are kept.
    """
    path, out, assignments = Path(study), Path(out), list(assignments)
    refuse_special(out)
    if scale not in SCALES:
        raise ConfigError(f'--scale: found "{scale}", expected pilot or full{nearest(scale, SCALES)}')
    read_place(on, resources)
    if problems := seed_problems(1 if seeds is None else seeds, "--seeds"):
        raise ConfigError(problems)
    loaded = read_study(path, cast(Literal["pilot", "full"], scale), assignments)
    wanted = list(chosen(loaded, rows))
    if loaded.baselines if baselines is None else baselines:
        wanted += single_rows(loaded.base_row, _plans(loaded, wanted, quiet))
    runs = _read_configs(loaded, wanted)
    jobs = {(row.name, seed): _job(row, seed, out) for n in range(seeds or loaded.seeds) for row in wanted
            for seed in [runs[row.name].seed + n]}
    _refuse(refusals({row: runs[row] for (row, _), job in jobs.items() if not job.finished}, quiet))
    digests = {row.name: digest(row.config) for row in (*loaded.rows, *wanted)}
    claim_folder(out, "study", loaded.title, {row.name: digests[row.name] for row in wanted}, digests)
    complete_all(job.folder for job in jobs.values())
    command = shlex.join([*_words(path, scale, assignments, rows, baselines, seeds), *["--trust"] * trust,
                          *(["--on", on] if on else []), *(["--each", resources] if resources else []),
                          "--out", str(out)])
    with (trusting(trust), stop_signals() as stopped, watching(loaded.title, quiet) as watch,
          engine_for(engine, workers, on, resources) as chosen_engine):
        failures = run_jobs(FixedQueue(list(jobs.values())), chosen_engine, stopped.is_set, watch)
    if stopped.is_set():
        raise Interrupted(f"stopped; finished runs are kept; resume with: {command}")
    finished = {key: job.folder for key, job in jobs.items() if job.finished}
    failed = {row: failures[job.name] for (row, _), job in jobs.items() if job.name in failures}
    result = comparison.compare(loaded, wanted, finished, failed)
    about = {"command": f"`{command}`", "seeds": ", ".join(map(str, sorted({seed for _, seed in jobs}))),
             **where_and_when(finished.values())}
    return _write(result, out, about)


def _job(row: StudyRow, seed: int, out: Path) -> Job:
    return Job(f"{row.name}, seed {seed}", {**row.config, "seed": seed},
               StudyPaths(out).run(row.slug, seed), StudyPaths(out).run_config(row.slug, seed))


def _words(path: Path, scale: str, assignments: Sequence[str], rows: Sequence[str] | None,
           baselines: bool | None, seeds: int | None) -> list[str]:
    """Return the command that chooses these rows of a study, without where and how they run."""
    words = ["polytask", "compare", str(path), "--scale", scale]
    words += [word for assignment in assignments for word in ("--set", assignment)]
    words += ["--rows", ",".join(rows)] if rows else []
    words += ["--seeds", str(seeds)] if seeds else []
    words += ["--baselines" if baselines else "--no-baselines"] if baselines is not None else []
    return words


def _read_configs(study: Study, rows: Sequence[StudyRow]) -> dict[str, Run]:
    """Read every row's config; all mistakes are reported together, a shared one once."""
    runs, problems = {}, dict[str, list[str]]()
    for row in rows:
        try:
            runs[row.name] = Run.from_table(row.config, str(study.path))
        except ConfigError as error:
            for problem in error.problems:
                problems.setdefault(problem, []).append(row.name)
    _refuse(problems)
    return runs


def _plans(study: Study, rows: Sequence[StudyRow], quiet: bool) -> list[PhasePlan]:
    """Return the plans of the base row's phases where `max_steps` ends one: they depend on the data.

    Of what the data reveal, the mistakes of all `rows` are reported together.
    """
    base = study.base_row
    runs = _read_configs(study, [*rows, *[base] * (base not in rows)])
    run = runs[base.name]
    if not is_limited(run.train):
        return []
    try:
        data = read_data(run, starting_point(run).tokenizer, quiet)
    except PolytaskError:
        _refuse(refusals(runs, quiet))
        raise
    return phases_of(run.train, {task: len(own.train) for task, own in data.items()}, run.seed)


def _refuse(problems: Mapping[str, list[str]]) -> None:
    """Raise a `ConfigError` if there are problems, each with the names of its rows."""
    sentences = []
    for problem, names in problems.items():
        shown = ", ".join(f'"{name}"' for name in names[:3])
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        sentences.append(f"{'rows' if len(names) > 1 else 'row'} {shown}{more}: {problem}")
    if sentences:
        raise ConfigError(sentences)


def _write(result: Comparison, out: Path, about: dict[str, str]) -> Compared:
    compared, paths = Compared(result, out, about), StudyPaths(out)
    write_file(paths.table("md"), str(compared))
    write_file(paths.table("csv"), as_csv(result))
    write_file(paths.results, as_json(result, about))
    report_quietly(out)
    return compared
