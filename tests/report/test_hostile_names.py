"""Whatever a name, a text or a file of results says, on the page it stays text and runs no script."""

from __future__ import annotations

import base64
import hashlib
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from polytask.commands.report import report
from polytask.core.errors import RunError
from polytask.data.labels import Labels
from polytask.evaluation.predictions import Predictions
from polytask.report.multi_run import compared
from polytask.report.page import page, run_page
from polytask.report.plots import run_figures
from polytask.report.record import RunRecord, TaskRecord

BAD = '</script><script>bad()</script><img src=x onerror=bad()> "\' onload="bad()" x=y <svg onload=bad()>'
ELEMENTS = {"html", "head", "meta", "title", "style", "body", "header", "h1", "h2", "h3", "p", "nav", "div",
            "a", "main", "section", "table", "thead", "tbody", "tr", "th", "td", "figure", "figcaption",
            "span", "i", "b", "small", "svg", "path", "text", "rect", "circle", "polyline", "g", "details",
            "summary", "pre", "select", "option", "label", "input", "button", "script", "footer"}


class Read(HTMLParser):
    """Collects the elements of a page, their attributes, and the texts of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.script, self._inside = "", False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = self.elements[-1] == ("script", {})

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    handle_startendtag = handle_starttag

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.script += data


def check_harmless(text: str) -> None:
    """Check that a page has our elements only, no handler, and one script, which its policy names."""
    read = Read(text)
    assert {tag for tag, _ in read.elements} <= ELEMENTS
    for tag, attributes in read.elements:
        assert not [name for name in attributes if name.startswith("on")], tag
        assert not {"src", "srcdoc", "action"} & attributes.keys()
        assert (attributes.get("href") or "#").startswith("#")
        if tag == "script":
            assert attributes in ({}, {"type": "application/json", "id": attributes.get("id")})
    assert read.elements.count(("script", {})) == 1
    (policy,) = (attributes["content"] for _, attributes in read.elements
                 if attributes.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(read.script.encode()).digest()).decode()
    assert policy is not None and "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}';" in policy


def hostile_run(folder: Path) -> RunRecord:
    """A run of which every string would like to be a script."""
    (folder / "config.toml").write_text(f"# {BAD}\n", encoding="utf-8")
    names = (BAD, f"{BAD}2", f"{BAD}3")
    true, predicted = [names[n % 3] for n in range(9)], [names[n % 2] for n in range(9)]
    dev = Predictions([(BAD, BAD)] * 9, [BAD] * 9, true, predicted, np.full(9, 0.5))
    classes = TaskRecord("a", {"head": {"type": BAD}, "text": [BAD], "loss": BAD, "pairing": BAD},
                         Labels("classes", names), {"dev": dev}, {BAD: {"counts": [1, 2, 3]}}, [1],
                         np.eye(9), np.arange(9))
    tags = TaskRecord("b", {}, Labels("multi-label", names), {
        "dev": Predictions([(BAD,)] * 9, [BAD] * 9, ["|".join(names)] * 9, [BAD] * 9, np.full(9, np.nan))})
    damaged = TaskRecord("c", {}, None, damaged={"dev": BAD, "test": BAD})
    events = [{"event": "step", "step": n, "losses": {BAD: n}, "rows": {"a": 1}, "cosines": {BAD: 0.1},
               "weight": {BAD: n}} for n in range(3)]
    events += [{"event": "evaluation", "step": n, "dev": {BAD: {BAD: 0.1 * n}}, "overall": {"default": 0.2}}
               for n in range(3)]
    results = {"dev": {"score": 0.5, "scores": {BAD: {BAD: 0.5}, "a": {"accuracy": 0.5}}, "overall": {},
                       "notes": [BAD]}, "finished": BAD}
    artifacts = {"attention": [{"task": BAD, "tokens": [BAD, BAD], "texts": [BAD]}],
                 "overlaps": {"tasks": {BAD: [{"rows": 1, "here": BAD, "there": BAD, "nearly": True,
                                               "examples": [(BAD, BAD)], "texts": [([BAD], [BAD])]}]},
                              "across": []}}
    config = {"seed": BAD, "encoder": {"checkpoint": BAD, "trainable": BAD, "adapter": BAD},
              "train": {"score": BAD, "schedule": BAD, "surgery": BAD}}
    tasks = {"a": classes, "b": tags, "c": damaged}
    return RunRecord(folder, config, events, results, {}, tasks, artifacts,
                     {"attention/0": np.zeros((1, 1, 2, 2), np.uint8)})


def test_a_run_of_hostile_strings_is_a_harmless_page(tmp_path: Path) -> None:
    text = run_page(hostile_run(tmp_path))
    check_harmless(text)
    assert "could not be drawn" not in text


def test_its_figures_are_files_without_scripts_and_handlers(tmp_path: Path) -> None:
    figures = dict(run_figures(hostile_run(tmp_path)))
    assert {"model", "scores", "losses", "gradients", "attention-layer-1", "a-confusion"} <= figures.keys()
    for figure in figures.values():
        for element in ElementTree.fromstring(figure.file()).iter():
            assert element.tag.removeprefix("{http://www.w3.org/2000/svg}") in ELEMENTS - {"script", "a"}
            assert not [name for name in element.attrib if name.startswith("on") or "href" in name]


def test_hostile_runs_side_by_side_are_a_harmless_page(tmp_path: Path) -> None:
    run = hostile_run(tmp_path)
    check_harmless(page(BAD, BAD, compared({BAD: run, f"{BAD}2": run})))


def hostile_results() -> dict[str, Any]:
    score = {"mean": 0.5, "error": 0.1, "verdict": BAD}
    rows = [{"name": f"{BAD}{n}", "seeds": [1, 2], "failed": BAD, "cost": {"seconds": 1.0},
             "scores": {BAD: score}, "differences": {BAD: score}, "gains": {BAD: score},
             "claims": {BAD: {"claimed": 0.5, "measured": 0.4, "error": None}}} for n in range(2)]
    order = {"score": BAD, "rows": 2, "rank_correlation": 0.5, "agree": 1, "ties": 0, "contradictions": []}
    return {"title": BAD, "about": {BAD: BAD}, "against": BAD, "scores": [BAD], "primary": BAD,
            "rows": rows, "single": rows[0], "orders": [order], "notes": [BAD], "caveats": [BAD]}


def test_a_study_of_hostile_strings_is_a_harmless_page_beside_its_plots(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps({"title": BAD}))
    check_harmless(report([tmp_path], plots=False).read_text(encoding="utf-8"))  # not finished
    (tmp_path / "results.json").write_text(json.dumps(hostile_results()))
    check_harmless(report([tmp_path]).read_text(encoding="utf-8"))
    assert {path.parent for path in tmp_path.rglob("*.svg")} == {tmp_path / "plots"}


@pytest.mark.parametrize("change", [
    lambda results: results["rows"][0].update(name=None, scores=BAD),
    lambda results: results["rows"][0]["scores"][BAD].update(mean=BAD),
    lambda results: results["rows"][0]["seeds"].insert(0, "../../../x"),
    lambda results: results.update(about=[BAD]),
    lambda results: results.update(rows=BAD)])
def test_results_that_are_not_ours_are_a_sentence(tmp_path: Path, change: Any) -> None:
    results = hostile_results()
    change(results)
    (tmp_path / "study.json").write_text('{"title": "x"}')
    (tmp_path / "results.json").write_text(json.dumps(results))
    with pytest.raises(RunError, match=r"results\.json|is not the name of a file"):
        report([tmp_path])
