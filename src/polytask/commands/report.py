"""`polytask report`: the page and the plots of a run or a study, from its folder alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from polytask.core.atomic_files import write_file
from polytask.core.errors import ConfigError, MissingExtra, PolytaskError, RunError
from polytask.core.paths import RunPaths, StudyPaths, is_study
from polytask.report.multi_run import MOST, chosen, compared, overlaid, study_parts
from polytask.report.page import page, run_page
from polytask.report.plots import rows_by_score, write_figures, write_plots
from polytask.report.record import RunRecord, read_run
from polytask.report.sections.contract import note
from polytask.studies.study import StudyRow
from polytask.training.artifacts import load_artifacts


def report(paths: Sequence[str | Path], out: str | Path | None = None, plots: bool = True) -> Path:
    """Write the report of a run or a study, or one that lays the curves of several runs over each other.

    Returns the page. `out` is where it goes: absent, `report.html` in the folder; several runs need it.
    Raises `RunError` for what is no run and no study, `ConfigError` for several runs without `out`.
    """
    folders = [Path(path) for path in paths]
    if len(folders) > 1:
        if out is None:
            raise ConfigError("--out: is missing; expected a file for the report of several runs")
        runs = [_read(folder) for folder in folders]
        names = [run.name for run in runs]
        if len(set(names)) < len(names):  # runs of a study are named after their seeds
            names = [str(run.path) for run in runs]
        held = dict(zip(names, runs, strict=True))
        write_file(out, page(", ".join(names), f"{len(runs)} runs", compared(held)))
        return Path(out)
    (folder,) = folders
    if is_study(folder):
        return study_report(folder, out, plots)
    run = _read(folder)
    place = Path(out) if out else RunPaths(folder).report
    write_file(place, run_page(run))
    if plots:
        _draw(lambda: write_plots(run, RunPaths(folder).plots))
    return place


def _draw(plots: Callable[[], list[Path]]) -> None:
    """Write the plots; the page stands without them, so that a missing matplotlib is said and no more."""
    try:
        plots()
    except MissingExtra as error:
        sys.stderr.write(f"{error}\n")


def _read(folder: Path) -> RunRecord:
    """Read a run; a damaged file of predictions is said here and on the page, which is made without it."""
    run = read_run(folder, load_artifacts(folder))
    for task in run.tasks.values():
        for why in task.damaged.values():
            sys.stderr.write(f"{folder}/{why}; the report leaves this file out\n")
    return run


def study_report(folder: Path, out: str | Path | None = None, plots: bool = True) -> Path:
    """Write the page of a study from its results and its runs.

    Of a study that has not ended the curves of what has run are shown. Raises `RunError` for results
    of another version.
    """
    paths = StudyPaths(folder)
    results, place = paths.results, Path(out) if out else paths.report
    if not results.is_file():
        mark = json.loads(paths.mark("study").read_text(encoding="utf-8"))
        runs = {f"{path.parent.name} {path.name}": read_run(path, answers=False)
                for path in paths.all_runs()[:MOST]}
        ended = note("The study has not ended: there are no results yet; polytask compare goes on with it.")
        write_file(place, page(mark["title"], "not ended",
                               [("results", "Results", ended), *overlaid(runs)]))
        return place
    told = json.loads(results.read_text(encoding="utf-8"))
    if not {"scores", "primary", "rows"} <= told.keys():
        raise RunError(f"{results}: was written by another version of polytask; run polytask compare "
                       "again, finished runs are not repeated")
    found = {name: paths.run(StudyRow(name, {}).slug, seed) for name, seed in chosen(told)}
    runs = {name: read_run(path, answers=False) for name, path in found.items()
            if RunPaths(path).config.is_file()}
    about = " · ".join(str(value).strip("`") for value in told["about"].values())
    write_file(place, page(told["title"], about, study_parts(told, runs)))
    if plots:
        _draw(lambda: write_figures(rows_by_score(told), paths.plots))
    return place


def report_quietly(folder: Path) -> None:
    """Write the page of a run or study that has just ended. Whatever goes wrong is said; nothing is lost.

    The plots are left to `polytask report`: drawing them takes longer than the page.
    """
    try:
        report([folder], plots=False)
    except PolytaskError as error:
        sys.stderr.write(f"{folder}: {error}\n")
    except Exception as error:
        sys.stderr.write(f"{folder}: the report could not be made ({type(error).__name__}: {error}); "
                         f"everything else is complete, try: polytask report {folder}\n")
