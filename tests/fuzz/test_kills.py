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
    while kills.wants(wanted):
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
    assert kills.figures.reached >= {"open begun", "os.rename x"}
    assert differences({"a": 1}, {"a": 1, "b": 2}) == ["b"]
    assert snapshot(tmp_path / "place")["x"] == b""
    (tmp_path / "place" / ".y.aside").touch()
    assert leftovers(tmp_path / "place") == [".y.aside"]


def test_only_kills_that_happened_count_and_an_error_of_a_resume_is_a_fault(tmp_path: Path) -> None:
    def once_only(folder: Path) -> None:
        """A start over its own leftovers fails; the one after it succeeds."""
        begun, failed = folder / "begun", folder / "failed"
        if begun.exists() and not failed.exists():
            failed.mkdir()
            raise RuntimeError("begun before")
        begun.touch()
        failed.mkdir(exist_ok=True)

    kills = Kills(Scenario("once only", once_only), tmp_path / "place")
    assert kills.figures.operations == 2
    kills.at([99], "no such operation")
    assert (kills.figures.kills, kills.figures.same, kills.figures.reached, kills.figures.bad) == (
        0, 0, set(), [])
    kills.at([2, 99], "a fault of the second start, which the third one hides")
    assert (kills.figures.kills, kills.figures.same) == (1, 0)
    assert kills.figures.reached == {"os.mkdir failed"}
    assert "start 2 of it: RuntimeError: begun before" in kills.figures.bad[0]


def test_what_stands_aside_in_the_cache_of_a_scenario_is_found(tmp_path: Path) -> None:
    def cache(folder: Path) -> Path:
        return folder.with_name("cache")

    def careless(folder: Path) -> None:
        cache(folder).mkdir(exist_ok=True)
        (cache(folder) / f".x.{len([*cache(folder).iterdir()]):08}.aside").touch()
        (folder / "out").touch()
        for aside in [*cache(folder).iterdir()][:1]:
            aside.unlink()

    kills = Kills(Scenario("careless", careless, cache=cache), tmp_path / "place")
    kills.at([3], "before its end")
    assert kills.figures.left == 1 and "left behind: ['.x." in kills.figures.bad[0]
