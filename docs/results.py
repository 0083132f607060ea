"""The pages of results: run the recipes' studies, and write docs/results/ from their folders.

    python docs/results.py run STUDIES --data DATA [--seeds 2] [--workers 2] [--only mfrr/table-2]
    python docs/results.py write STUDIES

`run` goes through every study and sweep of recipes/ into STUDIES/<paper>/<table>, `--workers` trainings at
a time; what is finished there is not repeated, so it can be stopped and started again. `write` turns these
folders into docs/results/<paper>.md, judges the claims of docs/results/claims.toml
(docs/results/claims.md), and puts the tables of STUDIES/<study> into docs/results.md where it is marked
`<!-- study: <study> -->`. No number of a table is typed by hand: what a person adds is prose,
recipes/findings/<paper>/<table>.md, put under the table.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

from claims import write_claims

from polytask.core.json_files import read_json
from polytask.core.paths import StudyPaths
from polytask.core.run_folder import RunFolder
from polytask.studies import comparison
from polytask.studies.comparison import Comparison
from polytask.studies.study import Study, read_study

HERE = Path(__file__).parent
ROOT = HERE.parent
PAGES = HERE / "results"
FINDINGS = ROOT / "recipes" / "findings"
EXAMPLES = ROOT / "examples" / "studies"
PAPERS = ("mfrr", "surgery", "triple-threat", "practices", "swissbert")
CAVEAT = ("MiniLM saw Quora pairs in its own training, so its paraphrase scores are not comparable with a "
          "report's.")
_MADE = "Made by `python docs/results.py write` from the folders of examples/studies"
GATHERED = {
    "headlines":
        f"# Baselines and best configurations on all the data\n\n{_MADE}/headlines, one a report: its "
        "baseline, the best row of the table that compares its extensions (mfrr Table 2, surgery Figure 3, "
        "triple-threat Table 2, practices Table 4, swissbert Table 2) and, where it tunes that further, "
        "its final model; with MiniLM, on all of SST, STS and Quora (61,394 pairs), scored on the whole "
        "dev files. The claimed numbers are the report's, with BERT-base.",
    "controls":
        f"# One change at a time\n\n{_MADE}/controls. Rows of some reports' tables differ in more than "
        "what they are named for: in the number of updates, the batch size, a head's features. In these "
        "studies of a pilot's size, rows that are compared differ in one thing alone.",
}
"""The pages that gather a study of several reports each, and how they begin."""
ALONE = ("together", "pairings")
"""The studies of no report that claims rest on."""


def recipes(only: list[str] | None = None) -> Iterator[tuple[str, Path]]:
    """Yield "paper/table" and the file of every study and sweep, the studies of few rows first."""
    files = [path for paper in PAPERS for path in sorted((ROOT / "recipes" / paper).glob("*.toml"))]
    files.sort(key=lambda path: (path.stem.startswith("sweep"), path.read_text().count("[[rows]]")))
    for path in files:
        name = f"{path.parent.name}/{path.stem}"
        if not only or name in only:
            yield name, path


def run(studies: Path, data: str, scale: str, seeds: int, only: list[str] | None, workers: int) -> int:
    """Run what is not finished; a study that fails does not stop the others.

    A study of many rows gets several workers, and several studies run at once while workers are left.
    """
    waiting = list(recipes(only))
    if workers > 1:  # the longest first, so that none is left alone at the end
        waiting.sort(key=lambda each: (each[1].stem.startswith("sweep"), -_trainings(each[1], seeds)))
    running: dict[str, tuple[subprocess.Popen[bytes], int]] = {}
    failed, free = [], workers
    while waiting or running:
        while waiting and (share := min(workers, max(1, _trainings(waiting[0][1], seeds) // 8))) <= free:
            name, path = waiting.pop(0)
            verb = "sweep" if path.stem.startswith("sweep") else "compare"
            command = [sys.executable, "-m", "polytask", verb, str(path.relative_to(ROOT)),
                       "--scale", scale, "--out", str(studies / name), "--set", f"data.root={data}",
                       "--workers", str(share)]
            command += ["--seeds", str(seeds)] if verb == "compare" else []
            print(f"== {name}", flush=True)
            threads = {"OMP_NUM_THREADS": str(max(share, (os.cpu_count() or 1) * share // workers))}
            quiet = {} if workers == 1 else {"stdout": subprocess.DEVNULL}
            running[name] = subprocess.Popen(command, cwd=ROOT, env=os.environ | threads, **quiet), share
            free -= share
        time.sleep(0.2)
        for name, (process, share) in [*running.items()]:
            if process.poll() is not None:
                del running[name]
                free += share
                failed += [name] if process.returncode else []
                print(f"   {name} ended with {process.returncode}", flush=True)
    print(f"failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def _trainings(path: Path, seeds: int) -> int:
    """Return how many trainings a recipe is."""
    recipe = tomllib.loads(path.read_text(encoding="utf-8"))
    return int(recipe["trials"]) if "trials" in recipe else len(recipe["rows"]) * seeds


def finished(folder: Path, recipe: Path, scale: str = "pilot") -> Comparison | None:
    """Compare the finished runs that a study's table has; None where there are none."""
    study = read_study(recipe, scale, [])
    jobs = table_runs(folder, study)
    return comparison.compare(study, study.rows, jobs, {}) if jobs else None


