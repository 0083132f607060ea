"""The page in a browser: answers, thresholds, known errors, attention, a CSV, on a phone, by keyboard."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from echo import Live, live
from fastapi.testclient import TestClient

import polytask as pk
from polytask.serve.app import create_app
from polytask.serve.engine import TaskInfo
from polytask.serve.known_errors import wrong_rows
from polytask.serve.service import Service
from polytask.serve.settings import ServeSettings
from polytask.serve.torch_engine import TorchEngine
from written_answers import answers


@pytest.fixture
def explained(engine: TorchEngine, served_run: Path) -> Iterator[Service]:
    made = Service([engine], ServeSettings(log="none"), folders={"run": served_run})
    yield made
    made.close()


def test_the_nearest_known_errors_are_mistakes_on_dev(explained: Service, served_run: Path) -> None:
    file = served_run / "predictions" / "topic-dev.csv"
    rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))
    wrong = {(row["text"], row["label"], row["prediction"]) for row in rows
             if row["label"] != row["prediction"]}
    with TestClient(create_app(explained)) as client:
        text = min(wrong)[0]
        for _ in range(2):  # computed, then kept
            body = client.post("/errors", json={"text": text, "tasks": "topic", "count": 5}).json()
        found = body["errors"]["topic"]
        assert found["known"] == sum(row["label"] != row["prediction"] for row in rows) > 5
        assert {(each["texts"][0], each["label"], each["prediction"]) for each in found["nearest"]} <= wrong
        assert found["nearest"][0]["texts"] == [text]
        assert found["nearest"][0]["similarity"] == pytest.approx(1, abs=1e-3)
        similarities = [each["similarity"] for each in found["nearest"]]
        assert similarities == sorted(similarities, reverse=True) and len(similarities) == 5
        pair = client.post("/errors", json={"pair": ["good plot", "bad"]}).json()["errors"]
        assert set(pair) <= {"same", "near"} and pair
        assert client.post("/errors", json={"text": "a", "pair": ["a", "b"]}).status_code == 400


def test_a_name_with_a_bar_is_one_label_among_known_errors() -> None:
    task = TaskInfo("tags", 1, "multi-label", ("a", "a|b", "b"), None, "single", "s")
    found = answers(['["a|b"]', '["a|b"]', "a|b", "b|a", "[]"], ['["a|b"]', "a|b", "b", "a|b", ""])
    assert wrong_rows(found, task) == [1, 2]


def test_a_folder_without_predictions_says_so(engine: TorchEngine, served_run: Path) -> None:
    for folders in (None, {"run": served_run / "model"}):
        service = Service([engine], ServeSettings(log="none"), folders=folders)
        with TestClient(create_app(service)) as client:
            refused = client.post("/errors", json={"text": "good"})
        assert refused.status_code == 404 and "has no predictions for dev" in refused.json()["error"]


def test_attention_is_that_of_the_model(explained: Service, served_run: Path) -> None:
    tokens, maps = pk.load(served_run).attention("same", ("good plot", "bad"))
    with TestClient(create_app(explained)) as client:
        body = client.post("/attention", json={"pair": ["good plot", "bad"], "task": "same"}).json()
        assert body["tokens"] == tokens and len(body["layers"]) == 2
        assert body["layers"][1] == pytest.approx(maps[1].mean(axis=(0, 1)).tolist(), abs=1e-5)
        assert sum(body["layers"][0]) == pytest.approx(1, abs=1e-4)


def test_attention_without_torch_is_refused_with_the_reason() -> None:
    from echo import Echo

    with live(Echo()) as server:
        refused = server.post("/attention", {"text": "good"})
        assert refused.status_code == 404 and "--engine torch" in refused.json()["error"]


def test_the_page_lists_the_routes_that_the_server_describes(explained: Service) -> None:
    with TestClient(create_app(explained)) as client:
        page, script = client.get("/").text, client.get("/page.js").text
        assert '<a href="openapi.json">' in page and '<dl id="routes">' in page
        assert 'ask("openapi.json")' in script and 'at("routes")' in script
        paths = client.get("/openapi.json").json()["paths"]
        described = {path: route.get("summary") for path, methods in paths.items()
                     for route in methods.values()}
    assert "/predict" in described and all(described.values())
    assert "/predict" not in page and "/rerank" not in page + script  # none is listed by hand


@pytest.fixture(scope="module")
def page(served_run: Path, engine: TorchEngine) -> Iterator[tuple[Any, Live]]:
    place = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if place is None:
        pytest.skip("no Chromium is installed")
    from playwright.sync_api import sync_playwright

    with live(engine) as server, sync_playwright() as play:
        server.service.folders["run"] = served_run
        browser = play.chromium.launch(executable_path=place, args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": 390, "height": 800})
        yield view, server
        browser.close()


@pytest.mark.browser
def test_the_page_in_a_browser(page: tuple[Any, Live], tmp_path: Path) -> None:
    view, server = page
    complaints: list[str] = []
    asked: list[str] = []
    view.on("console", lambda message: complaints.append(message.text))
    view.on("pageerror", lambda error: complaints.append(str(error)))
    view.on("request", lambda request: asked.append(request.url))
    view.goto(f"{server.url}/")
    view.wait_for_selector("#about:has-text('run')")

    # By keyboard alone: type, tab to the button, press it.
    view.locator("#first").focus()
    text = "<img src=x onerror=alert(1)> good plot"
    view.keyboard.type(text)
    view.keyboard.press("Tab")
    view.keyboard.press("Enter")
    view.wait_for_selector("#answers .task")
    titles = view.locator("#answers h3").all_inner_texts()
    assert sorted(title.split(":")[0] for title in titles) == ["stars", "tags", "topic"]
    assert view.locator("#answers progress").count() == 5 + 3 + 2
    assert view.locator("#answers .mark").count() == 2  # the thresholds of two tags
    assert view.locator("#past li").inner_text() == text

    view.get_by_role("button", name="Nearest known errors").press("Enter")
    view.wait_for_selector("#errors li")
    assert "known errors on dev" in view.locator("#errors h4").first.inner_text()
    view.get_by_role("button", name="Attention").press("Enter")
    view.wait_for_selector("#attention .tokens span")
    assert view.locator("#attention .tokens span").first.inner_text() == "[CLS]"
    before = view.locator("#attention .tokens").inner_html()
    view.locator("#attention select").select_option("0")
    assert view.locator("#attention .tokens").inner_html() != before

    for number in range(22):  # the last twenty are kept
        view.locator("#first").fill(f"good {number}")
        view.locator("#send").click()
        view.wait_for_selector(f"#past li:first-child:has-text('good {number}')")
    assert view.locator("#past li").count() == 20

    paths = server.get("/openapi.json").json()["paths"]
    assert view.locator("#routes dt").all_inner_texts() == [
        f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]
    assert "One task's answer" in view.locator("#routes dd").all_inner_texts()
    link = view.get_by_role("link", name="openapi.json")
    link.focus()
    assert link.evaluate("link => link.matches(':focus') && link.href") == f"{server.url}/openapi.json"

    view.locator("input[value='2']").check()
    file = tmp_path / "pairs.csv"
    lines = [f'"good, {n}",bad,{n}\n' for n in range(40)]
    file.write_text("one,two,note\n" + "".join(lines), encoding="utf-8")
    view.locator("#file").set_input_files(file)
    view.wait_for_selector("#download:not([hidden])")
    with view.expect_download() as download:
        view.locator("#download").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
    assert [row["one"] for row in rows] == [f"good, {n}" for n in range(40)]
    assert {*rows[0]} == {"one", "two", "note", "same", "same_score", "near", "near_score"}

    assert view.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert complaints == []
    assert all(url.startswith((server.url, "blob:", "data:")) for url in asked)
