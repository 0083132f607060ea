"""A command's own file replaces no part of a run, and no device."""

from __future__ import annotations

from pathlib import Path

import pytest

from polytask.core.errors import RunError
from polytask.core.output_files import refuse_as_output
from polytask.core.paths import RunPaths


def test_parts_of_a_run_are_no_place_for_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = RunPaths(tmp_path / "run")
    run.path.mkdir()
    run.config.touch()
    refuse_as_output(run.model / "page.html")  # a folder with a config.toml, no run
    run.events.touch()
    for part in (run.config, run.model / "page.html", run.checkpoint / "a" / "b", run.best, run.lock,
                 run.artifacts / "x.csv", run.prediction_file("sst", "dev"), run.report,
                 run.plots / "a.svg", run.prediction_file("my-task", "test"),
                 run.tracker("mlflow") / "mlflow.db"):
        with pytest.raises(RunError, match=r"belongs to the run .*give another --out"):
            refuse_as_output(part)
    monkeypatch.chdir(run.path)
    with pytest.raises(RunError, match=r"results\.json: results\.json belongs to the run"):
        refuse_as_output(Path("results.json"))
    for no_file in (Path("/dev/null"), tmp_path / ("x" * 300), tmp_path / ("x" * 300) / "a", Path("a\0b")):
        with pytest.raises(RunError, match=r"is a device|cannot be read \((File name too|embedded null)"):
            refuse_as_output(no_file)
    for own in (run.predictions / "mine.csv", run.predictions / "sst.csv", run.path / "answers",
                run.path / "sst-dev.csv", tmp_path / "a"):
        refuse_as_output(own)
    for page in (run.report, run.plots / "page.html"):
        refuse_as_output(page, page=True)
    with pytest.raises(RunError, match=r"sst-dev\.csv: predictions/sst-dev\.csv belongs to the run"):
        refuse_as_output(Path("predictions/sst-dev.csv"), page=True)
