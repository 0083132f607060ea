"""What lies where in a run, a model, a study and a sweep."""

from __future__ import annotations

from pathlib import Path

from polytask.core.paths import ModelPaths, RunPaths, StudyPaths, SweepPaths, is_study


def test_names_of_folders_are_as_documented() -> None:
    run, study, sweep = RunPaths("r"), StudyPaths("s"), SweepPaths("w")
    assert str(run.prediction_file("sst", "dev")) == "r/predictions/sst-dev.csv"
    assert str(run.checkpoint) == "r/checkpoints/last" and str(run.notes) == "r/artifacts/artifacts.json"
    assert str(ModelPaths("m").head("sst").weights) == "m/heads/sst/model.safetensors"
    assert str(study.run("base-1", 7)) == "s/runs/base-1/7" and str(study.table("md")) == "s/results.md"
    assert str(sweep.trial(3)) == "w/trials/0003" and str(sweep.best(3)) == "w/best-0003.toml"


def test_what_is_in_a_study_is_found(tmp_path: Path) -> None:
    study = StudyPaths(tmp_path)
    assert not is_study(tmp_path) and study.all_runs() == []
    study.mark("study").touch()
    run = study.run("base", 1)
    run.mkdir(parents=True)
    RunPaths(run).config.touch()
    assert is_study(tmp_path) and study.all_runs() == [run]


def test_a_run_knows_the_study_that_it_is_a_row_of(tmp_path: Path) -> None:
    study = StudyPaths.around(StudyPaths(tmp_path).run("base", 1))
    assert study is not None and study.path == tmp_path
    assert StudyPaths.around(tmp_path / "first") is None and StudyPaths.around(Path("/")) is None
