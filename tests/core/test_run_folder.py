"""Who may open, start and resume a run; what a kill left is mended by the next writer alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from polytask.core.errors import ConfigError, RunError
from polytask.core.run_folder import RunFolder, claim_folder, first_difference

CONFIG = 'seed = 1\n[tasks.sst]\ntrain = "a.csv"\n'


def made(path: Path, config: str = CONFIG) -> RunFolder:
    with RunFolder.claimed(path, config, resume=False) as folder:
        return folder


def listing(path: Path) -> list[str]:
    return sorted(str(each.relative_to(path)) for each in path.rglob("*"))


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    folder = made(tmp_path / "run")
    with folder.locked():
        assert folder.busy
        script = ("from polytask.core.run_folder import RunFolder\nimport sys\n"
                  "with RunFolder(sys.argv[1]).locked(): pass")
        other = subprocess.run([sys.executable, "-c", script, str(folder.path)], capture_output=True,
                               text=True, check=False)
        assert "RunError" in other.stderr and "another process is training in this folder" in other.stderr
    assert not folder.busy
    with folder.locked():
        pass


def test_a_run_is_started_once_and_resumed_with_the_same_config_only(tmp_path: Path) -> None:
    path = tmp_path / "run"
    assert made(path).config.read_text() == CONFIG
    with pytest.raises(RunError, match="already holds a run; resume it with --resume"):
        RunFolder.admits(path, CONFIG, resume=False)
    RunFolder.admits(path, CONFIG, resume=True)
    with pytest.raises(RunError, match="belongs to another config: seed was 1 and is now 2"):
        RunFolder.admits(path, CONFIG.replace("1", "2"), resume=True)
    (path / "results.json").write_text("{}")
    with pytest.raises(RunError, match="is finished and its checkpoint was removed"):
        RunFolder.admits(path, CONFIG, resume=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="already holds files, but no run; give another --out"):
        RunFolder.admits(tmp_path, CONFIG, resume=False)


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_killed_before_its_config_was_written_can_be_started(tmp_path: Path, resume: bool) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / ".lock").touch()
    (path / ".config.toml.ab12cd34.aside").write_text("hal")
    RunFolder.admits(path, CONFIG, resume)
    with RunFolder.claimed(path, CONFIG, resume) as folder:
        assert folder.config.read_text() == CONFIG
    assert listing(path) == [".lock", "config.toml"]


@pytest.mark.parametrize("trained", [False, True])
def test_a_config_refused_before_training_begins_is_not_kept(tmp_path: Path, trained: bool) -> None:
    path = tmp_path / "run"

    def refused() -> None:
        with RunFolder.claimed(path, CONFIG, resume=False) as folder:
            folder.data.write_text("{}")
            if trained:
                folder.events.write_text("")
            raise ConfigError("too large")

    with pytest.raises(ConfigError):
        refused()
    kept = ["config.toml", "data.json", "events.jsonl"] if trained else []
    assert listing(path) == [".lock", *kept]
    if not trained:
        RunFolder.admits(path, CONFIG.replace("1", "2"), resume=False)


def test_the_next_writer_mends_what_a_kill_left(tmp_path: Path) -> None:
    folder = made(tmp_path / "run")
    for place in ("model", "best/.sst.old", "checkpoints/.last.old", ".model.x1y2z3a4.aside",
                  "checkpoints/.last.x1y2z3a4.aside", "predictions"):
        (folder.path / place).mkdir(parents=True)
    for place in (".model.old/a", ".data.json.x1y2z3a4.aside", "predictions/.sst-dev.csv.x1y2z3a4.aside"):
        (folder.path / place).parent.mkdir(exist_ok=True)
        (folder.path / place).touch()
    before = listing(folder.path)
    RunFolder.open(folder.path)
    assert listing(folder.path) == before  # a reader mends nothing
    with folder.locked():
        assert listing(folder.path) == [".lock", "best", "best/sst", "checkpoints", "checkpoints/last",
                                        "config.toml", "model", "predictions"]


@pytest.mark.parametrize("part", [".lock", "events.jsonl", "predictions", "checkpoints"])
def test_nothing_is_written_through_a_link(tmp_path: Path, part: str) -> None:
    folder, other = made(tmp_path / "run"), tmp_path / "other"
    other.write_text("untouched")
    (folder.path / part).unlink(missing_ok=True)
    (folder.path / part).symlink_to(other)
    with pytest.raises(RunError, match=r"is a link to .*other, and nothing is written through links"), \
            folder.locked():
        pass
    assert other.read_text() == "untouched"


def test_what_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no such folder"):
        RunFolder.open(tmp_path / "none")
    with pytest.raises(RunError, match=r"is not a run: it has no config\.toml"):
        RunFolder.open(tmp_path)


@pytest.mark.parametrize(("config", "said"), [
    ('[tasks."../../x"]\ntrain = "a"\n', "is not made of letters"),
    ("seed = 1\n", "has no tasks"), ("tasks = 3\n", "has no tasks"), ("seed = \n", "cannot be read"),
])
def test_the_config_of_a_strangers_run_is_judged_when_it_is_read(
        tmp_path: Path, config: str, said: str) -> None:
    folder = RunFolder(tmp_path)
    folder.config.write_text(config)
    with pytest.raises(RunError, match=said):
        folder.settings()


def test_a_study_claims_a_free_folder_or_its_own(tmp_path: Path) -> None:
    out = tmp_path / "study"
    out.mkdir()
    (out / ".study.json.x1y2z3a4.aside").touch()  # killed at its first file
    claim_folder(out, "study", "title", {"a": "1"})
    claim_folder(out, "study", "title", {"a": "1", "b": "2"})
    assert listing(out) == ["study.json"]
    with pytest.raises(RunError, match='another config of "a"'):
        claim_folder(out, "study", "title", {"a": "2"})
    claim_folder(out, "study", "title", {"c": "3"}, {"b": "2", "d": "4"})
    claim_folder(out, "study", "title", {"d": "4"}, {"a": "2", "c": "3"})  # what changed is not run
    for others in (None, {"a": "2"}):
        with pytest.raises(RunError, match="belongs to another study"):
            claim_folder(out, "study", "title", {"e": "5"}, others)
    with pytest.raises(RunError, match="is neither a sweep folder nor empty"):
        claim_folder(out, "sweep", "title", {"a": "1"})
    (out / "study.json").write_text("[")
    with pytest.raises(RunError, match=r"study\.json: cannot be read because it is not JSON"):
        claim_folder(out, "study", "title", {"a": "1"})


@pytest.mark.parametrize(("held", "given", "key"), [
    ({"a": {"b": 1}}, {"a": {"b": 2}}, "a.b"), ({"a": 1}, {}, "a"), ({}, {"c": [1]}, "c"),
])
def test_the_first_difference_of_two_configs_is_named(held: object, given: object, key: str) -> None:
    difference = first_difference(held, given)
    assert difference is not None and difference[0] == key
    assert first_difference(held, held) is None
