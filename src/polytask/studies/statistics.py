"""Scores of finished runs with their uncertainty: dev rows drawn again, and the spread of the seeds.

Two sources of chance stand behind a dev score: which rows are in the dev set, and the seed of the
training. Rows: the predictions are scored again on `RESAMPLES` draws of the dev rows with
replacement, the same draws for every run that was scored on the same rows, so that of a difference
what the rows have in common cancels. Seeds: s / √n, of the differences seed by seed where two rows
have the same seeds. The two add up as variances. The few seeds of a study know their spread badly, so
a verdict asks Student's t, with the degrees of freedom of Welch and Satterthwaite; with one seed
nothing is known of the second source, and the error leaves it out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.metrics import METRICS, NAMED_SCORES, Formula, among, check_formula, overall
from polytask.metrics.registry import Array
from polytask.studies.run_results import Predicted, RunResults

Runs = Mapping[int, Mapping[str, RunResults]]
"""Seed → task → the run that answers it."""

RESAMPLES = 1000
# How likely two standard errors are between equals, where the error is well known.
TIE = math.erfc(math.sqrt(2))
OVERALL = "overall"
# Row numbers drawn at once, at most: what bounds the memory.
_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Cell:
    """One score: its mean over seeds, their deviation, the standard error, a 95 % interval."""

    mean: float
    deviation: float | None
    error: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """How much one score is above another, and the standard error of that."""

    mean: float
    error: float
    freedom: float = math.inf
    """Degrees of freedom of the error: few where few seeds make the most of it."""
    same_rows: bool = True
    """Whether both were scored on the same dev rows."""
    less_is_better: bool = False
    """Whether the score is an error."""

    @property
    def p(self) -> float:
        """The chance of a difference as large between equals, two-sided (Student's t)."""
        if self.error == 0:
            return float(self.mean == 0)
        from scipy.stats import t

        return float(2 * t.sf(abs(self.mean) / self.error, self.freedom))

    @property
    def verdict(self) -> str:
        """A difference of at most two standard errors is a tie; with few seeds, one as likely as that."""
        if self.p >= TIE:
            return "tie"
        return "better" if (self.mean > 0) != self.less_is_better else "worse"

    def told(self) -> dict[str, Any]:
        """Return it as data."""
        return {"mean": self.mean, "error": self.error, "p": self.p, "verdict": self.verdict,
                "same_rows": self.same_rows}


@dataclass
class Scored:
    """The scores of one row. Keys: "sst.accuracy" (a task's own metric), "overall.cs224n"."""

    seeds: list[int] = field(default_factory=list)
    each: dict[str, list[float]] = field(default_factory=dict)
    """A value a seed."""
    drawn: dict[str, Array] = field(default_factory=dict)
    """(RESAMPLES,) means over the seeds, of the rows drawn again."""
    rows: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Which dev rows a score is of."""

    def cell(self, key: str) -> Cell:
        each, drawn = np.asarray(self.each[key]), self.drawn[key]
        mean, seeds, freedom = float(each.mean()), *_of_seeds(each)
        wide = 0.0
        if len(each) > 1:
            from scipy.stats import t

            wide = float(t.ppf(0.975, freedom)) * seeds
        low, high = np.percentile(drawn, [2.5, 97.5])
        return Cell(mean, float(each.std(ddof=1)) if len(each) > 1 else None,
                    math.hypot(float(drawn.std()), seeds), mean - math.hypot(mean - float(low), wide),
                    mean + math.hypot(float(high) - mean, wide))

    def minus(self, other: Scored, key: str) -> Difference:
        """Return this score minus another's, paired over what they share."""
        ours, theirs = np.asarray(self.each[key]), np.asarray(other.each[key])
        rows = float((self.drawn[key] - other.drawn[key]).std())
        if self.seeds == other.seeds:
            parts = [(rows, math.inf), _of_seeds(ours - theirs)]
        else:
            parts = [(rows, math.inf), _of_seeds(ours), _of_seeds(theirs)]
        total = sum(error**2 for error, _ in parts)
        spent = sum(error**4 / freedom for error, freedom in parts)
        return Difference(float(ours.mean() - theirs.mean()), math.sqrt(total),
                          total**2 / spent if spent else math.inf,
                          self.rows.get(key) == other.rows.get(key), less_is_better(key))


def less_is_better(key: str) -> bool:
    """Return whether a key's metric ("dev.sts.mae", "sts.mae") is an error; overall scores are none."""
    *task, name = key.split(".")
    return task[-1:] != [OVERALL] and name in METRICS and METRICS[name].direction == "lower"


def _of_seeds(each: Array) -> tuple[float, float]:
    """Return the standard error that the seeds give to their mean, and its degrees of freedom."""
    count = len(each)
    return (float(each.std(ddof=1)) / math.sqrt(count), count - 1.0) if count > 1 else (0.0, math.inf)


def scored(runs: Runs, formulas: Iterable[str]) -> Scored:
    """Score the runs of one row: each task by its first metric, and overall by each formula."""
    seeds, formulas = sorted(runs), list(formulas)
    made = Scored(seeds)
    values = {seed: _values(runs[seed], formulas) for seed in seeds}
    drawn = {seed: _drawn(runs[seed], values[seed]) for seed in seeds}
    for task, run in runs[seeds[0]].items():
        name = run.metrics(task)[0]
        made.each[f"{task}.{name}"] = [values[seed][task][name] for seed in seeds]
        made.drawn[f"{task}.{name}"] = np.mean([drawn[seed][task][name] for seed in seeds], axis=0)
        made.rows[f"{task}.{name}"] = tuple(_rows(runs[seed][task], task) for seed in seeds)
    for formula in formulas:
        key = f"{OVERALL}.{formula}"
        made.each[key] = [overall(formula, values[seed]) for seed in seeds]
        made.drawn[key] = np.mean([combined(formula, drawn[seed]) for seed in seeds], axis=0)
        made.rows[key] = tuple(_rows(run, task) for seed in seeds for task, run in runs[seed].items())
    return made


def _rows(run: RunResults, task: str) -> int:
    found = run.predictions(task, "dev")
    return 0 if found is None else found.rows


def overall_formulas(formula: str, metrics: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the overall scores to tell of these tasks, the run's own first.

    `cs224n` and `mean` are both told where they differ, so that reports of either kind compare.
    """
    standard = check_formula("cs224n", metrics) is None and any(
        names[0] == "pearson" for names in metrics.values())
    if formula == "default" and standard and all(
            names[0] in ("accuracy", "pearson") for names in metrics.values()):
        formula = "cs224n"  # the same number under its own name
    wanted = [formula, *(("cs224n", "mean") if standard else ())]
    return [name for name in dict.fromkeys(wanted) if check_formula(name, metrics) is None]


def _values(runs: Mapping[str, RunResults], formulas: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return task → metric → value of what is needed: the first metric, and what formulas name."""
    made: dict[str, dict[str, float]] = {}
    for task, run in runs.items():
        scores = run.results["dev"]["scores"][task]
        first = next(iter(scores))
        named = {metric for formula in formulas if formula not in NAMED_SCORES
                 for each, name in Formula(formula, runs).terms if each == task
                 for metric in [among(name, scores)]}
        if "cs224n" in formulas and first not in ("accuracy", "pearson"):
            named.add("accuracy" if "accuracy" in scores else "pearson")
        made[task] = {name: float(scores[name] or 0.0) for name in [first, *sorted(named - {first})]}
    return made


def _drawn(runs: Mapping[str, RunResults],
           values: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, Array]]:
    made: dict[str, dict[str, Array]] = {}
    for task, run in runs.items():
        found = run.predictions(task, "dev")
        made[task] = {name: resampled(name, found) if found and found.serves(name)
                      else np.full(RESAMPLES, value) for name, value in values[task].items()}
    return made


def resampled(metric: str, found: Predicted) -> Array:
    """Return a metric on `RESAMPLES` draws of the rows with replacement."""
    predicted, true = found.coded
    if METRICS[metric].raw and found.unclipped is not None:
        predicted = found.unclipped
    chance, size = np.random.default_rng(found.rows), len(true)
    step, parts = max(1, _AT_ONCE // size), []
    for start in range(0, RESAMPLES, step):
        picks = chance.integers(0, size, (min(step, RESAMPLES - start), size))
        parts.append(_scores(metric, predicted, true, found.scores, picks))
    return np.concatenate(parts)


def _scores(metric: str, predicted: Array, true: Array, scores: Array | None,
            picks: NDArray[np.int64]) -> Array:
    if metric == "accuracy":
        same = predicted == true
        return np.asarray((same.all(-1) if same.ndim > 1 else same)[picks].mean(axis=1))
    if metric == "pearson":
        return _correlations(predicted[picks], true[picks])
    found = METRICS[metric]
    return np.array([0.0 if found.undefined(predicted[pick], true[pick])
                     else found.value(predicted[pick], true[pick], None if scores is None else scores[pick])
                     for pick in picks])


def _correlations(a: Array, b: Array) -> Array:
    """Return Pearson's r of each row of two matrices, 0 where one is constant."""
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.asarray(np.where(scale > 0, (a * b).sum(axis=1) / np.maximum(scale, 1e-300), 0.0))


def combined(formula: str, drawn: Mapping[str, Mapping[str, Array]]) -> Array:
    """Return an overall score of (draws,) values of each task's metrics."""
    if formula in NAMED_SCORES:
        return np.asarray(np.mean([_mapped(formula, values) for values in drawn.values()], axis=0))
    made = Formula(formula, drawn)
    size = len(next(iter(next(iter(drawn.values())).values())))
    return np.array([made.value(lambda task, name, at=at: float(drawn[task][among(name, drawn[task])][at]))  # type: ignore[misc]
                     for at in range(size)])


def _mapped(formula: str, values: Mapping[str, Array]) -> Array:
    name = next(iter(values))
    if formula == "mean":
        return values[name]
    if formula == "cs224n":
        name = "accuracy" if "accuracy" in values else "pearson"
    return np.array([METRICS[name].unit(value) for value in values[name]])


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Return Spearman's correlation; None with fewer than three pairs or a side that is constant."""
    if len(pairs) < 3 or any(len(set(side)) < 2 for side in zip(*pairs, strict=True)):
        return None
    from scipy.stats import spearmanr

    return float(spearmanr(*zip(*pairs, strict=True)).statistic)
