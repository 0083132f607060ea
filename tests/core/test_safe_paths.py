"""Names that are read never lead out of their folder; devices, pipes and links are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from polytask.core.errors import CheckpointError, RunError
from polytask.core.paths import ModelPaths, RunPaths
from polytask.core.safe_paths import (
    expanded,
    inside,
    leads_outside,
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
            RunPaths(tmp_path).prediction_file(name, "dev")
    with pytest.raises(RunError):
        ModelPaths(tmp_path).head(name)


@pytest.mark.parametrize(("name", "expected"), [
    ("sst", None), ("msr-para_2", None), ("é", None), ("2x", "not made of"), ("a b", "not made of"),
    ("", "not made of"), ("x" * 101, "101 characters"),
])
def test_a_name_is_short_and_of_letters(name: str, expected: str | None) -> None:
    problem = name_problem(name)
    assert problem is None if expected is None else expected in str(problem)


def test_a_home_folder_that_nobody_has_is_refused() -> None:
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


def test_a_link_out_of_a_folder_is_distinguished_from_one_inside(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "file").touch()
    (folder / "near").symlink_to("file")
    (folder / "far").symlink_to(tmp_path / "secret")
    assert not leads_outside(folder / "near", folder) and leads_outside(folder / "far", folder)
