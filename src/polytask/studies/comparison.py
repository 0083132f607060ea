"""RunResults runs of a study compared: scores, differences to the base row, gains, claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np

from polytask.studies.claims import measured
from polytask.studies.run_results import RunResults, cost
from polytask.studies.statistics import (
    OVERALL,
    Cell,
    Difference,
    Scored,
    less_is_better,
    overall_formulas,
    rank_correlation,
    scored,
)
from polytask.studies.study import Study, StudyRow

SINGLE = "single-task runs"

Found = Mapping[str, Mapping[int, RunResults]]
"""Row name → seed → its finished run."""


@dataclass(frozen=True)
class Claim:
    """A claimed number and what was measured, None where it cannot be; `error` where it is known."""

    claimed: float
    measured: float | None
    error: float | None = None


@dataclass
class Line:
    """One row of the result."""

    row: StudyRow
    seeds: list[int] = field(default_factory=list)
    cells: dict[str, Cell] = field(default_factory=dict)
    differences: dict[str, Difference] = field(default_factory=dict)
    """To the base row."""
    gains: dict[str, Difference] = field(default_factory=dict)
    """Over the single-task runs."""
    cost: dict[str, float] = field(default_factory=dict)
    """Seconds and tokens of a run on average, and the most memory."""
    claims: dict[str, Claim] = field(default_factory=dict)
    failed: str = ""
    scored: Scored = field(default_factory=Scored, repr=False)


@dataclass(frozen=True)
class Order:
    """How the rows stand to the order that a paper claims, by one number."""

    key: str
    rows: int
    correlation: float | None
    agree: int
    tie: int
    contradictions: tuple[tuple[str, str, float, Difference], ...]
    """(row claimed better, row measured better, claimed difference, measured difference)."""


@dataclass
class Comparison:
    """A study's result. `primary` is the score that verdicts are about, `keys` are all of them."""

    study: Study
    lines: list[Line]
    keys: list[str]
    primary: str
    orders: list[Order]
    single: Line | None = None

    @property
    def failed(self) -> list[Line]:
        every = [*self.lines, *([self.single] if self.single else [])]
        return [line for line in every if line.failed]


def compare(study: Study, rows: Sequence[StudyRow], folders: Mapping[tuple[str, int], Path],
            failures: Mapping[str, str]) -> Comparison:
    """Compare finished runs.

    `folders`: (row name, seed) → run folder; `failures`: row name → the last that it said.
    """
    found = {row.name: {seed: RunResults(path) for (name, seed), path in folders.items()
                        if name == row.name}
             for row in rows}
    own = [row for row in rows if not row.single]
    formulas, keys = _scores(study, own, found)
    every = {key for key in keys if not key.startswith(f"{OVERALL}.")}
    lines = [_line(row, {seed: dict.fromkeys(run.tasks, run) for seed, run in found[row.name].items()},
                   formulas, every, failures.get(row.name, "")) for row in own]
    single = _single([row for row in rows if row.single], found, formulas, every, failures)
    base = next((line for line in lines if line.row.name == study.against), None)
    for line in lines:
        if base is not None and line is not base:
            line.differences = _differences(line.scored, base.scored)
        if single is not None:
            line.gains = _differences(line.scored, single.scored)
        line.claims = {key: _claim(key, value, line, found[line.row.name])
                       for key, value in line.row.claimed.items()}
    chosen = study.base_row.formula
    primary = chosen if chosen in keys else f"{OVERALL}.{formulas[0]}" if formulas else next(iter(keys), "")
    return Comparison(study, lines, keys, primary, _orders(lines), single)


def _scores(study: Study, rows: Sequence[StudyRow], found: Found) -> tuple[list[str], list[str]]:
    """Return the overall formulas of the study, the one that decides first, and all score keys."""
    metrics: dict[str, list[str]] = {}
    for row in rows:
        for run in found[row.name].values():
            metrics |= {task: run.metrics(task) for task in run.tasks if task not in metrics}
    named = dict.fromkeys(task for row in rows for task in row.config.get("tasks", {}))
    known = {task: metrics[task] for task in named if task in metrics}
    own = [f"{task}.{names[0]}" for task, names in known.items()]
    # A formula that is one task's own metric has its column already.
    formulas = [each for each in overall_formulas(study.base_row.formula, known)
                if each not in own] if len(known) > 1 else []
    return formulas, [*own, *(f"{OVERALL}.{formula}" for formula in formulas)]


