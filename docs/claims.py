"""The page of claims: what the reports say, judged by measured differences.

docs/results/claims.toml names, for each claim, the comparisons that decide it, with pilots (`tests`) and
on all the data (`full`). Their differences are kept in docs/results/differences.tsv, so that a claim on a
study whose folder is gone can still be judged; `docs/results.py write` renews those of the folders it has.
A study is named by its place: `mfrr/table-2` is recipes/mfrr/table-2.toml, `controls/mfrr` and `together`
are in examples/studies. A claim that nothing here can decide says why (`why`).
"""

from __future__ import annotations

import csv
import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

from polytask.studies.comparison import Comparison
from polytask.studies.statistics import Difference

PAGES = Path(__file__).parent / "results"
Key = tuple[str, str, str, str]
HEAD = ("Made by `python docs/results.py write`. A claim is *confirmed* if every comparison it makes "
        "holds, *contradicted* if one is reversed beyond two standard errors (Student's t with few seeds)"
        " and no other study has it the claimed way round by two, else *not decided*. Where a tie is "
        "claimed, the difference less two standard errors must be above -{margin:g}. Of studies whose "
        "folders are gone, the differences of three digits in `docs/results/differences.tsv` are those "
        "that their pages had, and two standard errors decide; where a page compares both rows with a "
        "third, the error is the sum of theirs, which it cannot exceed. With one seed the error covers "
        "the dev rows alone. *Pilots* are small, those of `controls/` [change one thing at a "
        "time](controls.md); *all the data* means MiniLM on all of SST, STS and Quora "
        "([headlines](headlines.md)); a dash: no such comparison. MiniLM saw Quora pairs in its own "
        "training, so its paraphrase scores are not comparable with a report's.")
MARGIN = 0.03
"""How much worse counts as a tie, in points of a score from 0 to 1."""


@dataclass(frozen=True)
class Measured:
    """A difference of two rows of a study, in one score."""

    study: str
    better: str
    than: str
    score: str
    mean: str
    error: str
    verdict: str
    lowest: str
    """The mean less two standard errors, or what Student's t makes of them."""

    @property
    def key(self) -> Key:
        """What was compared."""
        return self.study, self.better, self.than, self.score

    def text(self) -> str:
        """Return it for the page."""
        return (f"{self.better} − {self.than}, {self.score} "
                f"{float(self.mean):+.3f} ± {float(self.error):.3f}")


def key_of(test: Mapping[str, Any]) -> Key:
    """Return what a comparison compares."""
    return test["study"], test["better"], test["than"], test["score"]


