"""Scores of finished runs with their uncertainty: resampled dev rows, and the spread over seeds.

A dev score depends on chance twice: on which rows are in the dev set, and on the seed of the training.
Rows: the predictions are scored again on `RESAMPLES` bootstrap samples of the dev rows, the same samples
for every run that was scored on the same rows, so that what two runs have in common cancels in their
difference. Seeds: s / √n, of the differences seed by seed where two rows have the same seeds. The two
add up as variances. A study's few seeds estimate their spread badly, so a verdict uses Student's t with
Welch and Satterthwaite's degrees of freedom; one seed says nothing of the second source, and the error
then leaves it out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.data.labels import Labels
from polytask.metrics import METRICS, NAMED_SCORES, Formula, among, check_formula, overall, shown_scores
from polytask.metrics.functions import is_constant
from polytask.metrics.registry import Array
from polytask.studies.run_results import LabelledPredictions, RunResults

Runs = Mapping[int, Mapping[str, RunResults]]
"""Seed → task → the run that was trained on it."""

RESAMPLES = 1000
# The chance of a difference beyond two standard errors between equals, where the error is well known.
TIE = math.erfc(math.sqrt(2))
OVERALL = "overall"
# Row numbers sampled at once, at most: this bounds the memory.
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
    """Degrees of freedom of the error: few where most of it comes from few seeds."""
    same_rows: bool = True
    """Whether both were scored on the same dev rows."""
    less_is_better: bool = False
    """Whether the score is an error, such as mae."""

    @property
    def p(self) -> float:
        """The chance of a difference as large between equals, two-sided (Student's t)."""
        if self.error == 0:
            return float(self.mean == 0)
        from scipy.stats import t

        return float(2 * t.sf(abs(self.mean) / self.error, self.freedom))

    @property
    def verdict(self) -> str:
        """A difference of up to two standard errors is a tie; with few seeds, one equally likely."""
        if not self.p < TIE:  # a p that is no number shows no difference
            return "tie"
        return "better" if (self.mean > 0) != self.less_is_better else "worse"

    def to_json(self) -> dict[str, Any]:
        """Return it as data for `results.json`."""
        return {"mean": self.mean, "error": self.error, "p": self.p, "verdict": self.verdict,
                "same_rows": self.same_rows}


@dataclass
class Scored:
    """The scores of one row. Keys: "sst.accuracy" (a task's own metric), "overall.cs224n"."""

    seeds: list[int] = field(default_factory=list)
    by_seed: dict[str, list[float]] = field(default_factory=dict)
    """One value per seed."""
    resampled: dict[str, Array] = field(default_factory=dict)
    """(RESAMPLES,) means over the seeds, on the resampled rows."""
    rows: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Fingerprints of the dev rows behind a score."""

    def cell(self, key: str) -> Cell:
        """Return the mean of a score with its uncertainty."""
        values, resampled = np.asarray(self.by_seed[key]), self.resampled[key]
        mean, seed_error, freedom = float(values.mean()), *_seed_error(values)
        margin = 0.0
        if len(values) > 1:
            from scipy.stats import t

            margin = float(t.ppf(0.975, freedom)) * seed_error
        low, high = np.percentile(resampled, [2.5, 97.5])
        return Cell(mean, float(values.std(ddof=1)) if len(values) > 1 else None,
                    math.hypot(float(resampled.std()), seed_error),
                    mean - math.hypot(mean - float(low), margin),
                    mean + math.hypot(float(high) - mean, margin))

    def minus(self, other: Scored, key: str) -> Difference:
        """Return this score minus another's, paired over what they share."""
        ours, theirs = np.asarray(self.by_seed[key]), np.asarray(other.by_seed[key])
        row_error = float((self.resampled[key] - other.resampled[key]).std())
        if self.seeds == other.seeds:
            errors = [(row_error, math.inf), _seed_error(ours - theirs)]
        else:
            errors = [(row_error, math.inf), _seed_error(ours), _seed_error(theirs)]
        variance = sum(error**2 for error, _ in errors)
        denominator = sum(error**4 / freedom for error, freedom in errors)
        return Difference(float(ours.mean() - theirs.mean()), math.sqrt(variance),
                          variance**2 / denominator if denominator else math.inf,
                          self.rows.get(key) == other.rows.get(key), less_is_better(key))


def less_is_better(key: str) -> bool:
    """Return whether a key's metric ("dev.sts.mae", "sts.mae") is an error; overall scores are none."""
    *task, name = key.split(".")
    return OVERALL not in task[:2] and name in METRICS and METRICS[name].direction == "lower"


def _seed_error(values: Array) -> tuple[float, float]:
    """Return the standard error of the mean over seeds, and its degrees of freedom."""
    count = len(values)
    return (float(values.std(ddof=1)) / math.sqrt(count), count - 1.0) if count > 1 else (0.0, math.inf)


def scored(runs: Runs, formulas: Iterable[str]) -> Scored:
    """Score the runs of one row: each task by its first metric, and overall by each formula."""
    seeds, formulas = sorted(runs), list(formulas)
    row = Scored(seeds)
    values = {seed: _values(runs[seed], formulas) for seed in seeds}
    resampled = {seed: _resampled(runs[seed], values[seed]) for seed in seeds}
    for task, run in runs[seeds[0]].items():
        name = run.metrics(task)[0]
        row.by_seed[f"{task}.{name}"] = [values[seed][task][name] for seed in seeds]
        row.resampled[f"{task}.{name}"] = np.mean([resampled[seed][task][name] for seed in seeds], axis=0)
        row.rows[f"{task}.{name}"] = tuple(_fingerprint(runs[seed][task], task) for seed in seeds)
    for formula in formulas:
        key = f"{OVERALL}.{formula}"
        row.by_seed[key] = [overall(formula, values[seed]) for seed in seeds]
        row.resampled[key] = np.mean([combined(formula, resampled[seed]) for seed in seeds], axis=0)
        row.rows[key] = tuple(_fingerprint(run, task) for seed in seeds for task, run in runs[seed].items())
    return row


def _fingerprint(run: RunResults, task: str) -> int:
    predictions = run.predictions(task, "dev")
    return 0 if predictions is None else predictions.fingerprint


def overall_formulas(formula: str, metrics: Mapping[str, Sequence[str]],
                     claimed: Iterable[str] = ()) -> list[str]:
    """Return the overall scores to show for these tasks: the run's own, the mean, and those `claimed`."""
    asked = [name for name in claimed if check_formula(name, metrics) is None]
    return list(dict.fromkeys([*shown_scores(formula, metrics), *asked]))


def _values(runs: Mapping[str, RunResults], formulas: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return task → metric → value of the metrics needed: the first one, and those that formulas name."""
    values: dict[str, dict[str, float]] = {}
    for task, run in runs.items():
        scores = run.results["dev"]["scores"][task]
        first = next(iter(scores))
        named = {metric for formula in formulas if formula not in NAMED_SCORES
                 for term_task, name in Formula(formula, runs).terms if term_task == task
                 for metric in [among(name, scores)]}
        if "cs224n" in formulas and first not in ("accuracy", "pearson"):
            named.add("accuracy" if "accuracy" in scores else "pearson")
        values[task] = {name: float(scores[name] or 0.0) for name in [first, *sorted(named - {first})]}
    return values


def _resampled(runs: Mapping[str, RunResults],
               values: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, Array]]:
    samples: dict[str, dict[str, Array]] = {}
    for task, run in runs.items():
        predictions = run.predictions(task, "dev")
        samples[task] = {name: resampled_scores(name, predictions)
                         if predictions is not None and predictions.serves(name)
                         else np.full(RESAMPLES, value) for name, value in values[task].items()}
    return samples


def resampled_scores(metric: str, predictions: LabelledPredictions) -> Array:
    """Return a metric on `RESAMPLES` bootstrap samples of the rows: (RESAMPLES,)."""
    predicted, true = predictions.encoded
    if METRICS[metric].raw and predictions.unclipped is not None:
        predicted = predictions.unclipped
    generator, size = np.random.default_rng(predictions.fingerprint), len(true)
    step, parts = max(1, _AT_ONCE // size), []
    for start in range(0, RESAMPLES, step):
        samples = generator.integers(0, size, (min(step, RESAMPLES - start), size))
        parts.append(_scores(metric, predicted, true, predictions.scores, samples, predictions.labels))
    return np.concatenate(parts)


def _scores(metric: str, predicted: Array, true: Array, scores: Array | None,
            samples: NDArray[np.int64], labels: Labels) -> Array:
    """Return a metric on samples of the rows, (samples, rows) row numbers; 0 where it is not defined."""
    if metric == "accuracy":
        same = predicted == true
        return np.asarray((same.all(-1) if same.ndim > 1 else same)[samples].mean(axis=1))
    if metric == "pearson":
        return _correlations(predicted[samples], true[samples])
    definition = METRICS[metric]
    undefined = definition.undefined_for(labels)
    values = np.array([0.0 if undefined(predicted[rows], true[rows])
                       else definition.value(predicted[rows], true[rows],
                                             None if scores is None else scores[rows])
                       for rows in samples])
    return np.where(np.isfinite(values), values, 0.0)


def _correlations(a: Array, b: Array) -> Array:
    """Return Pearson's r of each row of two matrices, 0 where one is constant."""
    constant = is_constant(a) | is_constant(b)
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.asarray(np.where(constant, 0.0, (a * b).sum(axis=1) / np.maximum(scale, 1e-300)))


def combined(formula: str, resampled: Mapping[str, Mapping[str, Array]]) -> Array:
    """Return an overall score, (samples,), from the (samples,) values of each task's metrics."""
    if formula in NAMED_SCORES:
        return np.asarray(np.mean([_mapped(formula, values) for values in resampled.values()], axis=0))
    parsed = Formula(formula, resampled)
    size = len(next(iter(next(iter(resampled.values())).values())))

    def at(place: int) -> float:
        return parsed.value(
            lambda task, name: float(resampled[task][among(name, resampled[task])][place])) or 0.0

    return np.array([at(place) for place in range(size)])


def _mapped(formula: str, values: Mapping[str, Array]) -> Array:
    name = next(iter(values))
    if formula == "mean":
        return values[name]
    if formula == "cs224n":
        name = "accuracy" if "accuracy" in values else "pearson"
    return np.array([METRICS[name].unit(value) for value in values[name]])


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Return Spearman's correlation; None with fewer than three pairs or with a constant side."""
    if len(pairs) < 3 or any(len(set(side)) < 2 for side in zip(*pairs, strict=True)):
        return None
    from scipy.stats import spearmanr

    return float(spearmanr(*zip(*pairs, strict=True)).statistic)
