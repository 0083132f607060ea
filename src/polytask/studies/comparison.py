"""The finished runs of a study compared: scores, differences to the base row, gains, claims."""

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

RunsByRow = Mapping[str, Mapping[int, RunResults]]
"""Row name → seed → its finished run."""


@dataclass(frozen=True)
class Claim:
    """A claimed number and the measured one, None if it cannot be measured; `error` where it is known."""

    claimed: float
    measured: float | None
    error: float | None = None


@dataclass
class ComparedRow:
    """A row of a study: its scores, their differences to other rows, its cost."""

    row: StudyRow
    seeds: list[int] = field(default_factory=list)
    cells: dict[str, Cell] = field(default_factory=dict)
    differences: dict[str, Difference] = field(default_factory=dict)
    """To the base row."""
    gains: dict[str, Difference] = field(default_factory=dict)
    """Over the single-task runs."""
    cost: dict[str, float] = field(default_factory=dict)
    """Mean seconds and tokens of a run, and the peak memory."""
    seconds_by_machine: dict[str, float] = field(default_factory=dict)
    """The mean seconds of a run on each machine that trained some; a mean of two machines is no one's."""
    claims: dict[str, Claim] = field(default_factory=dict)
    failed: str = ""
    scored: Scored = field(default_factory=Scored, repr=False)


@dataclass(frozen=True)
class Order:
    """How well the rows reproduce the order that a paper claims, by one number."""

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
    lines: list[ComparedRow]
    keys: list[str]
    primary: str
    orders: list[Order]
    single: ComparedRow | None = None

    @property
    def failed(self) -> list[ComparedRow]:
        """The rows with a run that failed."""
        return [line for line in [*self.lines, *([self.single] if self.single else [])] if line.failed]


def compare(study: Study, rows: Sequence[StudyRow], folders: Mapping[tuple[str, int], Path],
            failures: Mapping[str, str]) -> Comparison:
    """Compare finished runs.

    `folders`: (row name, seed) → run folder; `failures`: row name → the last line of its log.
    """
    runs_by_row = {row.name: {seed: RunResults(path) for (name, seed), path in folders.items()
                              if name == row.name}
                   for row in rows}
    own = [row for row in rows if not row.single]
    formulas, keys = _scores(study, own, runs_by_row)
    task_keys = {key for key in keys if not key.startswith(f"{OVERALL}.")}
    lines = [_line(row, {seed: dict.fromkeys(run.tasks, run)
                         for seed, run in runs_by_row[row.name].items()},
                   formulas, task_keys, failures.get(row.name, "")) for row in own]
    single = _single([row for row in rows if row.single], runs_by_row, formulas, task_keys, failures)
    base = next((line for line in lines if line.row.name == study.against), None)
    for line in lines:
        if base is not None and line is not base:
            line.differences = _differences(line.scored, base.scored)
        if single is not None:
            line.gains = _differences(line.scored, single.scored)
        line.claims = {key: _claim(key, value, line, runs_by_row[line.row.name])
                       for key, value in line.row.claimed.items()}
    chosen = study.base_row.formula
    primary = chosen if chosen in keys else f"{OVERALL}.{formulas[0]}" if formulas else next(iter(keys), "")
    return Comparison(study, lines, keys, primary, _orders(lines), single)


def _scores(study: Study, rows: Sequence[StudyRow], runs_by_row: RunsByRow) -> tuple[list[str], list[str]]:
    """Return the study's overall formulas, the decisive one first, and all score keys."""
    metrics: dict[str, list[str]] = {}
    for row in rows:
        for run in runs_by_row[row.name].values():
            metrics |= {task: run.metrics(task) for task in run.tasks if task not in metrics}
    named = dict.fromkeys(task for row in rows for task in row.config.get("tasks", {}))
    known = {task: metrics[task] for task in named if task in metrics}
    own = [f"{task}.{names[0]}" for task, names in known.items()]
    claimed = [key.split(".", 2)[2] for row in rows for key in row.claimed
               if key.partition(".")[2].startswith(f"{OVERALL}.")]
    # A formula that is one task's own metric has its column already.
    formulas = [formula for formula in overall_formulas(study.base_row.formula, known, claimed)
                if formula not in own] if len(known) > 1 else []
    return formulas, [*own, *(f"{OVERALL}.{formula}" for formula in formulas)]


