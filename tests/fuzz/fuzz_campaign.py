"""Many tries: drawn from a seed, each in a folder and a process of its own, counted by how they end."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from fuzz_child import HANG, REFUSED, RIGHT, Outcome, in_child
from fuzz_mutations import EVIL
from fuzz_shipped import cached, exported, graph, hub, predicted, several, shards
from fuzz_targets import (
    Target,
    config_override,
    config_text,
    config_values,
    data,
    encoder,
    files_of_studies,
    model,
    run,
    searched,
    study,
)
from fuzz_world import World, in_fresh_process

CODE_RUN, OUTSIDE = "code run", "written outside"
# What is fuzzed. A new kind is one more function that prepares a try, and its place here.
TARGETS: dict[str, tuple[Target, ...]] = {
    "configs, values": (config_values,), "configs, text": (config_text, config_override),
    "data files": (data,), "model folders": (model, encoder), "run folders": (run,),
    "studies and sweeps": (study, searched, files_of_studies), "exports": (exported,),
    "graphs": (graph,), "predictions in shards": (predicted, shards), "the hub's cache": (hub,),
    "polytask's cache": (cached,), "two processes": (several,),
}
KINDS = (REFUSED, RIGHT, "traceback", "hang", "crash", CODE_RUN, OUTSIDE)


@dataclass
class Figures:
    """How the tries of one target ended, and what is to be mended."""

    tries: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)
    slowest: float = 0.0
    slowest_change: str = ""

    def row(self, name: str) -> str:
        """Return the figures as a row of a Markdown table."""
        return f"| {name} | {self.tries:,} | " + " | ".join(
            f"{self.ends[kind]:,}" for kind in KINDS) + f" | {self.slowest:.1f} s |"


def attempt(name: str, seed: int, world: World, place: Path) -> tuple[str, Outcome]:
    """Make the try of a seed in a fresh folder; return what was changed and how it ended.

    The mutation happens in the child too, so that nothing of it stays in this process.
    """
    area = place / "area"
    case = area / "case"
    shutil.rmtree(place, ignore_errors=True)
    case.mkdir(parents=True)
    mark, note = place / "it-ran", place / "change"

    def action() -> None:
        random_ = random.Random(f"{name} {seed}")
        (case / f"{EVIL}.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
        made = random_.choice(TARGETS[name])(random_, world, case)
        note.write_text(made.change[:300])
        os.chdir(case)
        made.use()

    outcome = in_child(action)
    change = note.read_text() if note.exists() else "?"
    if mark.exists() and not name.startswith("configs"):  # what one's own config names is one's own
        return change, Outcome(CODE_RUN, outcome.detail, outcome.seconds)
    strange = {*place.iterdir()} - {area, note, mark} | ({*area.iterdir()} - {case})
    if strange:
        return change, Outcome(OUTSIDE, f"{sorted(map(str, strange))}", outcome.seconds)
    return change, outcome


def _first_attempt(name: str, seed: int, world: World, place: Path) -> tuple[str, Outcome]:
    if name == "graphs":
        _make_graphs(world)
    return attempt(name, seed, world, place)


def _make_graphs(world: World) -> None:
    assert world.graphs.is_dir()  # exported and imported before the forks


def campaign(world: World, place: Path, seconds: float, first_seed: int = 0,
             names: tuple[str, ...] = tuple(TARGETS), most: int | None = None) -> dict[str, Figures]:
    """Try the targets in turn until the time is up, or each has been tried `most` times."""
    figures = {name: Figures() for name in names}
    if "graphs" in names:
        _make_graphs(world)
    until, seed = time.monotonic() + seconds, first_seed
    while time.monotonic() < until and (most is None or seed < first_seed + most):
        for name, counted in figures.items():
            change, outcome = attempt(name, seed, world, place)
            if outcome.kind == HANG:
                change, outcome = in_fresh_process(_first_attempt, name, seed, world, place)
            counted.tries += 1
            counted.ends[outcome.kind] += 1
            if outcome.seconds > counted.slowest:
                counted.slowest, counted.slowest_change = outcome.seconds, f"seed {seed}: {change}"
            if not outcome.fine:
                counted.bad.append(f"{name}, seed {seed}: {change}\n{outcome.kind}: {outcome.detail}")
        seed += 1
    shutil.rmtree(place, ignore_errors=True)
    return figures
