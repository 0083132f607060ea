"""docs/results.py: every claim names rows that a study has, and its verdict is what the differences say."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from polytask.studies.statistics import Difference
from polytask.studies.study import read_study

ROOT = Path(__file__).parents[2]
CLAIMS = tomllib.loads((ROOT / "docs" / "results" / "claims.toml").read_text(encoding="utf-8"))["claims"]


SCORES = {"study": "a/table-1", "better": "x", "than": "y", "score": "overall.mean"}


@pytest.fixture(scope="module")
def pages() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))
        yield _loaded()


@pytest.fixture(scope="module")
def claims(pages: ModuleType) -> ModuleType:
    return sys.modules["claims"]


def _loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("result_pages", ROOT / "docs" / "results.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim['paper']}-{claim['text'][:30]}")
def test_a_claim_names_rows_and_tasks_of_a_study(claim: dict[str, Any]) -> None:
    for test in [*claim["tests"], *claim.get("full", [])]:
        gathered = test["study"].startswith(("headlines/", "controls/")) or "/" not in test["study"]
        folder = ROOT / ("examples/studies" if gathered else "recipes")
        study = read_study(folder / f"{test['study']}.toml", "full", [])
        rows = {row.name: row for row in study.rows}
        assert {test["better"], test["than"]} <= rows.keys()
        for key in test["scores"]:
            task, _, metric = key.partition(".")
            assert metric
            for row in (test["better"], test["than"]):
                assert task == "overall" or task in rows[row].config["tasks"], (row, key)


def test_every_study_has_a_place_and_sweeps_come_last(pages: ModuleType) -> None:
    names = [name for name, _ in pages.recipes()]
    bases = len(list((ROOT / "recipes" / "bases").glob("*.toml")))
    assert len(names) == len(list((ROOT / "recipes").glob("*/*.toml"))) - bases
    sweeps = [name for name in names if "/sweep" in name]
    assert names[-len(sweeps):] == sweeps


def test_a_command_on_a_page_has_no_folder_of_this_machine(pages: ModuleType) -> None:
    text = ("- command: `polytask compare recipes/mfrr/table-2.toml --scale pilot --set '{}=/data of/mine' "
            "--seeds 1 --out /disk/runs/mfrr/table-2`\n- seeds: 1, {}=/data")
    typed = "- command: `polytask compare recipes/mfrr/table-2.toml --scale pilot --set data.root=DATA "
    assert pages._typable(text.format("data.root", "data.root"), Path("/disk/runs")) == (
        typed + "--seeds 1 --out studies/mfrr/table-2`\n- seeds: 1, data.root=DATA")


def _compared(mean: float, error: float) -> Any:
    def line(name: str) -> Any:
        return SimpleNamespace(row=SimpleNamespace(name=name), cells={"overall.mean": 0},
                               scored=SimpleNamespace(minus=lambda other, key: Difference(mean, error)))
    return {"a/table-1": SimpleNamespace(lines=[line("x"), line("y")])}


@pytest.mark.parametrize(("mean", "error", "tie", "outcome"), [
    (0.1, 0.01, False, "holds"), (-0.1, 0.01, False, "fails"), (0.01, 0.01, False, "open"),
    (0.03, 0.011, False, "holds"), (-0.03, 0.02, False, "open"),
    (0.0, 0.014, True, "holds"), (-0.1, 0.01, True, "fails"),
    (0.0, 0.016, True, "open"),  # so wide an error does not show that they are level
    (-0.02, 0.004, True, "holds"),  # less, but by less than counts
    (-0.025, 0.01, True, "fails"), (0.1, 0.07, True, "open"), (0.2, 0.07, True, "holds"),
])
def test_a_comparison_holds_beyond_two_standard_errors(
        claims: ModuleType, mean: float, error: float, tie: bool, outcome: str) -> None:
    measured = claims.measure(SCORES, _compared(mean, error))
    assert claims.outcome(measured, tie) == outcome
    assert claims.outcome(claims.measure(SCORES | {"than": "z"}, _compared(mean, error)), tie) == "not run"


def test_what_only_few_seeds_forbid_to_say_leans_to_the_claim(claims: ModuleType) -> None:
    line = claims.Measured("a", "x", "y", "overall.mean", "0.009", "0.003", "tie", "-0.004")
    assert claims.outcome(line, False) == "leans"
    assert claims.verdict({"a": ["fails"], "b": ["leans"]}) == "**not decided**"
    assert claims.verdict({"a": ["leans"]}) == "**not decided**"


def test_the_lowest_is_two_errors_below_and_more_with_few_seeds(claims: ModuleType) -> None:
    assert claims.lowest(Difference(0.1, 0.02)) == pytest.approx(0.06, abs=1e-4)
    assert claims.lowest(Difference(0.1, 0.02, freedom=2)) == pytest.approx(0.1 - 4.527 * 0.02, abs=1e-3)
    assert claims.lowest(Difference(0.1, 0.0)) == pytest.approx(0.1, abs=1e-9)


@pytest.mark.parametrize(("outcomes", "word"), [
    ({"a": ["holds", "holds"]}, "**confirmed**"), ({"a": ["holds"], "b": ["holds"]}, "**confirmed**"),
    ({"a": ["holds", "open"]}, "**not decided**"), ({"a": ["holds"], "b": ["open"]}, "**not decided**"),
    ({"a": ["holds", "open", "fails"]}, "**contradicted**"),
    ({"a": ["fails"], "b": ["holds", "open"]}, "**contradicted**"),
    ({"a": ["fails"], "b": ["holds"]}, "**not decided**"),  # the studies disagree
    ({"a": ["fails"], "b": ["not run"]}, "**not run**"), ({}, "–"),
])
def test_a_claim_is_as_good_as_its_worst_comparison(
        claims: ModuleType, outcomes: dict[str, list[str]], word: str) -> None:
    assert claims.verdict(outcomes) == word


def test_a_claim_that_nothing_can_decide_says_why(claims: ModuleType) -> None:
    claim = {"paper": "mfrr", "place": "Abstract", "text": "0.5 on test.", "tests": [], "why": "no labels"}
    assert claims.claims_page([claim], {}).splitlines()[-1] == (
        "| mfrr | Abstract | 0.5 on test. | **not decided** | – | no labels |")


def test_a_study_that_was_not_run_again_keeps_its_section(
        pages: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGES", tmp_path)
    monkeypatch.setattr(pages, "FINDINGS", tmp_path / "findings")
    monkeypatch.setattr(pages, "finished", lambda folder, recipe: None)
    (tmp_path / "claims.toml").write_text("claims = []", encoding="utf-8")
    title = tomllib.loads((ROOT / "recipes/surgery/figure-4.toml").read_text(encoding="utf-8"))["title"]
    old = f"## {title} (pilot scale)\n\nold table"
    (tmp_path / "surgery.md").write_text(f"# head\n\n{old}\n\n### Findings\n\nold prose\n",
                                         encoding="utf-8")
    table = tmp_path / "studies" / "surgery" / "figure-3" / "results.md"
    table.parent.mkdir(parents=True)
    table.write_text("# surgery Figure 3\n\n## Notes\n", encoding="utf-8")
    findings = tmp_path / "findings" / "surgery" / "figure-3.md"
    findings.parent.mkdir(parents=True)
    findings.write_text("new prose\n", encoding="utf-8")
    for _ in range(2):  # what is written can be read again
        pages.write(tmp_path / "studies")
        page = (tmp_path / "surgery.md").read_text(encoding="utf-8")
        new = "## surgery Figure 3\n\n### Notes\n\n### Findings\n\nnew prose"
        assert f"{new}\n\n## surgery Figure 4" in page
        assert f"{old}\n\n### Findings\n\nold prose\n\n## surgery Figure 5" in page
        assert re.search(r"^## surgery Figure 5: .* \(not run\)\n\n- The model is", page, re.MULTILINE)


MARKED = re.findall(r"^<!-- study: (\S+) -->$(.*?)^<!-- end study -->$",
                    (ROOT / "docs" / "results.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("name", "block"), MARKED, ids=[name for name, _ in MARKED])
def test_a_marked_table_has_the_rows_of_its_study(name: str, block: str) -> None:
    study = read_study(ROOT / "examples" / "studies" / f"{name}.toml", "full", [])
    table = [line for line in block.splitlines() if line.startswith("| ")][2:]
    rows = [line.removeprefix("| ").split(" | ")[0] for line in table]
    assert rows[:len(study.rows)] == [row.name for row in study.rows]


def test_a_marked_table_is_written_from_its_folder_and_kept_without(
        pages: ModuleType, tmp_path: Path) -> None:
    page = ("before\n\n<!-- study: a -->\nold\n<!-- end study -->\n\nbetween\n\n"
            "<!-- study: b -->\n\nkept\n\n<!-- end study -->\nafter\n")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "results.md").write_text("# title\n\n| row |\n\n## Difference\n", encoding="utf-8")
    new = page.replace("\nold\n", "\n\n| row |\n\n### Difference\n\n")
    assert pages.with_study_tables(page, tmp_path) == new
    assert pages.with_study_tables(new, tmp_path) == new


def test_a_claim_has_the_seeds_of_the_table(pages: ModuleType, tmp_path: Path) -> None:
    study = read_study(ROOT / "recipes" / "swissbert" / "table-1.toml", "pilot", [])
    first, second = study.rows[:2]
    for row, seed in ((first, 1), (first, 2), (second, 1)):
        run = tmp_path / "runs" / row.slug / str(seed)
        run.mkdir(parents=True)
        (run / "results.json").write_text("{}")
    assert pages.table_runs(tmp_path, study) == {}
    (tmp_path / "results.json").write_text(json.dumps(
        {"rows": [{"name": row.name, "seeds": [1]} for row in (first, second, study.rows[2])]}))
    assert pages.table_runs(tmp_path, study).keys() == {(first.name, 1), (second.name, 1)}


def test_a_claim_on_a_study_that_was_not_run_again_keeps_its_difference(
        claims: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "claims.toml").write_text("""
        [[claims]]
        paper = "surgery"
        place = "§8"
        text = "X is better than Y."
        tests = [{ study = "a/table-1", better = "x", than = "y", scores = ["overall.mean"] }]
        full = [{ study = "a/table-1", better = "y", than = "x", scores = ["overall.mean"] }]
        """, encoding="utf-8")
    for compared in (_compared(0.1, 0.01), {}):
        claims.write_claims(compared, tmp_path)
        line = (tmp_path / "claims.md").read_text(encoding="utf-8").splitlines()[-1]
        assert line.startswith("| surgery | §8 | X is better than Y. | **confirmed** | **confirmed** |")
        assert "a/table-1: x − y, overall.mean +0.100 ± 0.010; on all the data, a/table-1: y − x," in line
    (tmp_path / "differences.tsv").unlink()
    claims.write_claims({}, tmp_path)
    assert "| **not run** | **not run** |" in (tmp_path / "claims.md").read_text(encoding="utf-8")


def test_the_page_of_claims_is_what_the_kept_differences_say(claims: ModuleType) -> None:
    kept = claims.read_kept(ROOT / "docs/results/differences.tsv")
    page = (ROOT / "docs/results/claims.md").read_text(encoding="utf-8")
    assert page == claims.claims_page(CLAIMS, kept)


def test_the_page_of_headlines_has_the_reports_that_were_run(
        pages: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGES", tmp_path)
    monkeypatch.setattr(pages, "FINDINGS", tmp_path / "findings")
    pages.write_gathered("headlines", tmp_path / "studies")
    assert not (tmp_path / "headlines.md").exists()
    for paper in ("swissbert", "mfrr"):
        table = tmp_path / "studies" / "headlines" / paper / "results.md"
        table.parent.mkdir(parents=True)
        table.write_text(f"# {paper}: on all the data\n", encoding="utf-8")
    pages.write_gathered("headlines", tmp_path / "studies")
    page = (tmp_path / "headlines.md").read_text(encoding="utf-8")
    assert page.index("## mfrr: on all the data") < page.index("## swissbert: on all the data")
    assert "surgery: on all" not in page
    table.write_text("# mfrr: measured again\n", encoding="utf-8")
    (tmp_path / "studies" / "headlines" / "swissbert" / "results.md").unlink()
    pages.write_gathered("headlines", tmp_path / "studies")
    again = (tmp_path / "headlines.md").read_text(encoding="utf-8")
    assert again == page.replace("## mfrr: on all the data", "## mfrr: measured again")


def test_a_study_without_a_folder_has_the_differences_that_its_page_has(
        claims: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(
        "# a\n\n## first\n\n- command: `polytask compare recipes/a/table-10.toml --seeds 1`\n\n"
        "### Difference to y\n\n| row | overall.mean |\n| --- | --- |\n| x | +9.000 ± 0.001 |\n\n"
        "## second\n\n- command: `polytask compare recipes/a/table-1.toml --seeds 1`\n\n"
        "### Difference to y\n\n| row | sst.accuracy | overall.mean | p |\n| --- | --- | --- | --- |\n"
        "| x | – | +0.100 ± 0.010 | 0.01 |\n| z | +0.010 ± 0.020 | -0.020 ± 0.030 | 0.5 |\n",
        encoding="utf-8")

    def found(better: str, than: str, score: str = "overall.mean") -> tuple[str, ...] | None:
        line = claims.printed(
            {"study": "a/table-1", "better": better, "than": than, "score": score}, tmp_path)
        return line and (line.mean, line.error, line.verdict, line.lowest)

    assert found("x", "y") == ("0.100", "0.010", "better", "0.080")
    assert found("y", "x") == ("-0.100", "0.010", "worse", "-0.120")
    assert found("x", "z") == ("0.120", "0.040", "better", "0.040")
    assert found("z", "y", "sst.accuracy") == ("0.010", "0.020", "tie", "-0.030")
    assert found("x", "y", "sst.accuracy") is None and found("x", "w") is None
    assert claims.printed(SCORES | {"study": "b/table-1"}, tmp_path) is None
    alone = ("<!-- study: c -->\n\n### Difference to y\n\n| row | overall.mean |\n| --- | --- |\n"
             "| x | +0.3 ± 0.1 |\n")
    tmp_path.with_suffix(".md").write_text(alone, encoding="utf-8")
    line = claims.printed(SCORES | {"study": "c"}, tmp_path)
    assert (line.mean, line.error, line.verdict) == ("0.300", "0.100", "better")
