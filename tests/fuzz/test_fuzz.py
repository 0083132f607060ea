"""Any input: success or a PolytaskError, within 20 s and 1 GB, no code run, nothing written outside."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import fuzz_campaign
import pytest
from fuzz_campaign import TARGETS, campaign
from fuzz_child import (
    CRASH,
    HANG,
    REFUSED,
    RIGHT,
    TRACEBACK,
    Outcome,
    in_child,
    time_limit,
)
from fuzz_known import KNOWN, attempt_known
from fuzz_world import World, in_fresh_process

from polytask.core.errors import ConfigError

# Of each target where no time is asked for: half a minute on two cores, and an end on a slow machine.
TRIES, SECONDS = 8, 120.0


@pytest.mark.parametrize("target", TARGETS)
def test_every_drawn_input_is_handled(target: str, world: World, place: Path,
                                     pytestconfig: pytest.Config) -> None:
    asked = pytestconfig.getoption("--fuzz-seconds")
    # Unless asked for a time, so many everywhere: a quick machine must not be the first to try a seed.
    figures = campaign(world, place, asked / len(TARGETS) if asked else SECONDS, names=(target,),
                       most=None if asked else TRIES)[target]
    assert figures.tries
    assert not figures.bad, "\n\n".join(figures.bad)


@pytest.mark.parametrize("name", KNOWN)
def test_what_once_broke_it_is_refused(name: str, world: World, tmp_path: Path) -> None:
    outcome = attempt_known(name, world, tmp_path / "0")
    if outcome.kind == HANG:
        outcome = in_fresh_process(attempt_known, name, world, tmp_path / "1")
    assert outcome.kind == REFUSED, (outcome.kind, outcome.detail)


def test_the_five_ends_are_distinguished() -> None:
    def refuses() -> None:
        raise ConfigError("no")

    def takes() -> None:
        bytearray(1 << 30)

    assert in_child(lambda: None).kind == RIGHT
    assert in_child(refuses).kind == REFUSED
    assert in_child(lambda: [][0]).kind == TRACEBACK
    assert "MemoryError" in in_child(takes, memory=1 << 28).detail
    hang = in_child(lambda: time.sleep(30), seconds=0.2)
    assert hang.kind == HANG and Path(__file__).name in hang.detail, hang.detail  # where it hung
    busy = in_child(_without_end, seconds=1)
    assert busy.kind == HANG and "_without_end" in busy.detail, busy.detail
    assert in_child(lambda: os.kill(os.getpid(), signal.SIGSEGV)).kind == CRASH


def test_what_hangs_is_tried_again_in_a_fresh_process(
        world: World, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_campaign, "attempt", lambda *given: ("?", Outcome(HANG)))
    figures = campaign(world, place, SECONDS, names=("data files",), most=1)["data files"]
    assert figures.ends[HANG] == 0 and figures.tries == 1 and not figures.bad
    name = "a parquet of 20,000 columns"
    assert in_fresh_process(attempt_known, name, world, tmp_path / "again").kind == REFUSED


def _without_end() -> None:
    while True:
        pass


def test_the_time_limit_follows_the_flags(request: pytest.FixtureRequest) -> None:
    assert time_limit(300, 60, 100) == 300 and time_limit(300, 5, 2) == 300
    assert time_limit(300, 3600, 100) == 18_000 and time_limit(300, 60, 1000) == 3000
    config, marker = request.config, request.node.get_closest_marker("timeout")
    usual = float(config.getini("timeout"))
    limit = time_limit(usual, config.getoption("--fuzz-seconds"), config.getoption("--kills"))
    assert (marker.args == (limit,)) if limit > usual else marker is None
