"""The uncertainty of scores: resampled rows, few seeds, paired differences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy.stats import pearsonr, sem, ttest_ind, ttest_rel
from scipy.stats import t as student

from polytask.data.labels import Labels
from polytask.metrics import METRICS, check_formula
from polytask.metrics.registry import Metric
from polytask.studies import statistics
from polytask.studies.run_results import LabelledPredictions
from polytask.studies.statistics import (
    RESAMPLES,
    Difference,
    Scored,
    _correlations,
    _scores,
    combined,
    less_is_better,
    overall_formulas,
    resampled_scores,
    scored,
)


def test_resampled_scores_agree_with_numpy() -> None:
    chance = np.random.default_rng(1)
    true, predicted = chance.normal(size=80), chance.normal(size=80)
    picks = chance.integers(0, 80, (RESAMPLES, 80))
    ours = _scores("pearson", predicted, true, None, picks, Labels("regression"))
    theirs = [np.corrcoef(true[pick], predicted[pick])[0, 1] for pick in picks]
    np.testing.assert_allclose(ours, theirs, atol=1e-10)
    labels = chance.integers(0, 3, 80).astype(float)
    right = _scores("accuracy", np.zeros(80), labels, None, picks, Labels("classes", ("a", "b", "c")))
    np.testing.assert_allclose(right, [(labels[pick] == 0).mean() for pick in picks])


def test_a_sample_without_positives_counts_as_0_and_tells_nothing_apart() -> None:
    true, chances = np.array([0, 0, 0, 1]), np.array([0.1, 0.2, 0.3, 0.9])
    by_class = np.stack([1 - chances, chances], axis=1)
    picks = np.array([[0, 1, 2, 2], [0, 1, 2, 3]])
    found = _scores("average_precision", true, true, by_class, picks, Labels("binary", ("no", "yes")))
    assert found.tolist() == [0.0, 1.0]


def test_an_error_that_is_no_number_tells_nothing_apart() -> None:
    assert Difference(0.5, math.nan).verdict == Difference(-0.5, math.nan).verdict == "tie"


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_equal_rows_are_seldom_told_apart_however_few_the_seeds(seeds: int) -> None:
    chance = np.random.default_rng(4)
    flat = {"t.accuracy": np.zeros(RESAMPLES)}
    wrong = 0
    for _ in range(1500):
        a, b = (Scored(list(range(seeds)), {"t.accuracy": [*chance.normal(size=seeds)]}, flat)
                for _ in range(2))
        wrong += a.minus(b, "t.accuracy").verdict != "tie"
    assert wrong / 1500 < 0.062  # 4.6 % is what two standard errors promise; three sigma of 1,500 draws


def test_rows_and_seeds_add_up_and_one_seed_is_two_standard_errors() -> None:
    chance = np.random.default_rng(5)
    draws = {"t.accuracy": chance.normal(0, 0.03, RESAMPLES)}
    still = {"t.accuracy": np.zeros(RESAMPLES)}
    one = Scored([1], {"t.accuracy": [0.5]}, draws).minus(Scored([1], {"t.accuracy": [0.44]}, still),
                                                          "t.accuracy")
    assert one.error == pytest.approx(0.03, rel=0.1) and one.freedom == math.inf
    assert one.verdict == ("tie" if one.mean <= 2 * one.error else "better")
    ours, theirs = [0.50, 0.54, 0.52], [0.40, 0.46, 0.42]
    several = Scored([1, 2, 3], {"t.accuracy": ours}, still).minus(
        Scored([1, 2, 3], {"t.accuracy": theirs}, still), "t.accuracy")
    found = ttest_rel(ours, theirs)
    assert (several.p, several.freedom) == (pytest.approx(found.pvalue), pytest.approx(2))
    apart = Scored([1, 2, 3], {"t.accuracy": ours}, still).minus(
        Scored([4, 5, 6], {"t.accuracy": theirs}, still), "t.accuracy")
    assert apart.p == pytest.approx(ttest_ind(ours, theirs, equal_var=False).pvalue)


def test_of_errors_less_is_better() -> None:
    still = {"sts.mae": np.zeros(RESAMPLES) + np.arange(RESAMPLES) * 1e-6}
    few, many = Scored([1], {"sts.mae": [0.6]}, still), Scored([1], {"sts.mae": [0.9]}, still)
    assert (few.minus(many, "sts.mae").verdict, many.minus(few, "sts.mae").verdict) == ("better", "worse")
    assert check_formula("sts.mae", {"sts": ["mae"]}) == (
        '"sts.mae" is an error, where less is better; set score = "-sts.mae"')
    assert check_formula("-sts.mae", {"sts": ["mae"]}) is None


def test_a_formula_of_an_error_is_a_score_of_which_more_is_better() -> None:
    assert less_is_better("sts.mae") and less_is_better("dev.sts.mae")
    assert not less_is_better("overall.-sts.mae") and not less_is_better("dev.overall.-sts.mae")


def test_a_study_shows_the_scores_that_its_rows_claim() -> None:
    metrics = {"a": ["accuracy"], "b": ["pearson"]}
    assert overall_formulas("default", metrics) == ["default", "mean"]
    assert overall_formulas("mean", metrics, ["cs224n", "cs224n"]) == ["mean", "cs224n"]
    assert overall_formulas("mean", {"a": ["macro_f1"]}, ["cs224n"]) == ["mean"]


# ---- the scores of a row, on synthetic results

ROWS = 60


@dataclass
class Run:
    """What `scored` reads of a finished run."""

    results: dict[str, Any]
    labelled: dict[str, LabelledPredictions]

    def metrics(self, task: str) -> list[str]:
        return list(self.results["dev"]["scores"][task])

    def predictions(self, task: str, split: str) -> LabelledPredictions | None:
        assert split == "dev"
        return self.labelled.get(task)


def synthetic(seed: int, rows: int = ROWS, fingerprint: int = 7) -> Run:
    """A run of two tasks: three classes, and numbers whose scores often lie outside their range."""
    chance, truth = np.random.default_rng(seed), np.random.default_rng(99)
    classes, numbers = truth.integers(0, 3, rows), truth.uniform(0, 5, rows)
    chosen = np.where(chance.random(rows) < 0.6, classes, chance.integers(0, 3, rows))
    unclipped = numbers * 2 - 2.5 + chance.normal(0, 2, rows)
    three, stars = Labels("classes", ("0", "1", "2")), Labels("regression", low=0, high=5)
    labelled = {
        "a": LabelledPredictions(three, [*map(str, classes)], [*map(str, chosen)], None, fingerprint),
        "b": LabelledPredictions(stars, [*map(str, numbers)], [*map(str, unclipped.clip(0, 5))], None,
                                 fingerprint + 1, unclipped)}
    scores = {"a": {name: labelled["a"].metric(name) for name in ("accuracy", "macro_f1")},
              "b": {name: labelled["b"].metric(name) for name in ("pearson", "mae")}}
    return Run({"dev": {"scores": scores}}, labelled)


def picks(fingerprint: int, rows: int = ROWS) -> np.ndarray:
    return np.random.default_rng(fingerprint).integers(0, rows, (RESAMPLES, rows))


def by_hand(run: Run, metric: str) -> np.ndarray:
    """A metric of a synthetic run on the samples, by numpy."""
    if metric == "accuracy":
        predicted, true = run.labelled["a"].encoded
        return np.array([(predicted[pick] == true[pick]).mean() for pick in picks(7)])
    predicted, true = run.labelled["b"].encoded
    if metric == "mae":
        return np.array([np.abs(predicted[pick] - true[pick]).mean() for pick in picks(8)])
    unclipped = run.labelled["b"].unclipped
    return np.array([pearsonr(unclipped[pick], true[pick]).statistic for pick in picks(8)])


def scored_by_hand(runs: dict[int, Run], metric: str) -> np.ndarray:
    return np.mean([by_hand(run, metric) for run in runs.values()], axis=0)


def as_runs(runs: dict[int, Run]) -> Any:
    return {seed: {"a": run, "b": run} for seed, run in runs.items()}


def test_the_scores_of_a_row_are_those_of_each_seed_and_the_mean_over_seeds_on_each_sample() -> None:
    runs = {3: synthetic(3), 1: synthetic(1)}
    row = scored(as_runs(runs), [])
    assert row.seeds == [1, 3] and set(row.by_seed) == {"a.accuracy", "b.pearson"}
    for key in row.by_seed:
        task, metric = key.split(".")
        assert row.by_seed[key] == [runs[seed].results["dev"]["scores"][task][metric] for seed in (1, 3)]
        np.testing.assert_allclose(row.resampled[key], scored_by_hand(runs, metric), atol=1e-12)


def test_an_overall_score_on_the_samples_is_that_of_each_sample() -> None:
    runs = {1: synthetic(1), 2: synthetic(2)}
    formula = "a.accuracy - 0.1 * b.mae"
    row = scored(as_runs(runs), ["default", "mean", "cs224n", formula])
    accuracy, r, mae = (scored_by_hand(runs, metric) for metric in ("accuracy", "pearson", "mae"))
    expected = {"default": (accuracy + (1 + r) / 2) / 2, "cs224n": (accuracy + (1 + r) / 2) / 2,
                "mean": (accuracy + r) / 2, formula: accuracy - 0.1 * mae}
    for name, samples in expected.items():
        np.testing.assert_allclose(row.resampled[f"overall.{name}"], samples, atol=1e-12)
    scores = [runs[seed].results["dev"]["scores"] for seed in (1, 2)]
    assert row.by_seed["overall.default"] == pytest.approx(
        [(each["a"]["accuracy"] + (1 + each["b"]["pearson"]) / 2) / 2 for each in scores])
    assert row.by_seed[f"overall.{formula}"] == pytest.approx(
        [each["a"]["accuracy"] - 0.1 * each["b"]["mae"] for each in scores])


def test_an_error_counts_by_its_unit_on_the_samples() -> None:
    mae = np.array([0.0, 1.0, 3.0])
    np.testing.assert_allclose(combined("default", {"b": {"mae": mae}}), [1, 0.5, 0.25])
    np.testing.assert_allclose(combined("cs224n", {"b": {"mae": mae, "pearson": mae / 3}}), [0.5, 2 / 3, 1])
    assert combined("1 / b.mae", {"b": {"mae": mae}}).tolist() == [0, 1, pytest.approx(1 / 3)]


def test_a_score_that_is_not_defined_or_cannot_be_measured_again_has_no_spread() -> None:
    run = synthetic(1)
    run.results["dev"]["scores"]["a"] = {"macro_f1": None, "accuracy": 0.5}
    del run.labelled["a"]
    row = scored(as_runs({1: run}), ["a.accuracy"])
    assert row.by_seed["a.macro_f1"] == [0.0] and (row.resampled["a.macro_f1"] == 0).all()
    assert row.by_seed["overall.a.accuracy"] == [0.5] and (row.resampled["overall.a.accuracy"] == 0.5).all()


def test_differences_of_other_dev_rows_say_so() -> None:
    ours, same, other = (scored(as_runs({1: synthetic(seed, fingerprint=number)}), ["mean"])
                         for seed, number in ((1, 7), (2, 7), (3, 70)))
    for key in ("a.accuracy", "b.pearson", "overall.mean"):
        assert ours.minus(same, key).same_rows and not ours.minus(other, key).same_rows


def test_samples_are_the_same_however_many_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = synthetic(1).labelled["a"]
    whole = resampled_scores("accuracy", predictions)
    monkeypatch.setattr(statistics, "_AT_ONCE", 7 * ROWS)
    assert np.array_equal(resampled_scores("accuracy", predictions), whole)


def test_samples_on_which_a_metric_is_not_defined_count_as_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "most", Metric(
        "most", "", lambda predicted, true: 0.7, frozenset({"classes"}),
        undefined=lambda predicted, true: "no row is of the last class" if true.max() < 2 else None))
    predictions = synthetic(1, rows=3).labelled["a"]
    true = predictions.encoded[1]
    expected = [0.7 if (true[pick] == 2).any() else 0.0 for pick in picks(7, rows=3)]
    assert 0 < sum(value == 0 for value in expected) < RESAMPLES
    assert resampled_scores("most", predictions).tolist() == expected


def test_a_cell_has_the_spread_over_seeds_and_over_samples() -> None:
    values, flat = [0.50, 0.54, 0.58], np.full(RESAMPLES, 0.54)
    seeds = Scored([1, 2, 3], {"t.accuracy": values}, {"t.accuracy": flat}).cell("t.accuracy")
    assert (seeds.mean, seeds.deviation) == (pytest.approx(0.54), pytest.approx(np.std(values, ddof=1)))
    assert seeds.error == pytest.approx(sem(values))
    assert (seeds.low, seeds.high) == pytest.approx(student.interval(0.95, 2, loc=0.54, scale=sem(values)))
    draws = np.random.default_rng(3).gamma(2, 0.05, RESAMPLES)  # not symmetric
    one = Scored([1], {"t.accuracy": [0.1]}, {"t.accuracy": draws}).cell("t.accuracy")
    assert (one.deviation, one.error) == (None, pytest.approx(draws.std()))
    assert (one.low, one.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]))
    both = Scored([1, 2, 3], {"t.accuracy": values}, {"t.accuracy": draws + 0.44}).cell("t.accuracy")
    assert both.error == pytest.approx(math.hypot(seeds.error, one.error))
    assert both.high - 0.54 == pytest.approx(math.hypot(seeds.high - 0.54, one.high - 0.1))
    assert 0.54 - both.low == pytest.approx(math.hypot(0.54 - seeds.low, 0.1 - one.low))


def test_a_correlation_with_a_constant_is_0_whatever_rounding_leaves() -> None:
    constant, rising = np.full((1, 30), 0.1), np.arange(30.0)[None]
    for a, b in ((constant, constant), (constant, rising), (rising, constant)):
        assert _correlations(a, b).tolist() == [0.0]
    assert _correlations(rising, rising).tolist() == [pytest.approx(1.0)]
