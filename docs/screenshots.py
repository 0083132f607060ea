"""The pictures of docs/report.md, taken of a run's report.

    polytask demo --out runs/demo
    python docs/screenshots.py runs/demo

Writes docs/report-desktop.png (the top of the page, light) and docs/report-phone.png (from the attention
on, dark). It needs playwright and a Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# file → how wide and how high the window is, pixels for one of CSS, colours, the section at its top
PICTURES: dict[str, tuple[int, int, float, str, str]] = {
    "report-desktop.png": (1360, 2350, 1.0, "light", ""),
    "report-phone.png": (390, 1700, 1.5, "dark", "attention"),
}


def take(browser: Any, page: Path, picture: str) -> None:
    """Write one picture of a page."""
    width, height, scale, colours, section = PICTURES[picture]
    view = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=scale,
                            color_scheme=colours)
    view.goto(page.as_uri() + f"#{section}" * bool(section))
    view.wait_for_timeout(1500)  # it scrolls smoothly
    view.screenshot(path=str(HERE / picture))
    view.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    page = parser.parse_args().run.resolve() / "report.html"
    if not page.is_file():
        sys.exit(f"{page}: there is no such file; polytask report writes it")
    place = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if place is None:
        sys.exit("no Chromium is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=place, args=["--no-sandbox"])
        for picture in PICTURES:
            take(browser, page, picture)
        browser.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