def table_runs(folder: Path, study: Study) -> dict[tuple[str, int], Path]:
    """Return (row, seed) → finished run, of the rows and seeds that the folder's results.json has.

    A second seed that not all rows have yet is no part of the table, nor of a claim.
    """
    paths = StudyPaths(folder)
    if not paths.results.is_file():
        return {}
    seeds = {row["name"]: row["seeds"] for row in read_json(paths.results)["rows"]}
    runs = {(row.name, seed): paths.run(row.slug, seed)
            for row in study.rows for seed in seeds.get(row.name, [])}
    return {key: run for key, run in runs.items() if RunFolder(run).results.is_file()}


def write(studies: Path) -> None:
    """Write a page for each report, and the page of claims.

    A study that has no folder in STUDIES keeps the section that its page has.
    """
    compared: dict[str, Comparison] = {}
    for paper in PAPERS:
        page = PAGES / f"{paper}.md"
        kept = sections(page.read_text(encoding="utf-8")) if page.is_file() else {}
        parts = []
        for name, recipe in sorted(recipes(), key=lambda each: _reading_order(each[1])):
            if not name.startswith(f"{paper}/"):
                continue
            stated = tomllib.loads(recipe.read_text(encoding="utf-8"))
            table = studies / name / "results.md"
            if not table.is_file():
                heading = f"## {stated['title']} ("
                old = [with_findings(text, FINDINGS / f"{name}.md") for first, text in kept.items()
                       if first.startswith(heading)]
                notes = "\n".join(f"- {note}" for note in stated["notes"])
                parts += old or [f"{heading}not run)\n\n{notes}"]
                continue
            section = _nested(_typable(table.read_text(encoding="utf-8"), studies))
            parts.append(with_findings(section, FINDINGS / f"{name}.md"))
            if not recipe.stem.startswith("sweep") and (result := finished(studies / name, recipe)):
                compared[name] = result
        head = (f"# {paper}: results\n\nMade by `python docs/results.py write` from the folders of its "
                "studies. What a pilot changes: [recipes/README.md](../../recipes/README.md). The claimed "
                f"numbers are the report's, at full size. {CAVEAT}")
        page.write_text("\n\n".join([head, *parts]) + "\n", encoding="utf-8")
    for name in [*(f"{kind}/{paper}" for kind in GATHERED for paper in PAPERS), *ALONE]:
        if (studies / name).is_dir() and (
                result := finished(studies / name, EXAMPLES / f"{name}.toml", "full")):
            compared[name] = result
    write_claims(compared, PAGES)
    for kind in GATHERED:
        write_gathered(kind, studies)


