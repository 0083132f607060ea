"""examples/studies/controls: rows that are compared differ in one thing, set as their recipes are."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from polytask.studies.study import read_study

ROOT = Path(__file__).parents[2]
CONTROLS = sorted((ROOT / "examples" / "studies" / "controls").glob("*.toml"))
CLAIMS = tomllib.loads((ROOT / "docs/results/claims.toml").read_text(encoding="utf-8"))["claims"]
# A control's row, and the row of its report's table that has the same extension.
SAME = {
    ("swissbert", "learnable"): ("table-2", "pair + learnable"),
    ("swissbert", "homoscedastic"): ("table-2", "pair + homoscedastic"),
    ("swissbert", "automatic"): ("table-2", "pair + AWL"),
    ("swissbert", "surgery"): ("table-2", "pair + GS"),
    ("swissbert", "one task an update"): ("table-2", "pair"),
    ("practices", "one task an update"): ("table-4", "base"),
    ("practices", "surgery"): ("table-4", "base + surgery"),
    ("mfrr", "weighted"): ("table-2", "E2"),
    ("mfrr", "weighted + all the data + shared layer"): ("table-2", "E8"),
}
# What a control sets itself: its size and its rates, which the pilots set too.
OWN = ("limit", "dev_limit", "lr", "head_lr", "epochs", "batch_size", "checkpoint", "pooling", "baselines")


def flat(table: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Return dotted key → value of a table's tables; a part with its `type` alone is as one of its name."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        place = f"{before}{key}"
        found |= (flat(value, f"{place}.") if isinstance(value, dict)
                  else {place.removesuffix(".type"): value})
    return found


def rows_of(path: Path) -> dict[str, dict[str, Any]]:
    """Return the settings of a study's rows at full scale, by their names."""
    return {row.name: flat(row.config) for row in read_study(path, "full", []).rows}


def part(key: str) -> str:
    """Return what a setting belongs to: the head, for both tasks' heads; the weighting, the schedule."""
    words = key.split(".")
    return words[2] if words[0] == "tasks" else words[1]


def parts(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    return {part(key) for key in one.keys() | other.keys() if one.get(key) != other.get(key)}


@pytest.mark.parametrize("path", CONTROLS, ids=lambda path: path.stem)
def test_rows_that_a_claim_compares_differ_in_one_part(path: Path) -> None:
    rows = rows_of(path)
    pairs = {(test["better"], test["than"]) for claim in CLAIMS for test in claim["tests"]
             if test["study"] == f"controls/{path.stem}"}
    assert pairs
    for better, than in pairs:
        assert len(parts(rows[better], rows[than])) == 1, (better, than)


@pytest.mark.parametrize(("control", "recipe"), SAME.items(), ids=map(str, SAME))
def test_a_control_has_its_recipe_s_settings(control: tuple[str, str], recipe: tuple[str, str]) -> None:
    paper, name = control
    own = rows_of(ROOT / "examples/studies/controls" / f"{paper}.toml")[name]
    stated = rows_of(ROOT / "recipes" / paper / f"{recipe[0]}.toml")[recipe[1]]
    differing = {key for key in own.keys() | stated.keys() if own.get(key) != stated.get(key)}
    left = {key for key in differing if key.rpartition(".")[2] not in OWN}
    # Of mfrr's, every row has the features of its last, and a fresh layer for each task or one for both.
    last = name == "weighted + all the data + shared layer"
    fresh = {"pairing", "head"} if paper == "mfrr" and not last else set()
    assert {part(key) for key in left} <= fresh, left
