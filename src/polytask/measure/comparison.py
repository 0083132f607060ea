"""Finished runs of a study compared: means, standard errors, ties, claimed against measured.

The standard error of a score is that of its mean over seeds and dev rows: the spread over resampled
dev rows (the same rows for every run of the study, so that differences are paired) and, with two or
more seeds, the spread over seeds. A difference under two standard errors is called a tie.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.core.errors import ConfigError
from polytask.core.folders import RunFolder
from polytask.measure.study import Row, Study
from polytask.tasks.metrics import overall

Array = NDArray[np.float64]

RESAMPLES = 500
OVERALL = "overall"


@dataclass(frozen=True)
class Cell:
    """One score of one row: its mean over seeds, their deviation, and the standard error."""

    mean: float
    deviation: float
    error: float
    low: float
    high: float


@dataclass
class Compared:
    """One row of the result. `difference` is to the base row: (mean, standard error)."""

    row: Row
    seeds: list[int] = field(default_factory=list)
    cells: dict[str, Cell] = field(default_factory=dict)
    difference: tuple[float, float] | None = None
    seconds: float = 0.0
    tokens: int = 0
    memory: float = 0.0
    failed: str = ""
    claims: dict[str, tuple[float, float | None]] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Say whether the row is better or worse than the base row, or a tie with it."""
        if self.difference is None:
            return ""
        mean, error = self.difference
        return "tie" if abs(mean) < 2 * error else ("better" if mean > 0 else "worse")


@dataclass
class _Run:
    """What one finished run left: dev scores, and per task the labels of its dev rows."""

    results: dict[str, Any]
    dev: dict[str, tuple[Array, Array]]  # task -> (true, predicted), as numbers


def compare_runs(study: Study, rows: Sequence[Row], folders: Mapping[tuple[str, int], Path],
                 failures: Mapping[str, str]) -> list[Compared]:
    """Return a line a row. `folders`: (row name, seed) -> the folder of a finished run."""
    samples: dict[str, dict[str, Array]] = {}
    made = []
    for row in rows:
        found = {seed: _read(path) for (name, seed), path in folders.items() if name == row.name}
        line = Compared(row, sorted(found), failed=failures.get(row.name, ""))
        if found:
            runs = [found[seed] for seed in line.seeds]
            samples[row.name] = _resampled(runs)
            line.cells = _cells(runs, samples[row.name])
            line.seconds = float(np.mean([run.results.get("seconds", 0.0) for run in runs]))
            line.tokens = int(np.mean([run.results.get("tokens", 0) for run in runs]))
            line.memory = max(run.results.get("peak_memory_mb", 0.0) for run in runs)
            line.claims = {key: (value, _measured(key, runs)) for key, value in row.claimed.items()}
        made.append(line)
    _against(study.against, made, samples)
    return made


def _read(path: Path) -> _Run:
    folder = RunFolder(path)
    results = json.loads(folder.results.read_text())
    dev = {task: _labels(folder.predictions / f"{task}-dev.csv") for task in results["dev"]["scores"]}
    return _Run(results, dev)


def _labels(path: Path) -> tuple[Array, Array]:
    """Return true and predicted labels as numbers: a class stands for the number of its name."""
    with path.open(newline="", encoding="utf-8") as file:
        pairs = [(row["label"], row["prediction"]) for row in csv.DictReader(file)]
    try:
        return (np.array([float(a) for a, _ in pairs]), np.array([float(b) for _, b in pairs]))
    except ValueError:
        codes = {name: float(code) for code, name in enumerate(sorted({x for pair in pairs for x in pair}))}
        return (np.array([codes[a] for a, _ in pairs]), np.array([codes[b] for _, b in pairs]))


def _first_metric(run: _Run, task: str) -> tuple[str, float]:
    name, value = next(iter(run.results["dev"]["scores"][task].items()))
    return name, float(value or 0.0)


