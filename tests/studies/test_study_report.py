"""The page of a study: from its results and its runs, ended or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polytask.commands.report import report
from polytask.core.errors import RunError
from polytask.report.multi_run import MOST, chosen_runs
from polytask.studies.study import StudyRow

KEYS = ["a.accuracy", "overall.default"]


def told(rows: int, seeds: int = 2) -> dict[str, Any]:
    """Results of a study whose n-th row scores n hundredths; row 3 is the base row."""
    def cell(value: float) -> dict[str, Any]:
        return {"mean": value, "error": 0.01}

    made = [{"name": f"row {n}", "seeds": [*range(seeds)], "failed": "", "cost": {"seconds": 5.0},
             "scores": {key: cell(n / 100) for key in KEYS},
             "differences": {} if n == 3 else {key: cell(n / 100) | {"verdict": "better"} for key in KEYS},
             "gains": {}, "claims": {"a.accuracy": {"claimed": 0.5, "measured": None, "error": None}}}
            for n in range(rows)]
    made.append({"name": "broken", "seeds": [], "failed": "no <data>", "cost": {}, "scores": {},
                 "differences": {}, "gains": {}, "claims": {}})
    return {"title": "A study", "about": {"command": "`polytask compare x.toml`"}, "against": "row 3",
            "scores": KEYS, "primary": "overall.default", "rows": made, "single": None, "orders": [],
            "notes": ["a note"], "caveats": []}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "study.json").write_text('{"title": "A study"}')
    for n in range(12):
        run = tmp_path / "runs" / StudyRow(f"row {n}", {}).slug / "0"
        run.mkdir(parents=True)
        (run / "config.toml").write_text('[tasks.a]\ntrain = "a.csv"\n')
        events: list[dict[str, Any]] = [
            {"event": "step", "step": 1, "losses": {"a": 1.0}, "rows": {"a": 4}},
            *({"event": "evaluation", "step": step, "dev": {"a": {"accuracy": n / 100}},
               "overall": {"default": n / 100}} for step in (1, 2))]
        (run / "events.jsonl").write_text("".join(json.dumps(each) + "\n" for each in events))
    return tmp_path


def test_a_study_shows_scores_gains_claims_and_curves(study: Path) -> None:
    results = told(12)
    results["rows"][4]["seconds_by_machine"] = {"one": 147.0, "other": 1357.0}
    (study / "results.json").write_text(json.dumps(results))
    text = report([study]).read_text(encoding="utf-8")
    for part in ("results", "rows", "gains", "claims", "curves", "losses", "notes"):
        assert f'<section id="{part}">' in text
    assert "broken failed: no &lt;data&gt;" in text
    assert "147 to 1,357</td>" in text and ">5</td>" in text
    assert f"The first seed of each row, the base row and the {MOST - 1} best." in text
    names = {path.name for path in (study / "plots").iterdir()}
    assert {"rows.png", "rows-a.accuracy.svg", "rows-overall.default.png"} <= names
    assert "<title>row 3</title>" in text and "<title>row 1</title>" not in text


def test_the_base_row_and_the_best_ones_are_drawn() -> None:
    assert chosen_runs(told(12)) == [("row 3", 0), *((f"row {n}", 0) for n in range(11, 4, -1))]
    assert [name for name, _ in chosen_runs(told(3))] == ["row 2", "row 1", "row 0"]


def test_a_study_that_has_not_ended_shows_the_curves_that_are_there(study: Path) -> None:
    text = report([study]).read_text(encoding="utf-8")
    assert "The study is not finished" in text
    assert "Dev scores over updates" in text and "<polyline" in text


def test_results_of_another_version_are_reported(study: Path) -> None:
    (study / "results.json").write_text('{"title": "A study", "rows": []}')
    with pytest.raises(RunError, match="written by another version"):
        report([study])
