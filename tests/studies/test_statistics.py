"""The uncertainty of scores: resampled rows, few seeds, paired differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel

from polytask.data.labels import Labels
from polytask.metrics import check_formula
from polytask.studies.statistics import (
    RESAMPLES,
    Difference,
    Scored,
    _scores,
    less_is_better,
    overall_formulas,
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