def write_gathered(kind: str, studies: Path) -> None:
    """Write the page of the studies in examples/studies/KIND, one a report.

    A report that has no folder in STUDIES keeps the section that the page has.
    """
    page = PAGES / f"{kind}.md"
    kept = sections(page.read_text(encoding="utf-8")) if page.is_file() else {}
    tables = []
    for paper in PAPERS:
        table = studies / kind / paper / "results.md"
        if table.is_file():
            tables.append(_nested(_typable(table.read_text(encoding="utf-8"), studies)))
        else:
            tables += [text for first, text in kept.items() if first.startswith(f"## {paper}: ")]
    if not tables:
        return
    findings = FINDINGS / f"{kind}.md"
    parts = [f"{GATHERED[kind]} {CAVEAT}"]
    parts += [findings.read_text(encoding="utf-8").strip()] if findings.is_file() else []
    page.write_text("\n\n".join([*parts, *tables]) + "\n", encoding="utf-8")


def with_study_tables(page: str, studies: Path) -> str:
    """Put each study's tables between the marks that a page has for it.

    A study that has no folder in STUDIES keeps the tables that the page has.
    """
    def block(match: re.Match[str]) -> str:
        table = studies / match[2] / "results.md"
        if not table.is_file():
            return match[0]
        lines = _nested(_typable(table.read_text(encoding="utf-8"), studies)).splitlines()[1:]
        return match[1] + "\n\n" + "\n".join(lines).strip() + "\n\n" + match[3]
    return re.sub(r"^(<!-- study: (\S+) -->)$.*?^(<!-- end study -->)$", block, page,
                  flags=re.MULTILINE | re.DOTALL)


def _typable(text: str, studies: Path) -> str:
    """Put names that a reader has in place of this machine's folders of studies and data."""
    text = re.sub(r"--out \S+/(\S+/\S+?)`", r"--out studies/\1`", text.replace(str(studies), "studies"))
    return re.sub(r"'data\.root=[^']*'|data\.root=[^`\s]*", "data.root=DATA", text)


def with_findings(section: str, findings: Path) -> str:
    """Put what the file of findings says at the end of a section, in place of what stood there."""
    if not findings.is_file():
        return section
    table = section.partition("\n\n### Findings\n")[0]
    return f"{table}\n\n### Findings\n\n{findings.read_text(encoding='utf-8').strip()}"


def sections(page: str) -> dict[str, str]:
    """Return heading → text, heading included, of a page's sections of the second level."""
    texts = re.split(r"^(?=## )", page, flags=re.MULTILINE)[1:]
    return {text.partition("\n")[0]: text.strip() for text in texts}


def _reading_order(recipe: Path) -> tuple[bool, str, int]:
    """Sort studies before sweeps, and Table 2 before Table 10."""
    kind, _, number = recipe.stem.partition("-")
    first = number.partition("-")[0]
    return kind == "sweep", kind, int(first) if first.isdigit() else 0


def _nested(text: str) -> str:
    """Put every heading one level lower."""
    return "\n".join(f"#{line}" if line.startswith("#") else line for line in text.strip().splitlines())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("run", "write"))
    parser.add_argument("studies", type=Path)
    parser.add_argument("--data", default="data")
    parser.add_argument("--scale", default="pilot")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="trainings at a time")
    parser.add_argument("--only", nargs="*")
    given = parser.parse_args()
    if given.verb == "run":
        return run(given.studies.resolve(), given.data, given.scale, given.seeds, given.only,
                   given.workers)
    write(given.studies.resolve())
    page = HERE / "results.md"
    page.write_text(with_study_tables(page.read_text(encoding="utf-8"), given.studies.resolve()),
                    encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
