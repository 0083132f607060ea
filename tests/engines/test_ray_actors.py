"""What runs on a node of a cluster, without the cluster."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from polytask.core.atomic_files import aside_folder
from polytask.core.errors import RunError
from polytask.engines.ray_actors import RunActor, installed_version


def test_a_run_removes_the_folders_of_killed_actors_and_no_others(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    trained: list[Path] = []

    def run(self: RunActor, config: Path, folder: Path, log: Path) -> str:
        assert config.read_text() == "seed = 1" and folder.parent.parent == tmp_path
        trained.append(folder.parent)
        return "failed"

    monkeypatch.setattr(RunActor, "_run", run)
    killed, strange = tmp_path / ".polytask-run.abcdefg1.aside", tmp_path / "polytask-run-mine"
    for folder in (killed, strange):
        (folder / "run").mkdir(parents=True)
    with aside_folder(tmp_path / "polytask-run") as at_work:
        answer = RunActor(installed_version(), [], False).train("", "", "", None, "seed = 1")
        assert at_work.is_dir() and strange.is_dir() and not killed.exists()
    assert answer["folder"] is None and answer["complaint"].endswith(": failed")
    assert trained and not trained[0].exists()


def test_another_version_on_a_node_is_refused() -> None:
    with pytest.raises(RunError, match=r"has polytask .*, and the command was started with 0\.0\.0"):
        RunActor("0.0.0", [], False)
