"""The site: it builds without a warning, every link leads somewhere, and no page asks other hosts."""

from __future__ import annotations

import functools
import html
import inspect
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from filelock import FileLock
from typer.main import get_command

import polytask
from polytask.cli import app

pytest.importorskip("mkdocs")
pytest.importorskip("mkdocstrings")
ROOT = Path(__file__).parents[1]
# Attributes whose value a browser loads by itself; an href is loaded only in <link>.
LOADED = {"src", "srcset", "data", "poster"}


class Parsed(HTMLParser):
    """The ids of a page, the places that it links to, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (name == "name" and tag == "a"):
                self.ids.add(value)
            elif name == "href":
                (self.loads if tag == "link" else self.links).append(value)
            elif name in LOADED:
                self.loads.append(value)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs-site` builds it: a warning fails the build. Test processes share one."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "site"
    with FileLock(f"{folder}.lock"):
        if not (folder / "index.html").is_file():
            environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_MKDOCS_2_WARNING": "1"}
            build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
            build += ["-d", f"{folder}.aside"]
            done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True,
                                  check=False)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
            Path(f"{folder}.aside").rename(folder)
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Parsed]:
    return {path: Parsed(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))
            if path.name != "404.html"}


def test_every_page_is_there(pages: dict[Path, Parsed], site: Path) -> None:
    names = {path.relative_to(site).with_suffix(".md").as_posix() for path in pages}
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert written <= names
    assert {"api.md", "cli.md", "files.md", "changelog.md", "families/index.md"} <= names


def test_every_link_leads_to_a_page_and_an_anchor_that_exist(pages: dict[Path, Parsed]) -> None:
    dead = []
    for path, page in pages.items():
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (parts.fragment and target in pages
                                        and unquote(parts.fragment) not in pages[target].ids):
                dead.append(f"{path.name}: {link}")
    assert dead == []


def test_no_page_loads_anything_from_elsewhere(pages: dict[Path, Parsed]) -> None:
    foreign = {load for page in pages.values() for load in page.loads if urlsplit(load).netloc}
    assert foreign == set()


def test_the_reference_has_every_name_and_its_docstring(site: Path, pages: dict[Path, Parsed]) -> None:
    places = polytask._PLACES
    api = pages[site / "api.html"]
    text = (site / "api.html").read_text(encoding="utf-8")
    for name in polytask.__all__:
        if ":" in places[name] and f"{name}s" not in places and name not in ("loss", "surgery"):
            assert f"polytask.{places[name].replace(':', '.')}" in api.ids, name
            doc = inspect.getdoc(getattr(polytask, name)) or ""
            first = doc.splitlines()[0].split("`")[0].rstrip(".:")
            assert first and html.escape(first, quote=False) in text, name
    plain = " ".join(re.sub(r"<[^>]+>", "", text).split())
    assert "load(folder: str | Path" in plain and "pk.load" in plain  # functions have their signature
    commands = pages[site / "cli.html"].ids
    assert {f"polytask-{verb}" for verb in get_command(app).commands} <= commands


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *values: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


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


EVERY_KIND = ("index", "start", "howto", "concepts", "guide", "coming_from", "api", "cli", "settings",
              "results", "families/losses", "changelog")


@pytest.mark.browser
@pytest.mark.parametrize("width", [1400, 390], ids=["desktop", "phone"])
@pytest.mark.parametrize("opened", ["served", "as a file"])
def test_the_site_in_a_browser(width: int, opened: str, site: Path, served: str, browser: Any) -> None:
    names = EVERY_KIND if opened == "served" else EVERY_KIND[:2]
    place = served if opened == "served" else site.as_uri()
    view = browser.new_page(viewport={"width": width, "height": 800})
    messages: list[str] = []
    asked: list[str] = []
    view.on("console", lambda message: messages.append(f"{message.type}: {message.text}"))
    view.on("pageerror", lambda error: messages.append(str(error)))
    view.on("request", lambda request: asked.append(request.url))
    for name in names:
        view.goto(f"{place}/{name}.html")
        assert view.locator("h1").count() == 1
        assert view.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name
        assert view.evaluate("[...document.images].every(image => image.naturalWidth > 0)"), name
    if width < 1000:
        view.locator("label.md-header__button[for=__search]").click()
    view.locator(".md-search__input").press_sequentially("pcgrad")
    first = view.locator(".md-search-result__item a").first
    first.wait_for(timeout=60_000)
    first.click()
    view.wait_for_url("**h=pcgrad*")  # its words are marked on the page that was found
    assert view.locator("mark").first.inner_text().casefold() == "pcgrad"
    view.close()
    assert messages == []
    assert [url for url in asked if not url.startswith((place, "data:", "blob:"))] == []
