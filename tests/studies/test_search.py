"""A search in a journal: what a kill between two writes leaves is completed, and no trial is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polytask.studies.search import Search
from polytask.studies.sweep import read_sweep

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize("sampler", ["grid", "tpe"])
@pytest.mark.parametrize("drawn", [0, 1])
def test_a_trial_whose_drawing_was_killed_is_completed(
        sampler: str, drawn: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = replace(read_sweep(RECIPES / "swissbert" / "sweep-hyperparameters.toml", "pilot", [], None),
                    sampler=sampler)
    whole = Search.open(sweep, tmp_path / "whole" / "journal", 3)
    assert [whole.ask(), whole.ask()] == [0, 1]
    search = Search.open(sweep, tmp_path / "killed" / "journal", 3)
    assert search.ask() == 0

    def killed(trial: Any) -> None:
        for parameter in sweep.parameters[:drawn]:
            trial.suggest_categorical(parameter.name, list(range(len(parameter.values))))
        raise KeyboardInterrupt

    monkeypatch.setattr(search, "_draw", killed)
    with pytest.raises(KeyboardInterrupt):
        search.ask()
    assert search.left_open() == [0]
    again = Search.open(sweep, tmp_path / "killed" / "journal", 3)
    assert again.left_open() == [0, 1] and again.asked == 2
    assert again.drawn(1).keys() == {parameter.name for parameter in sweep.parameters}
    if sampler == "grid":
        assert again.drawn(1) == whole.drawn(1)
    assert again.ask() == 2
