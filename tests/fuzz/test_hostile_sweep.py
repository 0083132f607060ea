"""A stranger's sweep folder runs none of its code and writes nowhere else, however it is gone on with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from fuzz_child import REFUSED, RIGHT, in_child
from fuzz_mutations import EVIL
from fuzz_world import Inline, World, lead_out

from polytask.commands.sweep import sweep
from polytask.core.toml import read_toml


def _code_everywhere(folder: Path) -> None:
    """Name code in every config and model; the trials are to be trained again."""
    for config in (*folder.glob("configs/*.toml"), *folder.glob("trials/*/config.toml"),
                   *folder.glob("best*.toml")):
        table = read_toml(config)
        table["tasks"]["moods"] |= {"loss": f"{EVIL}:Loss", "head": f"{EVIL}:Head"}
        config.write_text(tomli_w.dumps(table))
    for tasks in folder.glob("trials/*/model/tasks.json"):
        whole = json.loads(tasks.read_text())
        whole["tasks"]["moods"]["head"] = {"type": f"{EVIL}:Head"}
        tasks.write_text(json.dumps(whole))
    for results in folder.glob("trials/*/results.json"):
        results.unlink()


def _in_journal(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        journal = folder / "journal.log"
        text = journal.read_text()
        assert old in text
        journal.write_text(text.replace(old, new))
    return change


def _link(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        outside = folder.parent / "outside"
        outside.mkdir()
        lead_out(folder / name, outside)
    return change


CHANGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "code": (_code_everywhere, RIGHT),  # its trials stand in no result, and are not asked for again
    "another parameter": (_in_journal("train.optimizer.lr", "train.loss"), REFUSED),
    "a place beyond the list": (_in_journal('"param_value_internal":', '"param_value_internal":9'),
                                REFUSED),
    "a score that is text": (_in_journal('"values":[0', '"values":["0"],"was":[0'), REFUSED),
    "trials led out": (_link("trials"), REFUSED), "configs led out": (_link("configs"), REFUSED),
    "a journal led out": (_link("journal.log"), REFUSED),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_strangers_sweep(name: str, world: World, tmp_path: Path) -> None:
    change, end = CHANGES[name]
    folder, mark = tmp_path / "sweep", tmp_path / "it-ran"
    shutil.copytree(world.folder / "sweep", folder)
    for place in (folder, tmp_path, *folder.glob("trials/*"), *folder.glob("trials/*/model")):
        (place / f"{EVIL}.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    change(folder)
    outcome = in_child(lambda: sweep(world.folder / "sweep.toml", folder, quiet=True, engine=Inline()))
    assert outcome.kind == end, outcome.detail
    assert not mark.exists()
    assert not (tmp_path / "outside").exists() or [*(tmp_path / "outside").iterdir()] == []
