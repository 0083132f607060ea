"""README's blocks run as typed; every command, config and Python block of the other pages is sound."""

from __future__ import annotations

import ast
import csv
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from markdown_blocks import Block, blocks, typed
from polytask.cli import app
from polytask.config import Run

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "recipes" / "README.md",
         ROOT / "CONTRIBUTING.md"]
COMMANDS = get_command(app).commands
# A block that shows a part of a config is completed by these.
ENCODER = {"checkpoint": "minilm"}
TASK = {"train": "rows.csv", "text": "sentence", "label": "label"}


def commands(block: Block) -> list[list[str]]:
    """Return the words of each command in a shell block, without assignments and redirections."""
    found = []
    for line in block.code.replace("\\\n", " ").splitlines():
        command: list[str] = []
        for word in [*shlex.split(line, comments=True), "&"]:
            if word in ("|", "||", "&", "&&"):
                found += [command] if command else []
                command = []
            elif command or not re.fullmatch(r"\w+=\S*", word):
                command.append(word)
    return [command[:command.index(">")] if ">" in command else command for command in found]


def said_in_text(page: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the commands within sentences and tables that are written out, with their lines."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```$", lambda block: "\n" * block[0].count("\n"), text,
                  flags=re.MULTILINE | re.DOTALL)
    for number, line in enumerate(text.splitlines(), 1):
        for span in re.findall(r"`((?:polytask|torchrun|python|make|pytest) [^`…]+)`", line):
            yield number, shlex.split(span.replace(r"\|", "|"))


def polytask_problem(words: list[str]) -> str | None:
    """Return what the parser of a verb says against its words."""
    if not words or words[0].startswith("-"):
        return None
    if words[0] not in COMMANDS:
        return f"no verb {words[0]}"
    try:
        COMMANDS[words[0]].make_context(words[0], words[1:])
    except Exception as wrong:  # the parser's own exceptions
        return str(wrong)
    return None


def make_problem(words: list[str]) -> str | None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    return next((f"no target {word}" for word in words if "=" not in word and word not in targets), None)


def torchrun_problem(words: list[str]) -> str | None:
    from torch.distributed.run import get_args_parser

    given = get_args_parser().parse_args(words)  # everything behind `-m polytask` is the script's
    return polytask_problem(given.training_script_args) if given.training_script == "polytask" else None


def python_problem(words: list[str]) -> str | None:
    """Return what is wrong with a script of the repository or a module of the package."""
    if words[:2] == ["-m", "polytask"]:
        return polytask_problem(words[2:])
    if words[0] == "-c" or (words[0] == "-m" and not words[1].startswith("polytask.")):
        return None
    place = f"src/{words[1].replace('.', '/')}.py" if words[0] == "-m" else words[0]
    if not (ROOT / place).is_file():
        return f"no file {place}"
    source = (ROOT / place).read_text(encoding="utf-8")
    options = [word for word in words[1:] if word.startswith("--")]
    return next((f"no option {option}" for option in options if f'"{option}"' not in source), None)


PROBLEMS = {"polytask": polytask_problem, "make": make_problem, "torchrun": torchrun_problem,
            "python": python_problem}


def problem(command: list[str]) -> str | None:
    """Return what is wrong with a command, of those that are known here."""
    if command[0] == "srun" and "torchrun" in command:
        command = command[command.index("torchrun"):]
    check = PROBLEMS.get(command[0].rpartition("/")[2])
    return check(command[1:]) if check else None


@pytest.mark.parametrize("page", [*PAGES, *sorted((ROOT / "docs" / "results").glob("*.md"))],
                         ids=lambda page: page.name)
def test_every_command_of_a_page_is_one(page: Path) -> None:
    wrong = []
    for block in blocks(page, changed=False):
        if block.language == "sh":
            wrong += [f"{page.name}:{block.line}: {shlex.join(command)}: {found}"
                      for command in commands(block) if (found := problem(command))]
        elif block.language == "python":
            compile(block.code, f"{page.name}:{block.line}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for line, command in said_in_text(page):
        if len(command) > 2 and (found := problem(command)):
            wrong.append(f"{page.name}:{line}: {shlex.join(command)}: {found}")
        elif command[0] == "polytask" and command[1] not in COMMANDS and not command[1].startswith("-"):
            wrong.append(f"{page.name}:{line}: no verb {command[1]}")
    assert wrong == []


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
@pytest.mark.usefixtures("forked_commands")
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
