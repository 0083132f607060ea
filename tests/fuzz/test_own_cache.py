"""What others put into polytask's cache is as good as absent, and what is theirs stays."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fuzz_child import RIGHT, in_child
from fuzz_intruders import INTRUDERS, put
from fuzz_world import World

from polytask.commands.check import check_run
from polytask.commands.evaluate import evaluate_run
from polytask.commands.train import train
from polytask.config import Run


def _checked(world: World, cache: Path, note: Path) -> list[str]:
    """Return what `polytask check --baseline` says with a cache: it reads all that a cache keeps."""
    def check() -> None:
        table = world.table()
        table["data"]["cache"] = str(cache)
        note.write_text(json.dumps(list(check_run(Run.from_table(table), 0, True, linear=True))))

    outcome = in_child(check)
    assert outcome.kind == RIGHT, outcome.detail
    return list(json.loads(note.read_text()))


@pytest.fixture
def cache(world: World, tmp_path: Path) -> Path:
    """A filled cache: tables, tokens, hashes, baselines, facts of files."""
    place = tmp_path / "cache"
    shutil.copytree(world.folder / "cache", place)
    _checked(world, place, tmp_path / "lines")
    assert {each.name for each in place.iterdir()} >= {"tables", "tokens", "files", "baselines"}
    return place


@pytest.mark.parametrize("intruder", INTRUDERS)
def test_what_others_put_in_every_place_of_it_is_as_good_as_absent(intruder: str, cache: Path, world: World,
                                                                   tmp_path: Path) -> None:
    without = _checked(world, tmp_path / "empty", tmp_path / "lines")
    for file in [path for path in sorted(cache.rglob("*")) if path.is_file()]:
        put(file, intruder)
    assert _checked(world, cache, tmp_path / "lines") == without


def _mine(folder: Path) -> dict[str, Any]:
    """Write a user's own files and folders into a folder, and return their state."""
    (folder / "letters" / ".git").mkdir(parents=True)
    for name in ("thesis.tex", ".bashrc", "table.json", ".thesis.tex.old", ".x.swp", ".a.b.aside",
                 "letters/mother.txt", "letters/.git/HEAD"):
        (folder / name).write_text(f"my {name}")
    (folder / ".letters.old").mkdir()
    (folder / ".letters.old" / "father.txt").write_text("older")
    return _state(folder)


def _state(folder: Path) -> dict[str, Any]:
    return {str(path.relative_to(folder)): (path.read_bytes() if path.is_file() else None,
                                            path.stat().st_mode)
            for path in sorted(folder.rglob("*"))}


def _among(folder: Path) -> list[Path]:
    """The cache's folder and the folders of its kinds already have a user's files."""
    places = [folder, *(folder / kind for kind in ("tables", "tokens", "files", "hashes", "baselines"))]
    for place in places:
        _mine(place)
    return [folder]


def _in_the_way(folder: Path) -> list[Path]:
    """A user's files stand where the folders of its kinds are to be."""
    _mine(folder)
    for kind in ("tables", "tokens", "files", "hashes", "baselines"):
        (folder / kind).write_text("mine")
    return [folder]


def _behind_links(folder: Path) -> list[Path]:
    """The folders of its kinds are links to a user's own."""
    folder.mkdir()
    for kind in ("tables", "tokens", "files", "hashes", "baselines"):
        own = folder.with_name("own") / kind
        _mine(own)
        (folder / kind).symlink_to(own)
    return [folder.with_name("own")]


@pytest.mark.parametrize("arrange", [_among, _in_the_way, _behind_links])
def test_a_users_own_files_in_it_survive_everything(arrange: Callable[[Path], list[Path]], world: World,
                                                    tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cache"
    places = arrange(folder)
    before = [_state(place) for place in places]
    monkeypatch.setenv("POLYTASK_CACHE", str(folder))

    def use() -> None:
        table = world.table()
        table["data"].pop("cache")
        list(check_run(Run.from_table(table), 0, True, linear=True))
        train(Run.from_table(table), tmp_path / "run", quiet=True)
        evaluate_run(tmp_path / "run")

    outcome = in_child(use)
    assert outcome.kind == RIGHT, outcome.detail
    after = [_state(place) for place in places]
    assert [{name: new.get(name) for name in old} for old, new in zip(before, after, strict=True)] == before


def test_entries_that_are_links_go_and_what_they_lead_to_stays(cache: Path, world: World,
                                                               tmp_path: Path) -> None:
    own = tmp_path / "own"
    mine = _mine(own)
    entries = [path for kind in ("tables", "tokens", "hashes") for path in sorted((cache / kind).glob("*"))]
    assert entries
    for entry in entries:
        shutil.rmtree(entry)
        entry.symlink_to(own)
    _checked(world, cache, tmp_path / "lines")
    assert _state(own) == mine
    assert not any(entry.is_symlink() for entry in (cache / "tables").iterdir())
