"""The report: its counts agree with scikit-learn, it shows any kind of task, and it harms nobody."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from polytask.commands.report import report
from polytask.commands.train import train
from polytask.config import Run
from polytask.core.errors import ConfigError, RunError
from polytask.evaluation.predictions import read_predictions
from polytask.report import svg
from polytask.report.page import run_page
from polytask.report.plots import run_figures, write_figures
from polytask.report.record import read_run
from polytask.report.sections import SECTIONS
from polytask.report.svg import Figure, Picture
from polytask.training.artifacts import load_artifacts

EXAMPLES = Path(__file__).parents[2] / "examples"
NASTY = '<script>window.bad = 1</script> & "quotes" 😀 שלום עולם </script>'


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    """A finished run of five kinds of tasks, with texts that would like to do harm."""
    folder = tmp_path_factory.mktemp("kinds")
    chance = np.random.default_rng(2)
    made: dict[str, Any] = {}
    kinds: dict[str, Any] = {
        "stars": lambda n: n % 5, "tags": lambda n: "|".join("abc"[: n % 4]),
        "many": lambda n: f"intent_{n % 30}_of_thirty_that_have_long_names_without_a_space",
        "price": lambda n: round(float(chance.uniform(-100, 100)), 2)}
    for name, label in kinds.items():
        for split, rows in (("train", 60), ("dev", 60)):
            with (folder / f"{name}-{split}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(["text", "label"])
                writer.writerows([f"{NASTY} {name} {n} " + ("x" * 10000 if n == 3 else ""), label(n)]
                                 for n in range(rows))
        kind = {"stars": "ordinal", "tags": "multi-label", "many": "classes", "price": "regression"}[name]
        made[name] = {"train": f"{name}-train.csv", "dev": f"{name}-dev.csv", "text": "text",
                      "label": "label", "kind": kind}
    made["price"]["range"] = [-100, 100]
    settings = {"max_steps": 6, "batch_size": 8, "surgery": "pcgrad", "evaluate_every": 2,
                "weighting": "automatic", "train_metrics": True}
    table = {"data": {"root": str(folder), "max_length": 48}, "tasks": made, "train": settings,
             "encoder": {"checkpoint": str(tiny_checkpoint)}}
    train(Run.from_table(table), folder / "run", quiet=True)
    return folder / "run"


def test_the_page_is_written_at_the_end_with_every_part(trained: Path) -> None:
    text = (trained / "report.html").read_text(encoding="utf-8")
    for each in SECTIONS.values():
        assert f'<section id="{each.id}">' in text
    assert "could not be drawn" not in text
    assert "<script>window.bad" not in text
    assert "http://" not in text and "https://" not in text
    assert not (trained / "plots").exists()  # `polytask report` draws them


def test_the_docs_say_what_each_part_shows() -> None:
    page = (EXAMPLES.parent / "docs" / "report.md").read_text(encoding="utf-8")
    assert [each.title for each in SECTIONS.values() if f"\n| {each.title} | " not in page] == []


def test_the_same_run_gives_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    page = (trained / "report.html").read_bytes()
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / "report.html").unlink()
    assert report([run], plots=False) == run / "report.html"
    assert (run / "report.html").read_bytes() == page
    record = read_run(run, load_artifacts(run))
    names = {name for name, _ in run_figures(record)}
    assert {"scores", "losses", "weight", "sigma", "gradients", "attention-layer-1", "stars-confusion",
            "price-scatter", "price-residuals", "tags-distribution", "many-labels"} <= names
    record.tasks = {"price": record.tasks["price"]}  # the figures of one are enough to draw twice
    first, second = (write_figures(run_figures(record), tmp_path / folder) for folder in ("once", "twice"))
    assert len(first) == 2 * len(list(run_figures(record)))
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in first if path.suffix == ".png")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_file_of_a_figure_holds_any_name(tmp_path: Path) -> None:
    name = 'a=b "c" <script>d</script> & var(--x) $\\frac \x01'
    drawn = Figure(Picture(200, 20, svg.text(1, 1, name) + svg.rect(1, 1, 1, 1, name, "")), name, (name,))
    texts = [each.text for each in ElementTree.fromstring(drawn.file()).iter("{http://www.w3.org/2000/svg}text")]
    assert name.replace("\x01", "\ufffd") in texts
    assert len(write_figures([("odd", drawn)], tmp_path)) == 2


def test_the_drawing_of_the_model_is_a_file_of_its_own(trained: Path) -> None:
    drawn = dict(run_figures(read_run(trained)))["model"].file()
    assert "var(" not in drawn
    texts = [each.text for each in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    assert {"stars", "tags", "many", "price", "The model"} <= set(texts)


def test_what_is_missing_is_reported_and_the_rest_is_shown(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    shutil.rmtree(run / "artifacts")
    (run / "predictions" / "stars-dev.csv").unlink()
    text = report([run], plots=False).read_text(encoding="utf-8")
    assert "stars: no labelled dev predictions (predictions/stars-dev.csv is missing)." in text
    assert "The run has no artifacts" in text
    assert "Confusion" in text and "could not be drawn" not in text
    (run / "results.json").unlink()
    shutil.rmtree(run / "predictions")
    shutil.rmtree(run / "model")
    events = (run / "events.jsonl").read_text().splitlines()
    (run / "events.jsonl").write_text("\n".join(events[:3]) + '\n{"event": "st')
    text = report([run], plots=False).read_text(encoding="utf-8")
    assert "The training has not finished" in text and "could not be drawn" not in text
    with pytest.raises(RunError, match="there is no such folder"):
        report([tmp_path / "nothing"])


SECTION = '<section id="'


def part(page: str, id: str) -> str:
    """Return one part of a page."""
    return page.split(f'{SECTION}{id}">')[1].split(SECTION)[0]


def test_an_interrupted_run_says_the_true_reason(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    for what in ("artifacts", "predictions"):
        shutil.rmtree(run / what)
    (run / "results.json").unlink()
    text = report([run], plots=False).read_text(encoding="utf-8")
    no_dev = "no labelled dev predictions (the training has not finished)."
    for id, tasks in {"scatter": ["price"], "confusion": ["stars", "tags", "many"], "slices": ["price"],
                      "labels": ["stars", "price"], "errors": ["many"], "reliability": ["stars"]}.items():
        for task in tasks:
            assert f"{task}: {no_dev}" in part(text, id)
    assert "price" not in part(text, "confusion") and "stars" not in part(text, "scatter")
    for id in ("embeddings", "attention", "overlaps"):
        assert "kept when a training ends, and this one has not." in part(text, id)
    # Of numbers, too, it is kept when a training starts.
    assert "price: train 60 rows" in part(text, "distribution")
    data = json.loads((run / "data.json").read_text())
    for held in data["price"].values():
        del held["histogram"]
    (run / "data.json").write_text(json.dumps(data))
    text = report([run], plots=False).read_text(encoding="utf-8")
    assert "kept when a training ends, and this one has not." in part(text, "distribution")


def test_a_run_without_predictions_says_which_are_missing(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    shutil.rmtree(run / "predictions")
    text = report([run], plots=False).read_text(encoding="utf-8")
    assert "price: no labelled dev predictions (predictions/price-dev.csv is missing)." in part(
        text, "scatter")
    assert "No task has numbers" not in text and "not finished" not in text
    assert "data-attention" in part(text, "attention")


@pytest.mark.parametrize(("task", "damage", "said"), [
    ("stars", lambda held: held[:len(held) // 2 - 9], r"line \d+ (has \d cells; expected 5|is not CSV)"),
    ("price", lambda held: held.rstrip()[:-3], r"line \d+ is cut short"),
    ("many", lambda held: held[:held.index("😀".encode()) + 2], "is not UTF-8 after line 1"),
    ("many", lambda held: b"", "has no column prediction"),
    ("price", lambda held: re.sub(rb",(-?\d+\.\d+),", rb",x\1,", held, count=1),
     "row 1 has the label 'x.*expected a number"),
    ("stars", lambda held: held.replace(b",4,", b",7,"), "label '7'; expected a class of the task")])
def test_a_damaged_file_of_predictions_costs_no_more_than_itself(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str, damage: Any, said: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    file = run / "predictions" / f"{task}-dev.csv"
    file.write_bytes(damage(file.read_bytes()))
    text = report([run], plots=False).read_text(encoding="utf-8")
    found = re.search(rf"{task}: no labelled dev predictions \(predictions/{task}-dev.csv: (.*?)\)\.",
                      unescape(part(text, "errors")))
    assert found is not None and re.search(said, found[1])
    assert text.count("data-errors=") == 3 and "could not be drawn" not in text
    assert f"{file}: {found[1]}; the report leaves this file out" in capsys.readouterr().err
    names = {name for name, _ in run_figures(read_run(run, load_artifacts(run)))}
    assert f"{task}-labels" not in names and "tags-labels" in names


def test_rows_that_are_nearly_the_same_are_shown(tiny_checkpoint: Path, tmp_path: Path) -> None:
    texts = [f"the long and winding story number {n} of a {word} that nobody has ever told so far"
             for n, word in enumerate(("house", "river", "mountain", "garden", "market", "bridge") * 5)]
    held = {"train": texts, "dev": [texts[0] + "!", texts[1], "something else", "and another one"]}
    for split, rows in held.items():
        with (tmp_path / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["text", "label"], *([row, n % 2] for n, row in enumerate(rows))])
    task = {"train": "train.csv", "dev": "dev.csv", "text": "text", "label": "label"}
    train(Run.from_table({"data": {"root": str(tmp_path), "max_length": 32}, "tasks": {"tales": task},
                    "encoder": {"checkpoint": str(tiny_checkpoint)},
                    "train": {"max_steps": 1}}), tmp_path / "run", quiet=True)
    text = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "<td>nearly the same</td><td>2 = 2</td>" in text
    assert "<td>the same</td><td>3 = 3</td>" in text
    assert f"<td>tales dev</td><td>{texts[0]}!</td><td>tales train</td><td>{texts[0]}</td>" in text


def test_plots_without_a_rasteriser_are_svg_and_say_how_to_have_png(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    page = report([tmp_path / "run"])
    assert page.is_file()
    names = [path.name for path in (tmp_path / "run" / "plots").iterdir()]
    assert {"model.svg", "losses.svg", "price-scatter.svg"} <= {*names}
    assert all(name.endswith(".svg") for name in names)
    assert 'pip install "polytask[plot]"' in capsys.readouterr().err


def test_artifacts_that_cannot_be_read_are_reported(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    file = tmp_path / "run" / "artifacts" / "artifacts.npz"
    whole = bytearray(file.read_bytes())
    for directory in (b"PK\x01\x02", b"PK\x03\x04"):  # the flag "encrypted", in both places
        at = whole.index(directory)
        whole[at + (8 if directory == b"PK\x01\x02" else 6)] |= 1
    for damaged in (b"PK\x03\x04 cut short", bytes(whole)):
        file.write_bytes(damaged)
        with pytest.raises(RunError, match=r"artifacts: cannot be read .* delete the folder"):
            report([tmp_path / "run"])


def test_a_run_is_not_lost_when_its_artifacts_cannot_be_kept(
    small_table: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("polytask.training.artifacts.write_artifacts", broken)
    monkeypatch.setattr("polytask.commands.report.run_page", broken)
    small_table["tasks"] = {"sst": small_table["tasks"]["sst"]}
    small_table["train"] = {"max_steps": 1, "batch_size": 8}
    train(Run.from_table(small_table), tmp_path / "run", quiet=True)
    assert (tmp_path / "run" / "results.json").is_file()
    said = capsys.readouterr().err
    assert "embeddings and attention could not be saved (RuntimeError: out of memory)" in said
    assert "the report could not be written" in said


def test_curves_of_several_runs_lie_over_each_other(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "other")
    page = report([trained, tmp_path / "other"], tmp_path / "both.html").read_text(encoding="utf-8")
    assert page.count(">other</span>") == 3  # the gains, the curves of scores, the curves of losses
    assert page.count("<title>other</title>") >= 8
    assert "Dev score minus that of run" in page
    with pytest.raises(ConfigError, match="--out: is missing"):
        report([trained, tmp_path / "other"])


@pytest.mark.parametrize(("task", "size", "words"), [("many", 100_000, 5), ("price", 3000, 2000)])
def test_many_predictions_and_long_texts_make_a_small_page(
    trained: Path, tmp_path: Path, task: str, size: int, words: int
) -> None:
    run, chance = tmp_path / "run", np.random.default_rng(4)
    shutil.copytree(trained, run)
    path = run / "predictions" / f"{task}-dev.csv"
    with path.open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    made = [list(rows[n % 60]) for n in range(size)]
    labels = [row[head.index("label")] for row in rows]
    for row in made:  # everything is taken for everything, in letters that cost much
        row[head.index("prediction")] = labels[chance.integers(60)]
        row[head.index("text")] = "<&> 😀" * words
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *made])
    text = run_page(read_run(run))
    assert len(text.encode()) < 8_000_000
    assert "worst are listed" in text and "could not be drawn" not in text


def test_predictions_are_read_as_they_were_written(trained: Path) -> None:
    found = read_predictions(trained / "predictions" / "stars-dev.csv", ["text"])
    assert len(found) == 60 and found.texts[4][0].startswith(NASTY)
    assert len(found.texts[3][0]) > 10_000
    results = json.loads((trained / "results.json").read_text())["dev"]["scores"]["stars"]
    right = np.mean([a == b for a, b in zip(found.true, found.predicted, strict=True)])
    assert results["accuracy"] == pytest.approx(right)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    place = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if place is None:
        pytest.skip("no Chromium is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=place, args=["--no-sandbox"])
        yield opened
        opened.close()


def looked_at(browser: Any, page: Path, width: int, scheme: str) -> Any:
    """Open a page, check that it is whole and asks for nothing, and return its view."""
    view = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    view.on("console", lambda message: said.append(message.text))
    view.on("pageerror", lambda error: said.append(str(error)))
    view.on("request", lambda request: asked.append(request.url))
    view.goto(f"file://{page}")
    assert view.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert [each.get_attribute("id") for each in view.locator("main > section").all()] == [
        each.id for each in sorted(SECTIONS.values(), key=lambda each: each.place)]
    assert "could not be drawn" not in view.locator("main").inner_text()
    for each in view.locator("[data-attention] select").all():
        each.select_option("1")
    assert said == [] and asked == [f"file://{page}"]
    return view


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (390, "dark")])
def test_the_page_in_a_browser(trained: Path, browser: Any, width: int, scheme: str) -> None:
    view = looked_at(browser, trained / "report.html", width, scheme)
    assert view.evaluate("window.bad") is None
    box = view.locator("[data-errors]").first
    rows = box.locator("tbody tr")
    whole = rows.count()
    assert whole > 0
    box.locator("select").select_option("0")
    chosen = box.locator("option").nth(1).inner_text().split(" (")[0]
    assert set(rows.locator("td:first-child").all_inner_texts()) == {chosen}
    box.locator("select").select_option("")
    box.locator("input").fill("stars 7 ")
    assert 0 < rows.count() < whole
    box.locator("input").fill("nothing has this")
    assert rows.count() == 0
    box.locator("input").fill("")
    if width < 600:  # what an error is has a line of its own, over the whole width
        numbers = view.locator("[data-errors]").last.locator("tbody tr td:first-child").all()
        assert len(numbers) > 5
        for each in numbers:
            each.scroll_into_view_if_needed()  # a section out of sight is laid out late
            category, row = each.bounding_box(), each.locator("..").bounding_box()
            assert category["width"] > row["width"] - 2 and category["height"] < 40
    for way in (True, False):
        box.locator("th button").nth(2).click()
        shown = [float(each) for each in box.locator("tbody td.n").all_inner_texts()]
        assert shown == sorted(shown, reverse=way)
    view.close()


SMALL = [f"tasks.{task}.{key}={rows}" for task in ("sst", "quora", "sts")
         for key, rows in (("limit", 32), ("dev_limit", 24))]


def test_the_page_of_the_demo_in_a_browser(browser: Any, tmp_path: Path) -> None:
    run = Run.from_toml(EXAMPLES / "demo.toml", [*SMALL, "train.epochs=1", "train.surgery=pcgrad"])
    train(run, tmp_path / "run", quiet=True)
    view = looked_at(browser, tmp_path / "run" / "report.html", 390, "light")
    before = view.locator("[data-attention] svg").first.inner_html()
    view.locator("[data-attention] select").first.select_option("4")
    assert view.locator("[data-attention] svg").first.inner_html() != before
    view.close()


@pytest.mark.data
def test_the_page_of_real_data_in_a_browser(browser: Any, real_data: Path, tmp_path: Path) -> None:
    run = Run.from_toml(EXAMPLES / "cs224n.toml", [f"data.root={real_data}", *SMALL, "train.epochs=1"])
    train(run, tmp_path / "run", quiet=True)
    looked_at(browser, tmp_path / "run" / "report.html", 1400, "dark").close()