def _resampled(runs: Sequence[_Run]) -> dict[str, Array]:
    """Return for each task, and overall, the mean over seeds of its metric on resampled rows."""
    made: dict[str, Array] = {}
    names = {}
    for task in runs[0].dev:
        name = names[task] = _first_metric(runs[0], task)[0]
        chance = np.random.default_rng(20)  # the same rows for every run of the study
        size = len(runs[0].dev[task][0])
        picks = chance.integers(0, size, (RESAMPLES, size))
        made[task] = np.mean([_scores(name, *run.dev[task], picks) for run in runs], axis=0)
    unit = [(values + 1) / 2 if names[task] in ("pearson", "spearman") else values
            for task, values in made.items()]
    made[OVERALL] = np.mean(unit, axis=0)
    return made


def _scores(name: str, true: Array, predicted: Array, picks: NDArray[np.int64]) -> Array:
    """Return a metric on each resample: accuracy, or Pearson's r where labels are numbers."""
    if name != "pearson":
        made: Array = (true == predicted)[picks].mean(axis=1)
        return made
    a, b = true[picks], predicted[picks]
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.asarray(np.where(scale > 0, (a * b).sum(axis=1) / np.maximum(scale, 1e-12), 0.0))


def _cells(runs: Sequence[_Run], samples: Mapping[str, Array]) -> dict[str, Cell]:
    made = {}
    for key, values in samples.items():
        each = [_overall(run) if key == OVERALL else _first_metric(run, key)[1] for run in runs]
        deviation = float(np.std(each, ddof=1)) if len(each) > 1 else 0.0
        error = float(np.hypot(values.std(), deviation / np.sqrt(len(each))))
        low, high = np.percentile(values, [2.5, 97.5])
        made[key] = Cell(float(np.mean(each)), deviation, error, float(low), float(high))
    return made


def _overall(run: _Run) -> float:
    return overall("default", run.results["dev"]["scores"])


def _against(base: str, lines: Sequence[Compared], samples: Mapping[str, Mapping[str, Array]]) -> None:
    """Fill in the paired difference of each row to the base row."""
    held = next((line for line in lines if line.row.name == base and line.cells), None)
    if held is None:
        return
    for line in lines:
        own = samples.get(line.row.name)
        if line is held or not line.cells or own is None or len(own) != len(samples[base]):
            continue
        paired = float((own[OVERALL] - samples[base][OVERALL]).std())
        spread = [cell.deviation / np.sqrt(max(len(each.seeds), 1))
                  for each in (line, held) for cell in (each.cells[OVERALL],)]
        mean = line.cells[OVERALL].mean - held.cells[OVERALL].mean
        line.difference = (mean, float(np.sqrt(paired**2 + spread[0] ** 2 + spread[1] ** 2)))


def _measured(key: str, runs: Sequence[_Run]) -> float | None:
    """Return what was measured for a claimed key, or None where it cannot be."""
    split, _, rest = key.partition(".")
    task, _, name = rest.partition(".")
    values = []
    for run in runs:
        scores = run.results.get(split, {}).get("scores", {})
        try:
            value = overall(name, scores) if task == OVERALL else _entry(scores[task], name)
        except (KeyError, TypeError, ConfigError):
            return None
        if value is None:
            return None
        values.append(value)
    return float(np.mean(values)) if values else None


def _entry(scores: Mapping[str, Any], name: str) -> float | None:
    """Return `metric`, `metric.LABEL` or either with `_percent`."""
    metric, _, label = name.partition(".")
    factor = 100.0 if metric.endswith("_percent") else 1.0
    value = scores[metric.removesuffix("_percent")]
    value = value[label] if label else value
    return None if value is None else factor * float(value)


def rank_correlation(lines: Sequence[Compared], key: str) -> float | None:
    """Return Spearman's correlation of claimed and measured values over the rows that have both."""
    pairs = [(claim, found) for line in lines if key in line.claims
             for claim, found in (line.claims[key],) if found is not None]
    if len(pairs) < 3 or len({a for a, _ in pairs}) < 2 or len({b for _, b in pairs}) < 2:
        return None
    from scipy.stats import spearmanr

    return float(spearmanr(*zip(*pairs, strict=True)).statistic)
