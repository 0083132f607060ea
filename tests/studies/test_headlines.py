"""examples/studies/headlines: two rows a report, whose settings are those of its recipe."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from polytask.config import Run
from polytask.studies.study import read_study

ROOT = Path(__file__).parents[2]
RECIPES = {"mfrr": "table-2", "surgery": "figure-3", "triple-threat": "table-2", "practices": "table-4",
           "swissbert": "table-2"}
# What the headlines set themselves: their length, and rates that MiniLM can use.
OURS = {"train.epochs", "train.evaluate_every", "train.weighting.lr"}


def rows_of(path: Path) -> dict[str, dict[str, object]]:
    return {row["name"]: row for row in tomllib.loads(path.read_text(encoding="utf-8"))["rows"]}


@pytest.mark.parametrize(("paper", "table"), RECIPES.items(), ids=RECIPES)
def test_a_headline_is_its_recipe_s_row(paper: str, table: str) -> None:
    study = ROOT / "examples" / "studies" / "headlines" / f"{paper}.toml"
    recipe = rows_of(ROOT / "recipes" / paper / f"{table}.toml")
    own = {name: row for name, row in rows_of(study).items() if not name.endswith(" alone")}
    assert len(own) == 2
    for name, row in own.items():
        settings = {key: value for key, value in row.get("set", {}).items() if key not in OURS}  # type: ignore[attr-defined]
        stated = dict(recipe[name].get("set", {}))  # type: ignore[call-overload]
        if isinstance(stated.get("train.weighting"), dict):  # its rate is the headline's
            assert settings.pop("train.weighting")["type"] == stated.pop("train.weighting")["type"]
        assert settings == stated, name
        claimed = recipe[name]["claimed"]
        assert row["claimed"].items() <= claimed.items()  # type: ignore[attr-defined]


@pytest.mark.parametrize("paper", RECIPES)
def test_a_headline_takes_all_the_data_at_five_times_the_report_s_rate(paper: str) -> None:
    for row in read_study(ROOT / "examples" / "studies" / "headlines" / f"{paper}.toml").rows:
        run = Run.from_table(row.config, paper)
        assert run.encoder.checkpoint == "minilm"
        assert run.train.optimizer.lr == pytest.approx(5 * 1e-5)
        assert all(task.dev_limit is None for task in run.tasks.values())
        assert all((task.limit or 141_506) >= 61_394 for task in run.tasks.values())
