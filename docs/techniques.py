"""Write docs/coverage.md: each technique of the reports, its place and the test that watches it.

    python docs/techniques.py            (also part of `make docs`)

`docs/techniques.tsv` names the techniques. What has a test is told by the tests themselves, each marked
with `@pytest.mark.technique("T-27", …)`: the test function fails when the technique is wrong. What has
none says why in the table: a fact (of the report's machine, data or curves), prose, or not built. A place
is a file that names the id: a docstring under src/, `ids` of a recipe or an example.
"""

from __future__ import annotations

import ast
import csv
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE, TABLE = ROOT / "docs" / "coverage.md", ROOT / "docs" / "techniques.tsv"
PLACES = ("src/**/*.py", "recipes/**/*.toml", "examples/**/*.toml", "examples/*.py")
# A docstring that names ids as examples of ids.
EXAMPLES_ONLY = ROOT / "src" / "polytask" / "commands" / "list.py"
ID = re.compile(r"\b([MGTPS])-(\d+)(?: to \1-(\d+))?\b")
REPORTS = {"M": "mfrr", "G": "surgery", "T": "triple-threat", "P": "practices", "S": "swissbert"}
KINDS = ("fact", "prose", "not built")


def techniques() -> list[tuple[str, str, str]]:
    """Return (id, name, why it has no test) of each technique."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    return [(row[0], row[1], row[2]) for row in rows]


def places() -> dict[str, list[str]]:
    """Return id → the files that stand for it, source first."""
    made: dict[str, list[str]] = {}
    for pattern in PLACES:
        for path in sorted({*ROOT.glob(pattern)} - {EXAMPLES_ONLY}):
            for found in dict.fromkeys(ids(path.read_text(encoding="utf-8"))):
                made.setdefault(found, []).append(path.relative_to(ROOT).as_posix())
    return made


def ids(text: str) -> Iterator[str]:
    """Yield the ids that a text names; "T-1 to T-4" names four."""
    for letter, first, last in ID.findall(text):
        yield from (f"{letter}-{number}" for number in range(int(first), int(last or first) + 1))


def marked(path: Path) -> Iterator[tuple[str, str, int]]:
    """Yield (id, test function, line) of each mark in a test file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.FunctionDef):
            continue
        for each in node.decorator_list:
            if isinstance(each, ast.Call) and ast.unparse(each.func) == "pytest.mark.technique":
                for argument in each.args:
                    yield ast.literal_eval(argument), node.name, node.lineno


@cache
def tests() -> dict[str, list[tuple[str, str]]]:
    """Return id → (file, test function) of each test that is marked with it."""
    made: dict[str, list[tuple[str, str]]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for found, name, _ in marked(path):
            made.setdefault(found, []).append((path.relative_to(ROOT).as_posix(), name))
    return made


def page() -> str:
    """Return the page; raise `ValueError` for a technique with neither a test nor a reason."""
    where, own = places(), tests()
    parts = ["# Coverage", "", "Made by `docs/techniques.py`. Every technique, option, figure and analysis "
             "of the five reports, where it is, and the test functions that fail when it is wrong (each is "
             "marked with the id), or why there is none: a *fact* is of the report's own machine, data or "
             "curves, *prose* describes no method. Tests marked `data` compare with the reports' own "
             "tables, which are not in the repository, and are skipped without them. What the tests "
             "notice is measured in "
             "[mutations](mutations.md).", ""]
    missing = []
    for letter, report in REPORTS.items():
        rows = [row for row in techniques() if row[0].startswith(f"{letter}-")]
        parts += [f"## {report}", "", _counts([why for *_, why in rows]), "",
                  "| id | what | place | test |", "|---|---|---|---|"]
        for id, name, why in rows:
            what = name.replace("|", chr(92) + "|")
            if why:
                parts.append(f"| {id} | {what} | {why} | |")
                continue
            if id not in own:
                missing.append(id)
                continue
            held = where.get(id, [])
            shown = [f"[{place}](../{place})" for place in held[:2]]
            more = [f"and {len(held) - 2} more"] if len(held) > 2 else []
            cited = [f"[{test.removeprefix('test_').replace('_', ' ')}](../{file})"
                     for file, test in own[id][:3]]
            parts.append(f"| {id} | {what} | {', '.join(shown + more)} | {'; '.join(cited)} |")
        parts.append("")
    if missing:
        raise ValueError(f"no test is marked with {', '.join(missing)}, "
                         "and docs/techniques.tsv gives no reason")
    return "\n".join(parts)


def _counts(reasons: list[str]) -> str:
    """Return one sentence: how many have a test, and how many of each kind have none."""
    kinds = [why.partition(":")[0] for why in reasons if why]
    rest = [f"{kinds.count(kind)} {kind}" for kind in KINDS if kind in kinds]
    tested = len(reasons) - len(kinds)
    return f"{tested} of {len(reasons)} have a test; {', '.join(rest) or 'none is left'}."


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