def _line(row: StudyRow, runs: Mapping[int, Mapping[str, RunResults]], formulas: Sequence[str],
          every: set[str], failed: str) -> Line:
    line = Line(row, sorted(runs), failed=failed)
    if not runs:
        return line
    # An overall score is told of a row that has all the tasks of the study, each with its metric there.
    whole = {f"{task}.{run.metrics(task)[0]}" for task, run in next(iter(runs.values())).items()} == every
    line.scored = scored(runs, formulas if whole else ())
    line.cells = {key: line.scored.cell(key) for key in line.scored.each}
    # The single-task runs of a seed are several: what they took adds up.
    spent = [[cost(run.results) for run in {id(run): run for run in each.values()}.values()]
             for each in runs.values()]
    line.cost = {key: float(np.mean([sum(each[key] for each in seed) for seed in spent]))
                 for key in ("seconds", "tokens")}
    line.cost["peak_memory_mb"] = max(each["peak_memory_mb"] for seed in spent for each in seed)
    return line


def _single(rows: Sequence[StudyRow], found: Found, formulas: Sequence[str], every: set[str],
            failures: Mapping[str, str]) -> Line | None:
    """Return the single-task runs as one row: for each seed that all of them have, each task's own."""
    if not rows:
        return None
    seeds = set.intersection(*({*found[row.name]} for row in rows))
    runs = {seed: {row.single: found[row.name][seed] for row in rows} for seed in seeds}
    said = "; ".join(f"{row.name}: {failures[row.name]}" for row in rows if row.name in failures)
    return _line(StudyRow(SINGLE, {}), runs, formulas, every, said)


def _differences(ours: Scored, theirs: Scored) -> dict[str, Difference]:
    return {key: ours.minus(theirs, key) for key in ours.each if key in theirs.each}


def _claim(key: str, value: float, line: Line, runs: Mapping[int, RunResults]) -> Claim:
    found = [measured(key, run, line.row.formula, line.row.claimed) for run in runs.values()]
    known = [each for each in found if each is not None]
    if not known or len(known) < len(found):
        return Claim(value, None)
    cell = line.cells.get(key.removeprefix("dev."))
    return Claim(value, float(np.mean(known)), cell.error if cell else None)


def _orders(lines: Sequence[Line]) -> list[Order]:
    made = []
    for key in dict.fromkeys(key for line in lines for key in line.claims):
        pairs = [(line, claim.claimed, claim.measured) for line in lines
                 if (claim := line.claims.get(key)) and claim.measured is not None]
        if len(pairs) > 1:
            correlation = rank_correlation([(a, b) for _, a, b in pairs])
            made.append(_order(key, [line for line, *_ in pairs], correlation))
    return made


def _order(key: str, lines: Sequence[Line], correlation: float | None) -> Order:
    """Look at every two rows that the paper puts in an order: is it found, by two standard errors?"""
    cell, agree, tie, against = key.removeprefix("dev."), 0, 0, []
    for pair in combinations([line for line in lines if cell in line.cells], 2):
        low, high = sorted(pair, key=lambda line: line.claims[key].claimed, reverse=less_is_better(cell))
        claimed = high.claims[key].claimed - low.claims[key].claimed
        if claimed == 0:
            continue
        difference = high.scored.minus(low.scored, cell)
        agree += difference.verdict == "better"
        tie += difference.verdict == "tie"
        if difference.verdict == "worse":
            against.append((high.row.name, low.row.name, claimed, difference))
    against.sort(key=lambda each: -abs(each[3].mean))
    return Order(key, len(lines), correlation, agree, tie, tuple(against))
