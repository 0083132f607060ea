"""Every command of *Get started* works as typed, one after the other, in an empty folder."""

from __future__ import annotations

import csv
import re
import tomllib
from pathlib import Path

import pytest

from markdown_blocks import blocks, typed
from polytask.config import Run

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "start.md"


@pytest.mark.usefixtures("forked_commands")
@pytest.mark.timeout(600)
def test_the_commands_of_the_page_work_as_typed(tiny_checkpoint: Path, tmp_path: Path) -> None:
    out = typed([block for block in blocks(PAGE) if block.language in ("sh", "python")],
                tmp_path, tiny_checkpoint)
    assert (tmp_path / "runs" / "demo" / "report.html").is_file()
    with (tmp_path / "answers.csv").open(encoding="utf-8") as file:
        answers = list(csv.DictReader(file))
    assert [row["sentence"] for row in answers] == [
        "A gem from start to finish.", "Two hours I will not get back."]
    assert all(row["prediction"] in {"0", "1", "2", "3", "4"} for row in answers)
    assert re.search(r'"results": ?\[\{"reviews": ?\{"label"', out), out[-2000:]


def test_the_short_config_is_one(tmp_path: Path) -> None:
    configs = [block.code for block in blocks(PAGE) if block.language == "toml"]
    assert [list(Run.from_table(tomllib.loads(config)).tasks) for config in configs] == [["reviews"]]


def test_the_extras_that_pages_install_exist() -> None:
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    named = {name for page in pages
             for group in re.findall(r"(?:polytask|'\.)\[([\w,-]+)\]", page.read_text(encoding="utf-8"))
             for name in group.split(",")}
    assert "serve" in named and named <= extras
