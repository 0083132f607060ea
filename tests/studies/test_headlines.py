"""examples/studies/headlines: baseline, best row and final model of a report, set as its recipes are."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from polytask.config import Run
from polytask.studies.study import Scale, read_study

ROOT = Path(__file__).parents[2]
RECIPES = {"mfrr": "table-2", "surgery": "figure-3", "triple-threat": "table-2", "practices": "table-4",
           "swissbert": "table-2"}
# The row "final model", where the report tunes its best row further: its recipe and its name there.
FINAL = {"surgery": ("figure-4", "lr 5e-5"), "triple-threat": ("table-6", "final model"),
         "swissbert": ("table-4", "final model")}
# What the headlines set themselves: their length, and rates that MiniLM can use.
OURS = {"train.epochs", "train.evaluate_every", "train.weighting.lr"}


def rows_of(path: Path) -> dict[str, dict[str, Any]]:
    """Return a study's rows by their names, each with the settings that they share."""
    study = tomllib.loads(path.read_text(encoding="utf-8"))
    shared = {} if "headlines" in path.parts else study.get("set", {})
    return {row["name"]: row | {"set": shared | row.get("set", {})} for row in study["rows"]}


@pytest.mark.parametrize(("paper", "table"), RECIPES.items(), ids=RECIPES)
def test_a_headline_is_its_recipe_s_row(paper: str, table: str) -> None:
    study = ROOT / "examples" / "studies" / "headlines" / f"{paper}.toml"
    own = {name: row for name, row in rows_of(study).items() if not name.endswith(" alone")}
    assert len(own) == 2 + (paper in {*FINAL, "practices"})
    for name, row in own.items():
        recipe, original = FINAL[paper] if name == "final model" else (table, name)
        stated = rows_of(ROOT / "recipes" / paper / f"{recipe}.toml")[original]
        settings = {key: value for key, value in row["set"].items() if key not in OURS}
        expected = {key: value for key, value in stated["set"].items() if key not in OURS}
        if isinstance(expected.get("train.weighting"), dict):  # its rate is the headline's
            for each in (expected, settings):
                each["train.weighting"] = {**each["train.weighting"], "lr": None}
        if "train.optimizer.lr" in expected:
            rate = settings.pop("train.optimizer.lr", 5e-5)
            assert rate == pytest.approx(5 * expected.pop("train.optimizer.lr"))
        assert settings == expected, name
        assert row["claimed"].items() <= stated["claimed"].items()


def test_a_task_alone_has_the_claims_of_table_8_where_pairs_are_read_together_too() -> None:
    rows = rows_of(ROOT / "examples" / "studies" / "headlines" / "triple-threat.toml")
    stated = rows_of(ROOT / "recipes" / "triple-threat" / "table-8.toml")
    for task in ("sst", "quora", "sts"):
        assert rows[f"{task} alone"]["claimed"] == stated[f"single task {task}"]["claimed"]
        ours, theirs = (each["set"].get(f"tasks.{task}.pairing")
                        for each in (rows[f"{task} alone"], stated[f"single task {task}"]))
        assert ours == theirs


@pytest.mark.parametrize("paper", RECIPES)
def test_a_headline_takes_all_the_data_at_five_times_the_report_s_rate(paper: str) -> None:
    for row in read_study(ROOT / "examples" / "studies" / "headlines" / f"{paper}.toml").rows:
        run = Run.from_table(row.config, paper)
        assert run.encoder.checkpoint == "minilm"
        stated = 5e-5 if (paper, row.name) == ("surgery", "final model") else 1e-5
        assert run.train.optimizer.lr == pytest.approx(5 * stated)
        assert all(task.dev_limit is None for task in run.tasks.values())
        assert all((task.limit or 141_506) >= 61_394 for task in run.tasks.values())


@pytest.mark.parametrize("scale", ["full", "pilot"])
@pytest.mark.parametrize(("name", "table", "row"), [
    ("final model", "figure-4", "lr 5e-5"), ("baseline", "figure-3", "baseline")])
def test_figure_9_compares_rows_of_figures_3_and_4(name: str, table: str, row: str, scale: Scale) -> None:
    studies = "examples/studies/baseline-and-final.toml", f"recipes/surgery/{table}.toml"
    own, stated = ({each.name: each.config for each in read_study(ROOT / path, scale).rows}
                   for path in studies)
    if scale == "full" or name == "final model":  # the pilot of Figure 3 is shorter than that of Figure 4
        assert own[name] == stated[row]


STUDIES = sorted((ROOT / "examples" / "studies").rglob("*.toml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_of_the_examples_can_be_read(path: Path) -> None:
    if "rows" in tomllib.loads(path.read_text(encoding="utf-8")):
        study = read_study(path)
        assert all(Run.from_table(row.config, path.name) for row in study.rows)
