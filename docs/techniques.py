"""Write docs/coverage.md: where each of the 188 techniques of the five reports stands, and its test.

    python docs/techniques.py            (also part of `make docs`)

`docs/techniques.tsv` names them, and says why those are not built that are not. A place is a file that
names the id: a docstring or comment under src/, `ids` of a recipe or an example. Its test is the file
that exercises the place: tests/FOLDER/test_NAME.py for src/polytask/FOLDER/…/NAME.py or the package
around it, or what TESTS says; a test file that names the id itself comes first.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE, TABLE = ROOT / "docs" / "coverage.md", ROOT / "docs" / "techniques.tsv"
PLACES = ("src/**/*.py", "recipes/**/*.toml", "examples/**/*.toml", "examples/*.py")
ID = re.compile(r"\b([MGTPS]-\d+)\b")
REPORTS = {"M": "mfrr", "G": "surgery", "T": "triple-threat", "P": "practices", "S": "swissbert"}
# Places whose test is not named after them; the longest beginning counts.
TESTS = {
    "src/polytask/config.py": "tests/test_cli.py",
    "src/polytask/commands": "tests/test_cli.py",
    "src/polytask/engines": "tests/runs/test_studies.py",
    "src/polytask/evaluation": "tests/report/test_report.py",
    "src/polytask/inference": "tests/inference/test_predictor.py",
    "src/polytask/learn": "tests/runs/test_combinations.py",
    "src/polytask/learn/gramian.py": "tests/learn/test_surgery.py",
    "src/polytask/learn/torchjd_rules.py": "tests/learn/test_surgery.py",
    "src/polytask/learn/train_settings.py": "tests/runs/test_resume.py",
    "src/polytask/losses": "tests/losses/test_losses.py",
    "src/polytask/metrics": "tests/metrics/test_metrics.py",
    "src/polytask/report": "tests/report/test_report.py",
    "src/polytask/studies": "tests/runs/test_studies.py",
    "src/polytask/model": "tests/model/test_multitask.py",
    "src/polytask/model/encoders.py": "tests/model/test_families.py",
    "src/polytask/data": "tests/data/test_dataset.py",
    "src/polytask/tasks": "tests/data/test_dataset.py",
    "src/polytask/training": "tests/report/test_report.py",
    "src/polytask": "tests/test_cli.py",
    "recipes": "tests/runs/test_recipes_run.py",
    "examples": "tests/test_docs.py",
    "examples/printed_sentences.py": "tests/inference/test_predictor.py",
    "examples/studies": "tests/runs/test_real.py",
}


def techniques() -> list[tuple[str, str, str]]:
    """Return (id, name, why it is not built) of each technique."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    return [(row[0], row[1], row[2]) for row in rows]


def named(pattern: str) -> Iterator[tuple[str, str]]:
    """Yield (id, file) for each id that a file names."""
    for path in sorted(ROOT.glob(pattern)):
        for found in dict.fromkeys(ID.findall(path.read_text(encoding="utf-8"))):
            yield found, path.relative_to(ROOT).as_posix()


def places() -> dict[str, list[str]]:
    """Return id → the files that stand for it, source first."""
    made: dict[str, list[str]] = {}
    for pattern in PLACES:
        for found, path in named(pattern):
            made.setdefault(found, []).append(path)
    return made


def test_of(place: str) -> str:
    """Return the test file of a place."""
    path = Path(place)
    if path.parts[:2] == ("src", "polytask") and len(path.parts) > 3:
        for name in (path.stem, path.parent.name):
            held = f"tests/{path.parts[2]}/test_{name}.py"
            if (ROOT / held).is_file():
                return held
    best = max((begin for begin in TESTS if place.startswith(begin)), key=len)
    return TESTS[best]


def tests() -> dict[str, list[str]]:
    """Return id → the test files that name it."""
    made: dict[str, list[str]] = {}
    for found, path in named("tests/**/*.py"):
        made.setdefault(found, []).append(path)
    return made


def page() -> str:
    """Return the page; raise `ValueError` for a technique without place or reason."""
    where, own = places(), tests()
    parts = ["# Coverage", "", "Made by `docs/techniques.py` from what the code, the recipes and the "
             "examples name. Each of the 188 techniques, options, figures and analyses of the five reports "
             "has its place and its test, or the reason why it is not built.", ""]
    missing = []
    for letter, report in REPORTS.items():
        rows = [row for row in techniques() if row[0].startswith(f"{letter}-")]
        built = sum(not why for *_, why in rows)
        parts += [f"## {report}", "", f"{built} of {len(rows)} are built.", "",
                  "| id | what | place | test |", "|---|---|---|---|"]
        for id, name, why in rows:
            held = where.get(id, [])
            if not why and not held:
                missing.append(id)
            if why:
                parts.append(f"| {id} | {name} | not built: {why} | |")
                continue
            checked = dict.fromkeys([*own.get(id, []), *(test_of(place) for place in held)])
            shown = [f"[{place}](../{place})" for place in held[:3]]
            more = [f"and {len(held) - 3} more"] if len(held) > 3 else []
            parts.append(f"| {id} | {name.replace('|', chr(92) + '|')} | {', '.join(shown + more)} "
                         f"| {', '.join(f'[{test}](../{test})' for test in list(checked)[:2])} |")
        parts.append("")
    if missing:
        raise ValueError(f"docs/techniques.tsv: no place names {', '.join(missing)}")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
