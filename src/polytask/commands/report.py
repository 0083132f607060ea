"""`polytask report`: the page and the plots of a run or a study, from its folder alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from polytask.core.atomic_files import write_file
from polytask.core.errors import ConfigError, MissingExtra, PolytaskError, RunError
from polytask.core.json_files import as_written, read_json
from polytask.core.leftovers import tidy
from polytask.core.output_files import refuse_as_output
from polytask.core.paths import RunPaths, StudyPaths, is_study
from polytask.core.terminal import tell
from polytask.report.multi_run import MOST, chosen_runs, compared, overlaid, study_figures, study_parts
from polytask.report.page import page, run_page
from polytask.report.plots import run_figures, write_figures
from polytask.report.record import RunRecord, read_run
from polytask.report.sections.contract import note
from polytask.report.svg import Figure
from polytask.studies.study import StudyRow
from polytask.training.artifacts import load_artifacts

_AGAIN = "; run polytask compare again, finished runs are not repeated"


def report(paths: Sequence[str | Path], out: str | Path | None = None, plots: bool = True) -> Path:
    """Write the report of a run or a study, or one that lays the curves of several runs over each other.

    Returns the page. `out` is its file: absent, `report.html` in the folder; several runs need it. With
    `plots` the figures are also written to the folder's `plots/`. Raises `RunError` for what is neither a
    run nor a study, `ConfigError` for several runs without `out`.
    """
    folders = [Path(path) for path in paths]
    page_file = Path(out) if out else RunPaths(folders[0]).report
    refuse_as_output(page_file, page=True)
    tidy(page_file.parent, [page_file.name])
    if len(folders) > 1:
        for number, folder in enumerate(folders):
            if folder.resolve() in (other.resolve() for other in folders[:number]):
                raise ConfigError(f"{folder}: is named twice, expected different runs")
        if out is None:
            raise ConfigError("--out: is missing; expected a file for the report of several runs")
        return _compare_runs(folders, page_file)
    (folder,) = folders
    if is_study(folder):
        return _study_report(folder, page_file, plots)
    with as_written(folder):
        run = _read(folder)
        write_file(page_file, run_page(run))
        if plots:
            _write_plots(run_figures(run), RunPaths(folder).plots)
    return page_file


def _compare_runs(folders: Sequence[Path], out: Path) -> Path:
    runs = []
    for folder in folders:
        with as_written(folder):
            runs.append(_read(folder))
    names = [run.name for run in runs]
    if len(set(names)) < len(names):  # runs of a study are named after their seeds
        names = [str(run.path) for run in runs]
    with as_written(", ".join(names)):
        parts = compared(dict(zip(names, runs, strict=True)))
        write_file(out, page(", ".join(names), f"{len(runs)} runs", parts))
    return out


def _write_plots(figures: Iterable[tuple[str, Figure]], folder: Path) -> None:
    """Write the plots; the page does not depend on them, so a missing extra is only mentioned."""
    try:
        write_figures(figures, folder)
    except MissingExtra as error:
        tell(f"{error}")


def _read(folder: Path) -> RunRecord:
    """Read a run; a damaged file of predictions is named here and on the page, which leaves it out."""
    run = read_run(folder, load_artifacts(folder))
    for task in run.tasks.values():
        for problem in task.damaged.values():
            tell(f"{folder}/{problem}; the report leaves this file out")
    return run


def _study_report(folder: Path, file: Path, plots: bool) -> Path:
    """Write the page of a study from its results and its runs.

    An unfinished study shows the curves of what has run. Raises `RunError` for results that cannot be read.
    """
    study = StudyPaths(folder)
    if not study.results.is_file():
        write_file(file, _unfinished(study))
        return file
    results = _results(study.results)
    with as_written(study.results, remedy=_AGAIN):
        paths = {name: study.run(StudyRow(name, {}).slug, seed) for name, seed in chosen_runs(results)}
        runs = {name: read_run(path, predictions=False) for name, path in paths.items()
                if RunPaths(path).config.is_file()}
        about = " · ".join(str(value).strip("`") for value in results["about"].values())
        write_file(file, page(str(results["title"]), about, study_parts(results, runs)))
        if plots:
            _write_plots(study_figures(results), study.plots)
    return file


def _results(path: Path) -> dict[str, Any]:
    results = read_json(path)
    if not isinstance(results, dict) or not {"about", "scores", "primary", "rows"} <= results.keys():
        raise RunError(f"{path}: was written by another version of polytask{_AGAIN}")
    return results


def _unfinished(study: StudyPaths) -> str:
    mark = read_json(study.mark("study"))
    unfinished = note("The study is not finished: it has no results yet; polytask compare resumes it.")
    with as_written(study.path):
        runs = {f"{path.parent.name} {path.name}": read_run(path, predictions=False)
                for path in study.all_runs()[:MOST]}
        return page(str(mark.get("title", study.path.name)), "not finished",
                    [("results", "Results", unfinished), *overlaid(runs)])


def report_quietly(folder: Path) -> None:
    """Write the page of a run or study that has just ended. A failure is reported and has no other effect.

    The plots are left to `polytask report`: drawing them takes longer than the page.
    """
    try:
        report([folder], plots=False)
    except PolytaskError as error:
        tell(f"{folder}: {error}")
    except Exception as error:
        tell(f"{folder}: the report could not be written ({type(error).__name__}: {error}); "
             f"everything else is complete; try again with: polytask report {folder}")
