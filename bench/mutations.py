"""Change one number or one line at a time, and report the changes that no test notices.

    python bench/mutations.py recipes        every number of every recipe, seconds per file
    python bench/mutations.py source [WORD]  the lines of mutations.toml (file or test contains WORD)
    python bench/mutations.py                both; the exit status is 1 if anything survives
    python bench/mutations.py --write        the same (or a part), into docs/mutations.md
    python bench/mutations.py source --missing --write   what the page lacks, or survives there

A change to a recipe's number counts as noticed if `recipe_settings.differs` says so. Left out are
numbers that the reports do not give (pilot scale, number of seeds) and numbers that other tests compare
digit for digit (claimed results, against the published tables; the trials of a grid).

A change to a line counts as noticed if one of its tests fails. `--write` puts what became of it into
docs/results/mutations.tsv, in the place of its last outcome, and draws the page only if all the tests that
are named there pass on the source as it is.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))
from machine import heading, table
from page import placed
from recipe_settings import RECIPES, differs, files

ROOT = RECIPES.parent
PAGE = ROOT / "docs" / "mutations.md"
KEPT = PAGE.parent / "results" / "mutations.tsv"
# A number outside strings and comments, which are matched first and left alone.
NUMBER = re.compile(r'"(?:\\.|[^"\\])*"|\'[^\']*\'|#[^\n]*'
                    r"|(?<![\w.-])([-+]?\d[\d_]*(?:\.\d+)?(?:[eE][-+]?\d+)?)(?![\w.])")
EXEMPT = {"pilot": "pilot scale, which is ours",
          "pilot_parameters": "pilot scale of a sweep, which is ours",
          "seeds": "number of seeds, which is ours",
          "trials": "trials of a sweep, compared with its grid",
          "claimed": "claimed results, compared with the published tables"}


class Mutation(NamedTuple):
    """A line of the source, its replacement, and the tests that should then fail."""

    file: str
    what: str
    old: str
    new: str
    tests: str
    equivalent: str = ""
    """Why no test can notice it."""

    @property
    def change(self) -> str:
        """What changes, in words and in code, on one line."""
        old, new = (" ".join(code.split()).replace("|", r"\|") for code in (self.old, self.new))
        return f"{self.what}: `{old}` → `{new}`" if new else f"{self.what}: without `{old}`"


LINES = [Mutation(**each) for each in tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["mutation"]]


@dataclass
class RecipeReport:
    """What became of the numbers of the recipes."""

    files: int = 0
    changed: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    survivors: list[str] = field(default_factory=list)


class Outcome(NamedTuple):
    """A mutation and the test that fails with it, file::function, or nothing; and where that was seen."""

    mutation: Mutation
    noticed_by: str
    measured: str

    @property
    def survives(self) -> bool:
        """Whether it went unnoticed without a reason, or was noticed in spite of one."""
        return bool(self.noticed_by) == bool(self.mutation.equivalent)


def numbers(path: Path) -> Iterator[tuple[str, str, list[Any]]]:
    """Yield (mutated text, "line: old -> new", path of the key that differs) for each number of a file."""
    text = path.read_text(encoding="utf-8")
    before = tomllib.loads(text)
    for found in NUMBER.finditer(text):
        old = found.group(1)
        if old is None:
            continue
        new = _other(old)
        changed = text[: found.start(1)] + new + text[found.end(1):]
        try:
            after = tomllib.loads(changed)
        except tomllib.TOMLDecodeError:
            continue  # a duplicate key
        line = text.count("\n", 0, found.start(1)) + 1
        yield changed, f"{path.relative_to(RECIPES)}:{line}: {old} -> {new}", _difference(before, after)


def _other(number: str) -> str:
    plain = number.replace("_", "")
    return str(2 * int(plain) + 1) if re.fullmatch(r"[-+]?\d+", plain) else repr(2 * float(plain) or 0.25)


def _difference(a: Any, b: Any) -> list[Any]:
    """Return the path of keys to where two documents differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in [*a, *b]:
            if a.get(key) != b.get(key):
                return [key, *_difference(a.get(key), b.get(key))]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for place, (one, other) in enumerate(zip(a, b, strict=True)):
            if one != other:
                return [place, *_difference(one, other)]
    return []


def recipe_report() -> RecipeReport:
    """Change every number of every recipe in turn."""
    report = RecipeReport()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "recipes"
        shutil.copytree(RECIPES, copy)
        for path in [*sorted((RECIPES / "bases").glob("*.toml")), *files(RECIPES)]:
            report.files += 1
            place = copy / path.relative_to(RECIPES)
            uses = [place] if path.parent.name != "bases" else [
                each for each in files(copy) if f"/{path.name}" in each.read_text(encoding="utf-8")]
            for changed, change, keys in numbers(path):
                if reason := next((key for key in EXEMPT if key in keys), None):
                    report.left_out[reason] += 1
                    continue
                report.changed += 1
                place.write_text(changed, encoding="utf-8")
                if not any(map(differs, uses)):
                    report.survivors.append(change)
            shutil.copyfile(path, place)
    return report