def comparisons(claim: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the scale and each comparison of a claim, one a score."""
    for scale in ("tests", "full"):
        for test in claim.get(scale, []):
            for score in test["scores"]:
                yield scale, test | {"score": score}


def measure(test: Mapping[str, Any], compared: Mapping[str, Comparison]) -> Measured | None:
    """Return a comparison's difference, if its study's folder has both rows."""
    known = compared.get(test["study"])
    rows = {line.row.name: line for line in known.lines} if known else {}
    better, than, key = rows.get(test["better"]), rows.get(test["than"]), test["score"]
    if better is None or than is None or key not in better.cells or key not in than.cells:
        return None
    difference = better.scored.minus(than.scored, key)
    return Measured(*key_of(test), f"{difference.mean:.5f}", f"{difference.error:.5f}",
                    difference.verdict, f"{lowest(difference):.5f}")


def lowest(difference: Difference) -> float:
    """Return the smallest margin's negative: shifted by more than it, the difference would be better."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        shifted = replace(difference, mean=middle)
        low, high = (low, middle) if shifted.verdict == "better" else (middle, high)
    return difference.mean - high


def printed(test: Mapping[str, Any], pages: Path) -> Measured | None:
    """Return what a comparison's page says: from its table of differences to one row.

    Of two rows of which none is that row, the error is the sum of theirs, which it cannot exceed.
    """
    paper, _, table = test["study"].partition("/")
    page = pages / f"{paper}.md" if table else pages.with_suffix(".md")
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    start = (rf"^- command: `polytask compare recipes/{test['study']}\.toml " if table
             else f"^<!-- study: {paper} -->$")
    section = re.search(rf"{start}.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    found = section and re.search(r"^### Difference to (.+)\n\n((?:\|.*\n)+)", section[0], re.MULTILINE)
    if not found:
        return None
    head, _, *lines = ([cell.strip() for cell in line.strip("| ").split("|")]
                       for line in found[2].splitlines())
    rows = {cells[0]: dict(zip(head, cells, strict=True)) for cells in lines}
    better, than = (_side(rows, test[name], test["score"], found[1]) for name in ("better", "than"))
    if better is None or than is None:
        return None
    mean, error = better[0] - than[0], better[1] + than[1]
    word = "better" if mean > 2 * error else "worse" if mean < -2 * error else "tie"
    return Measured(*key_of(test), f"{mean:.3f}", f"{error:.3f}", word, f"{mean - 2 * error:.3f}")


def _side(rows: Mapping[str, Mapping[str, str]], name: str, score: str,
          reference: str) -> tuple[float, float] | None:
    """Return a row's difference to the reference and its error; None where the table has none."""
    if name == reference:
        return 0.0, 0.0
    cell = rows.get(name, {}).get(score, "")
    mean, sign, error = cell.partition(" ± ")
    return (float(mean), float(error)) if sign else None


def outcome(measured: Measured | None, tie: bool) -> str:
    """Return whether a comparison holds; with `tie` a draw is claimed, and less than it fails.

    What is beyond two errors and yet no more than chance by Student's t leans to the claim.
    """
    if measured is None:
        return "not run"
    if measured.verdict == "better" or (tie and float(measured.lowest) >= -MARGIN):
        return "holds"
    if measured.verdict == "worse":
        return "fails"
    return "leans" if float(measured.mean) >= 2 * float(measured.error) > 0 else "open"


def verdict(outcomes: Mapping[str, list[str]]) -> str:
    """Return what the outcomes of a claim's comparisons, by study, say together.

    What one study reverses while another leans to it as a whole is not decided.
    """
    if not outcomes:
        return "–"
    words = {outcome for study in outcomes.values() for outcome in study}
    agreed = any(set(study) <= {"holds", "leans"} for study in outcomes.values())
    word = ("not run" if "not run" in words else "contradicted" if "fails" in words and not agreed
            else "confirmed" if words == {"holds"} else "not decided")
    return f"**{word}**"


def claims_page(claims: list[dict[str, Any]], kept: Mapping[Key, Measured]) -> str:
    """Return the page, each claim with its verdicts and the differences that they rest on."""
    lines = ["# The reports' claims", "", HEAD.format(margin=MARGIN), "",
             "| report | place | claim | pilots | all the data | measured |", "|---|---|---|---|---|---|"]
    for claim in claims:
        outcomes: dict[str, dict[str, list[str]]] = {"tests": {}, "full": {}}
        evidence: dict[str, list[tuple[str, str]]] = {"tests": [], "full": []}
        for scale, test in comparisons(claim):
            found = kept.get(key_of(test))
            known = outcomes[scale].setdefault(test["study"], [])
            known.append(outcome(found, test.get("tie", False)))
            evidence[scale].append((test["study"], found.text() if found else
                                    f"{test['better']} − {test['than']}, {test['score']} not run"))
        measured = _evidence(evidence["tests"])
        if evidence["full"]:
            measured += "; on all the data, " + _evidence(evidence["full"])
        pilots = "**not decided**" if "why" in claim else verdict(outcomes["tests"])
        cells = [claim["paper"], claim["place"], claim["text"], pilots, verdict(outcomes["full"]),
                 claim.get("why", measured)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _evidence(differences: list[tuple[str, str]]) -> str:
    """Return differences in one line, each study named before its first."""
    return "; ".join(f"{study}: {', '.join(text for _, text in group)}"
                     for study, group in itertools.groupby(differences, key=lambda each: each[0]))


def read_kept(path: Path) -> dict[Key, Measured]:
    """Return the differences that are kept, by what was compared."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        lines = [Measured(**row) for row in csv.DictReader(file, delimiter="\t")]
    return {line.key: line for line in lines}


def write_claims(compared: Mapping[str, Comparison], pages: Path = PAGES) -> None:
    """Renew the kept differences of the studies in `compared`, and write the page."""
    claims = tomllib.loads((pages / "claims.toml").read_text(encoding="utf-8"))["claims"]
    path = pages / "differences.tsv"
    kept = read_kept(path)
    wanted: dict[Key, Measured] = {}
    for claim in claims:
        for _, test in comparisons(claim):
            if found := measure(test, compared) or kept.get(key_of(test)) or printed(test, pages):
                wanted[found.key] = found
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow([field.name for field in fields(Measured)])
        writer.writerows(map(astuple, wanted.values()))
    (pages / "claims.md").write_text(claims_page(claims, wanted), encoding="utf-8")
