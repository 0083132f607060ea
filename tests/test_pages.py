"""README's blocks run as typed; every command, config and Python block of the other pages is sound."""

from __future__ import annotations

import ast
import csv
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from markdown_blocks import Block, blocks, typed
from polytask.cli import app
from polytask.config import Run

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "recipes" / "README.md"]
COMMANDS = get_command(app).commands
# A block that shows a part of a config is completed by these.
ENCODER = {"checkpoint": "minilm"}
TASK = {"train": "rows.csv", "text": "sentence", "label": "label"}


def commands(block: Block) -> list[list[str]]:
    """Return the words of each call of polytask in a shell block."""
    found = []
    for line in block.code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while "|" in words:
            words = words[words.index("|") + 1:]
        words = [word for word in words if word != "&"]
        if words[:1] == ["polytask"] or words[:1] == [".venv/bin/polytask"]:
            found.append(words[1:])
        elif "-m" in words and words[words.index("-m") + 1:][:1] == ["polytask"]:
            found.append(words[words.index("polytask") + 1:])
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_is_one(page: Path) -> None:
    for block in blocks(page, changed=False):
        if block.language == "sh":
            for words in commands(block):
                if words[0].startswith("-"):
                    continue
                assert words[0] in COMMANDS, f"{page.name}:{block.line}: polytask {words[0]}"
                try:
                    COMMANDS[words[0]].make_context(words[0], words[1:])
                except Exception as problem:  # the parser's own exceptions
                    pytest.fail(f"{page.name}:{block.line}: polytask {shlex.join(words)}: {problem}")
        elif block.language == "python":
            compile(block.code, f"{page.name}:{block.line}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def completed(table: dict[str, Any]) -> dict[str, Any]:
    """Return a config of which a page shows a part."""
    tasks = {name: {**TASK, **task} for name, task in table.get("tasks", {"rows": {}}).items()}
    return {**table, "encoder": {**ENCODER, **table.get("encoder", {})}, "tasks": tasks}


@pytest.mark.parametrize("name", ["README.md", "docs/howto.md", "docs/coming_from.md", "docs/start.md",
                                  "docs/data.md", "docs/labels.md"])
def test_every_config_of_a_page_is_read(name: str) -> None:
    configs = [block for block in blocks(ROOT / name, changed=False) if block.language == "toml"]
    assert configs
    for block in configs:
        table = tomllib.loads(block.code)
        if "base" in table:
            assert ("rows" in table) != ("parameters" in table)
            continue
        if set(table) & {"loss", "metrics"}:
            continue  # a line of a task that names a module of the reader's
        Run.from_table(completed(table))


def test_every_number_of_the_guide_is_in_a_table_that_it_cites() -> None:
    text = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    cited = 0
    for statement in re.split(r"\n\n|\n(?=- )", text.partition("## Where to start")[2]):
        names = re.findall(r"\]\(((?:results|performance)[\w/-]*\.md)#", statement)
        pages = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in names)
        lost = [number for number in re.findall(r"\d+\.\d+", statement) if number not in pages]
        assert lost == [], statement
        cited += bool(names)
        if statement.startswith("- "):
            assert names, f"no measurement is cited: {statement}"
    assert cited > 20


@pytest.mark.timeout(600)
def test_the_blocks_of_the_readme_work_as_typed(tiny_checkpoint: Path, tmp_path: Path) -> None:
    for name, count in (("reviews-train", 60), ("reviews-dev", 20), ("new", 3)):
        with (tmp_path / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["sentence"] if name == "new" else ["sentence", "stars"])
            for n in range(count):
                text = f"The {n}th film is {['dull', 'fine', 'a gem'][n % 3]}."
                rows.writerow([text] if name == "new" else [text, n % 3])
    page = [block for block in blocks(ROOT / "README.md") if block.language in ("sh", "python")]
    assert len(page) == 4
    out = typed(page, tmp_path, tiny_checkpoint)
    assert "polytask demo --out runs/demo" in out and "pytest" in out  # make, shown but not run
    with (tmp_path / "answers.csv").open(encoding="utf-8") as file:
        assert [row["sentence"] for row in csv.DictReader(file)] == [
            "The 0th film is dull.", "The 1th film is fine.", "The 2th film is a gem."]
    assert (tmp_path / "runs" / "python" / "report.html").is_file()
    assert '"results":[{"reviews":{"label"' in out.replace(" ", "")