def source_outcomes(mutations: Sequence[Mutation]) -> Iterator[Outcome]:
    """Change lines in turn, in a copy of the source."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "src"
        shutil.copytree(ROOT / "src", copy)
        for each in mutations:
            path = copy / "polytask" / each.file
            text = path.read_text(encoding="utf-8")
            assert text.count(each.old) == 1, each
            path.write_text(text.replace(each.old, each.new), encoding="utf-8")
            run = _pytest(["-x", *shlex.split(each.tests)], copy)
            shutil.copy2(ROOT / "src" / "polytask" / each.file, path)
            if run.returncode not in (0, 1):  # no test selected, or a change that is no Python
                raise SystemExit(f"{each}:\n{run.stdout}{run.stderr}")
            failed = re.search(r"^(?:FAILED|ERROR) ([\w/.]+::\w+)", run.stdout, re.MULTILINE)
            yield Outcome(each, failed[1] if failed else "", heading())


def _pytest(words: Sequence[str], source: Path) -> subprocess.CompletedProcess[str]:
    """Run tests against a copy of the source."""
    return subprocess.run([sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider", *words],
                          cwd=ROOT, capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": str(source)})


def kept() -> list[Outcome]:
    """Return the outcomes of the file, in the order of LINES; what is no mutation any more is left out."""
    rows: list[list[str]] = []
    if KEPT.is_file():
        with KEPT.open(encoding="utf-8", newline="") as file:
            _, *rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    known = {tuple(row[:2]): row[2:] for row in rows}
    return [Outcome(each, *known[each.file, each.change]) for each in LINES
            if (each.file, each.change) in known]


def keep(outcome: Outcome) -> None:
    """Put an outcome into the file, in the place of the mutation's last one."""
    others = [other for other in kept() if other.mutation != outcome.mutation]
    with KEPT.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None,
                            lineterminator="\n")
        writer.writerow(["file", "change", "noticed_by", "measured"])
        writer.writerows([each.mutation.file, each.mutation.change, each.noticed_by, each.measured]
                         for each in [*others, outcome])


def drawn_recipes(report: RecipeReport) -> str:
    """Return the page's part about recipes."""
    left_out = [[EXEMPT[key], str(count)] for key, count in report.left_out.most_common()]
    survivors = "\n".join(f"- {each}" for each in report.survivors)
    return "\n\n".join([
        f"{heading()}. Of {report.files} files {report.changed} numbers were changed: "
        f"{report.changed - len(report.survivors)} changes are noticed, {len(report.survivors)} survive. "
        f"Left out were {report.left_out.total()}:",
        table(["left out", "numbers"], left_out), *([survivors] if survivors else [])])


def drawn_source(outcomes: Sequence[Outcome]) -> str:
    """Return the page's part about the source."""
    noticed = sum(bool(each.noticed_by) for each in outcomes)
    equivalent = sum(bool(each.mutation.equivalent) for each in outcomes)
    about = "; ".join(sorted({each.measured for each in outcomes}))
    rows = [[f"[{each.mutation.file}](../src/polytask/{each.mutation.file})", each.mutation.change,
             _noticed(each)] for each in outcomes]
    return "\n\n".join([
        f"{about}. Of {len(outcomes)} changes {noticed} are noticed, {equivalent} cannot be, "
        f"{len(outcomes) - noticed - equivalent} survive.",
        table(["file", "what the change does", "noticed by"], rows)])


def _noticed(outcome: Outcome) -> str:
    if not outcome.noticed_by:
        return f"no: {outcome.mutation.equivalent or '**a test is missing**'}"
    file, _, function = outcome.noticed_by.partition("::")
    return f"[{function.removeprefix('test_').replace('_', ' ')}](../{file})"


def _place(part: str, text: str) -> None:
    PAGE.write_text(placed(PAGE.read_text(encoding="utf-8"), part, text), encoding="utf-8")


def recipes(write: bool) -> bool:
    """Change the recipes; return whether anything survives."""
    report = recipe_report()
    for each in report.survivors:
        print(f"survives: {each}")
    print(f"recipes: {report.changed} numbers changed, {len(report.survivors)} survive; "
          f"{report.left_out.total()} left out (pilots, seeds, trials, claimed results)", flush=True)
    if write:
        _place("recipes", drawn_recipes(report))
    return bool(report.survivors)


def source(mutations: Sequence[Mutation], write: bool) -> bool:
    """Change the source; return whether anything survives."""
    survived = 0
    for each in source_outcomes(mutations):
        survived += each.survives
        if each.survives:
            print(f"survives: {each.mutation.file}: {each.mutation.change} "
                  f"({each.noticed_by or each.mutation.tests})", flush=True)
        if write:
            keep(each)
    print(f"source: {len(mutations)} lines changed, {survived} survive")
    if write:
        run = _pytest(sorted({each.noticed_by for each in kept()} - {""}), ROOT / "src")
        if run.returncode:
            raise SystemExit(f"tests that notice a change fail without one:\n{run.stdout}")
        _place("source", drawn_source(kept()))
    return survived > 0


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("part", nargs="?", choices=["recipes", "source"])
    words.add_argument("word", nargs="?", default="")
    words.add_argument("--missing", action="store_true")
    words.add_argument("--write", action="store_true")
    chosen = words.parse_args()
    listed = {each.mutation for each in kept() if not each.survives} if chosen.missing else set()
    lines = [each for each in LINES
             if each not in listed and (chosen.word in each.file or chosen.word in each.tests)]
    survives = [recipes(chosen.write)] if chosen.part != "source" else []
    survives += [source(lines, chosen.write)] if chosen.part != "recipes" else []
    sys.exit(any(survives))


if __name__ == "__main__":
    main()