def _line(row: StudyRow, runs: Mapping[int, Mapping[str, RunResults]], formulas: Sequence[str],
          task_keys: set[str], failed: str) -> ComparedRow:
    line = ComparedRow(row, sorted(runs), failed=failed)
    if not runs:
        return line
    # Only a row with all the tasks of the study, each scored by its metric there, has an overall score.
    first = next(iter(runs.values()))
    complete = {f"{task}.{run.metrics(task)[0]}" for task, run in first.items()} == task_keys
    line.scored = scored(runs, formulas if complete else ())
    line.cells = {key: line.scored.cell(key) for key in line.scored.by_seed}
    # A seed has several single-task runs: their costs add up.
    costs = [[cost(run.results) for run in {id(run): run for run in by_task.values()}.values()]
             for by_task in runs.values()]
    line.cost = {key: float(np.mean([sum(run[key] for run in of_seed) for of_seed in costs]))
                 for key in ("seconds", "tokens")}
    line.cost["peak_memory_mb"] = max(run["peak_memory_mb"] for of_seed in costs for run in of_seed)
    seconds: dict[str, list[float]] = {}
    for by_task, of_seed in zip(runs.values(), costs, strict=True):
        machines = dict.fromkeys(run.results.get("machine", "") for run in by_task.values())
        seconds.setdefault("; ".join(machines), []).append(sum(run["seconds"] for run in of_seed))
    line.seconds_by_machine = {name: float(np.mean(values)) for name, values in seconds.items()}
    return line


def _single(rows: Sequence[StudyRow], runs_by_row: RunsByRow, formulas: Sequence[str],
            task_keys: set[str], failures: Mapping[str, str]) -> ComparedRow | None:
    """Return the single-task runs as one row: each task's own run, for each seed that all of them have."""
    if not rows:
        return None
    seeds = set.intersection(*({*runs_by_row[row.name]} for row in rows))
    runs = {seed: {row.single: runs_by_row[row.name][seed] for row in rows} for seed in seeds}
    failed = "; ".join(f"{row.name}: {failures[row.name]}" for row in rows if row.name in failures)
    return _line(StudyRow(SINGLE, {}), runs, formulas, task_keys, failed)


def _differences(ours: Scored, theirs: Scored) -> dict[str, Difference]:
    return {key: ours.minus(theirs, key) for key in ours.by_seed if key in theirs.by_seed}


def _claim(key: str, value: float, line: ComparedRow, runs: Mapping[int, RunResults]) -> Claim:
    by_seed = [measured(key, run, line.row.formula, line.row.claimed) for run in runs.values()]
    known = [number for number in by_seed if number is not None]
    if not known or len(known) < len(by_seed):
        return Claim(value, None)
    cell = line.cells.get(key.removeprefix("dev."))
    return Claim(value, float(np.mean(known)), cell.error if cell else None)


def _orders(lines: Sequence[ComparedRow]) -> list[Order]:
    orders = []
    for key in dict.fromkeys(key for line in lines for key in line.claims):
        pairs = [(line, claim.claimed, claim.measured) for line in lines
                 if (claim := line.claims.get(key)) and claim.measured is not None]
        if len(pairs) > 1:
            correlation = rank_correlation([(claimed, ours) for _, claimed, ours in pairs])
            orders.append(_order(key, [line for line, *_ in pairs], correlation))
    return orders


def _order(key: str, lines: Sequence[ComparedRow], correlation: float | None) -> Order:
    """Check for every two rows that the paper orders whether our difference confirms it."""
    cell, agree, tie, contradictions = key.removeprefix("dev."), 0, 0, []
    for pair in combinations([line for line in lines if cell in line.cells], 2):
        low, high = sorted(pair, key=lambda line: line.claims[key].claimed, reverse=less_is_better(cell))
        claimed = high.claims[key].claimed - low.claims[key].claimed
        if claimed == 0:
            continue
        difference = high.scored.minus(low.scored, cell)
        agree += difference.verdict == "better"
        tie += difference.verdict == "tie"
        if difference.verdict == "worse":
            contradictions.append((high.row.name, low.row.name, claimed, difference))
    contradictions.sort(key=lambda contradiction: -abs(contradiction[3].mean))
    return Order(key, len(lines), correlation, agree, tie, tuple(contradictions))
