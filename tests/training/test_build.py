"""From settings to a network: everything is read once, and another run is gone on with exactly."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from polytask.commands.train import train
from polytask.config import Run
from polytask.core.errors import RunError
from polytask.model import encoders, pretrained
from polytask.tasks import model_folder
from polytask.training import build as building


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Count how often an encoder is read, under every name that a module has for the function."""
    calls = {"load_any": 0}
    plain = encoders.load_any

    def load_any(*args: Any, **options: Any) -> Any:
        calls["load_any"] += 1
        return plain(*args, **options)

    for module in (building, model_folder):
        monkeypatch.setattr(module, "load_any", load_any)
    return calls


def test_a_checkpoint_is_resolved_and_read_once(
    small_table: dict[str, Any], counted: dict[str, int], monkeypatch: pytest.MonkeyPatch,
    tiny_checkpoint: Path,
) -> None:
    asked = []

    def download(name: str, revision: str | None) -> Path:
        asked.append(name)
        return tiny_checkpoint

    monkeypatch.setattr(pretrained, "_download", download)
    small_table["encoder"]["checkpoint"] = "someone/tiny"
    building.build(Run.from_table(small_table), quiet=True)
    assert counted == {"load_any": 1} and asked == ["someone/tiny"]


def test_going_on_from_a_run_reads_its_encoder_once_and_keeps_every_weight(
    small_table: dict[str, Any], tmp_path: Path, counted: dict[str, int]
) -> None:
    small_table["train"] |= {"max_steps": 2}
    small_table["encoder"]["adapter"] = {"type": "pal", "size": 4, "heads": 2}
    train(Run.from_table(small_table), tmp_path / "first", quiet=True)
    saved = model_folder.load_model(tmp_path / "first")
    counted["load_any"] = 0
    second = copy.deepcopy(small_table)
    second["encoder"]["checkpoint"] = str(tmp_path / "first")
    built = building.build(Run.from_table(second), quiet=True)
    assert counted == {"load_any": 1}
    expected, found = saved.model.state_dict(), built.model.state_dict()
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name].cpu())] == []
    second["encoder"].pop("adapter")
    built = building.build(Run.from_table(second), quiet=True)
    assert built.model.encoder.adapter is None
    assert any("its pal adapters are left out" in note for note in built.notes)


def test_a_home_that_is_not_there_is_refused(small_table: dict[str, Any]) -> None:
    small_table["data"]["root"] = "~nobody-here/data"
    with pytest.raises(RunError, match=r"data\.root: ~nobody-here/data names a home folder"):
        building.build(Run.from_table(small_table), quiet=True)


@pytest.mark.parametrize("seed", [0, 2**62])
def test_every_seed_that_is_accepted_builds(small_table: dict[str, Any], seed: int) -> None:
    small_table |= {"seed": seed}
    small_table["data"]["dev_seed"] = seed
    assert building.build(Run.from_table(small_table), quiet=True).training_set.rows["sst"] == 40
