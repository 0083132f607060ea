"""Names that are read never lead out of their folder; one folder for the cache; no special files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from polytask.core.errors import CheckpointError, RunError
from polytask.core.paths import (
    ModelPaths,
    RunPaths,
    StudyPaths,
    SweepPaths,
    cache_folder,
    expanded,
    inside,
    is_study,
    name_problem,
    refuse_link,
    refuse_special,
)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", "/etc/passwd", "a\0b", "x" * 300])
def test_a_name_that_leads_out_of_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunError, match="is not the name of a file in this folder"):
        inside(tmp_path, name)
    if name not in ("", ".", ".."):  # part of a longer name, these lead nowhere
        with pytest.raises(RunError):
            RunPaths(tmp_path).answers(name, "dev")
    with pytest.raises(RunError):
        ModelPaths(tmp_path).head(name)


def test_names_of_folders_are_as_documented() -> None:
    run, study, sweep = RunPaths("r"), StudyPaths("s"), SweepPaths("w")
    assert str(run.answers("sst", "dev")) == "r/predictions/sst-dev.csv"
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


@pytest.mark.parametrize(("name", "said"), [
    ("sst", None), ("msr-para_2", None), ("é", None), ("2x", "not made of"), ("a b", "not made of"),
    ("", "not made of"), ("x" * 101, "101 characters"),
])
def test_a_name_is_short_and_of_letters(name: str, said: str | None) -> None:
    found = name_problem(name)
    assert found is None if said is None else said in str(found)


def test_the_cache_is_one_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("POLYTASK_CACHE", "~/x")
    assert cache_folder() == tmp_path / "x" and cache_folder("~/y") == tmp_path / "y"
    monkeypatch.delenv("POLYTASK_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "polytask"
    monkeypatch.setenv("XDG_CACHE_HOME", "/there")
    assert cache_folder() == Path("/there/polytask")
    with pytest.raises(RunError, match=r"data\.cache: ~nobody-here/x names a home folder"):
        cache_folder("~nobody-here/x")
    with pytest.raises(RunError, match=r"data\.root: ~nobody-here"):
        expanded("~nobody-here", "data.root")


def test_a_device_or_a_pipe_is_refused_without_reading(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    for name in ("pipe", "endless"):
        with pytest.raises(CheckpointError, match=f"{name}: is a device or a pipe"):
            refuse_special(tmp_path / name, CheckpointError)
    (tmp_path / "file").touch()
    for name in ("file", "none"):
        refuse_special(tmp_path / name)
    with pytest.raises(RunError, match=r"cannot be read \(embedded null byte\)"):
        refuse_special(tmp_path / "a\0b")


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/null")
    with pytest.raises(RunError, match="is a link to /dev/null"):
        refuse_link(tmp_path / "link")
    refuse_link(tmp_path / "none")
