"""Killed anywhere and resumed: the ends are an undisturbed run's, byte for byte, and nothing is left."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_world import World
from kill_points import Kills, Scenario, differences, leftovers, snapshot
from kill_scenarios import scenarios

SHARES = {"init": 0.06, "train": 0.24, "train, two processes": 0.08, "compare": 0.14, "sweep": 0.12,
          "report": 0.08, "predict": 0.08, "predict, shards": 0.1, "export": 0.1}


@pytest.mark.parametrize("name", SHARES)
def test_what_was_killed_and_resumed_ends_the_same(name: str, world: World, tmp_path: Path,
                                                   pytestconfig: pytest.Config) -> None:
    wanted = max(1, round(SHARES[name] * pytestconfig.getoption("--kills")))
    kills, seed = Kills(scenarios(world)[name], tmp_path / "place"), 0
    assert kills.figures.operations > 5
    while kills.figures.kills < wanted:
        kills.once(seed)
        seed += 1
    assert not kills.figures.bad, "\n".join(kills.figures.bad)


def test_every_scenario_has_its_share(world: World) -> None:
    assert SHARES.keys() == scenarios(world).keys() and sum(SHARES.values()) == pytest.approx(1)


def test_an_end_that_differs_and_a_file_left_aside_are_found(tmp_path: Path) -> None:
    def careless(folder: Path) -> None:
        """Writes in place, and aside without tidying."""
        mark = folder / "begun"
        if mark.exists():
            (folder / "second").touch()
        mark.touch()
        (folder / ".x.aside").touch()
        (folder / ".x.aside").rename(folder / "x")

    kills = Kills(Scenario("careless", careless), tmp_path / "place")
    for seed in range(8):
        kills.once(seed)
    assert any("second" in said for said in kills.figures.bad)
    assert differences({"a": 1}, {"a": 1, "b": 2}) == ["b"]
    assert snapshot(tmp_path / "place")["x"] == b""
    (tmp_path / "place" / ".y.aside").touch()
    assert leftovers(tmp_path / "place") == [".y.aside"]
