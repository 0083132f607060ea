"""Metrics against scikit-learn and scipy, undefined ones said, and the overall score of a run."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from polytask.core.errors import ConfigError
from polytask.data.labels import KINDS, Labels
from polytask.metrics import (
    DEFAULT_METRICS,
    METRICS,
    check_formula,
    find_metric,
    measure,
    metric,
    metrics_problem,
    overall,
)

FIVE = Labels("classes", ("0", "1", "2", "3", "4"))
TWO = Labels("binary", ("no", "yes"))
STARS = Labels("regression", low=0, high=5)
MANY = Labels("multi-label", ("a", "b", "c"))

RNG = np.random.default_rng(7)
CHOSEN, RIGHT = RNG.integers(0, 5, 200), RNG.integers(0, 5, 200)
YES, NO = (CHOSEN > 1).astype(int), (RIGHT > 2).astype(int)
NEAR, TRUE = RNG.uniform(0, 5, 200), RNG.uniform(0, 5, 200)
SETS, TRUE_SETS = RNG.integers(0, 2, (200, 3)), RNG.integers(0, 2, (200, 3))


@pytest.mark.technique("M-35", "G-29", "P-20", "S-22")
@pytest.mark.parametrize(("name", "predicted", "true", "expected"), [
    ("accuracy", CHOSEN, RIGHT, sk.accuracy_score(RIGHT, CHOSEN)),
    ("accuracy", SETS, TRUE_SETS, sk.accuracy_score(TRUE_SETS, SETS)),
    ("balanced_accuracy", CHOSEN, RIGHT, sk.balanced_accuracy_score(RIGHT, CHOSEN)),
    ("macro_f1", CHOSEN, RIGHT, sk.f1_score(RIGHT, CHOSEN, average="macro")),
    ("macro_f1", SETS, TRUE_SETS, sk.f1_score(TRUE_SETS, SETS, average="macro")),
    ("micro_f1", SETS, TRUE_SETS, sk.f1_score(TRUE_SETS, SETS, average="micro")),
    ("micro_f1", CHOSEN, RIGHT, sk.accuracy_score(RIGHT, CHOSEN)),
    ("weighted_f1", CHOSEN, RIGHT, sk.f1_score(RIGHT, CHOSEN, average="weighted")),
    ("macro_precision", CHOSEN, RIGHT, sk.precision_score(RIGHT, CHOSEN, average="macro")),
    ("macro_recall", SETS, TRUE_SETS, sk.recall_score(TRUE_SETS, SETS, average="macro")),
    ("f1", YES, NO, sk.f1_score(NO, YES)),
    ("precision", YES, NO, sk.precision_score(NO, YES)),
    ("recall", YES, NO, sk.recall_score(NO, YES)),
    ("mcc", CHOSEN, RIGHT, sk.matthews_corrcoef(RIGHT, CHOSEN)),
    ("quadratic_kappa", CHOSEN, RIGHT, sk.cohen_kappa_score(RIGHT, CHOSEN, weights="quadratic")),
    ("pearson", NEAR, TRUE, np.corrcoef(NEAR, TRUE)[0, 1]),
    ("spearman", NEAR, TRUE, stats.spearmanr(NEAR, TRUE)[0]),
    ("mae", NEAR, TRUE, sk.mean_absolute_error(TRUE, NEAR)),
    ("mae", CHOSEN, RIGHT, sk.mean_absolute_error(RIGHT, CHOSEN)),
    ("mse", NEAR, TRUE, sk.mean_squared_error(TRUE, NEAR)),
    ("rounded_accuracy", NEAR, TRUE, sk.accuracy_score(TRUE.round(), NEAR.round())),
])
def test_equals_scikit_learn_and_scipy(name: str, predicted: np.ndarray, true: np.ndarray,
                                       expected: float) -> None:
    assert METRICS[name].function(predicted, true) == pytest.approx(expected, abs=1e-12)


SHARES = RNG.dirichlet(np.ones(5), 200)
WIDE = RNG.dirichlet(np.ones(9), 200)
PAIRS = np.stack([1 - SHARES[:, 0], SHARES[:, 0]], axis=1)
ONE_HOT = np.eye(5)[RIGHT]


@pytest.mark.parametrize(("name", "true", "scores", "expected"), [
    ("roc_auc", NO, PAIRS, sk.roc_auc_score(NO, PAIRS[:, 1])),
    ("roc_auc", RIGHT, SHARES, sk.roc_auc_score(RIGHT, SHARES, multi_class="ovr", average="macro")),
    ("roc_auc", TRUE_SETS, SHARES[:, :3], sk.roc_auc_score(TRUE_SETS, SHARES[:, :3], average="macro")),
    ("average_precision", NO, PAIRS, sk.average_precision_score(NO, PAIRS[:, 1])),
    ("average_precision", RIGHT, SHARES, sk.average_precision_score(ONE_HOT, SHARES, average="macro")),
    ("average_precision", TRUE_SETS, SHARES[:, :3], sk.average_precision_score(TRUE_SETS, SHARES[:, :3])),
    ("top_3_accuracy", RIGHT, SHARES, sk.top_k_accuracy_score(RIGHT, SHARES, k=3)),
    ("top_5_accuracy", RIGHT, WIDE, sk.top_k_accuracy_score(RIGHT, WIDE, k=5, labels=range(9))),
])
def test_metrics_of_scores_equal_scikit_learn(name: str, true: np.ndarray, scores: np.ndarray,
                                              expected: float) -> None:
    assert METRICS[name].takes_scores
    assert METRICS[name].value(true * 0, true, scores) == pytest.approx(expected, abs=1e-12)


def test_a_class_without_rows_is_left_out_of_the_mean() -> None:
    some = RIGHT < 3
    found = METRICS["roc_auc"].value(RIGHT[some], RIGHT[some], SHARES[some])
    assert found == pytest.approx(np.mean([sk.roc_auc_score(RIGHT[some] == each, SHARES[some, each])
                                           for each in range(3)]))


def test_scores_are_probabilities_or_what_a_head_of_one_number_compares() -> None:
    cosines = SHARES[:, 0] * 2 - 1
    expected = sk.roc_auc_score(NO, cosines)
    assert measure(["roc_auc"], YES, NO, TWO, cosines).values["roc_auc"] == pytest.approx(expected)
    assert measure(["roc_auc"], YES, NO, TWO, None, PAIRS).values["roc_auc"] == pytest.approx(expected)
    without = measure(["roc_auc", "f1"], YES, NO, TWO)
    assert without.values == {"roc_auc": None, "f1": sk.f1_score(NO, YES)}
    assert without.notes[0] == "roc_auc: there is no score of each class to measure it on"


def test_the_positive_class_is_named_beside_its_metrics() -> None:
    assert measure(["accuracy", "f1", "recall"], YES, NO, TWO).notes == (
        'f1, recall: the positive class is "yes"',)
    assert measure(["accuracy"], YES, NO, TWO).notes == ()


@pytest.mark.parametrize(("wrong", "meant"), [
    ("matthews", "mcc"), ("auc", "roc_auc"), ("acc", "accuracy"), ("f1_macro", "macro_f1"), ("qwk",
    "quadratic_kappa"), ("pearsn", "pearson"), ("mean_squared_error", "mse"), ("sensitivity", "recall"),
])
def test_other_words_for_a_metric_suggest_it(wrong: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f'"{wrong}" is not a metric; did you mean "{meant}"'):
        find_metric(wrong)


@pytest.mark.parametrize("kinds", [(), ("clases",), ("binary", "numbers"), (len,)])
def test_a_metric_says_which_labels_it_serves(kinds: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"expected the kinds of labels it serves, such as @pk"):
        metric(*kinds)


def test_every_metric_stands_in_the_comparison() -> None:
    compared = {case[0] for test in (test_equals_scikit_learn_and_scipy,
                                     test_metrics_of_scores_equal_scikit_learn)
                for mark in test.pytestmark if mark.name == "parametrize" for case in mark.args[1]}
    assert compared | {"per_label_accuracy"} == {name for name in METRICS if ":" not in name}


def test_numbers_are_rounded_half_to_even() -> None:
    true = np.array([0.5, 1.5, 2.5, 4.5, 4.6])  # 0, 2, 2, 4, 5
    measured = measure(["per_label_accuracy", "rounded_accuracy"],
                       np.array([0.4, 2.4, 3.0, 3.6, 4.4]), true, STARS).values
    assert measured["rounded_accuracy"] == pytest.approx(3 / 5)
    assert measured["per_label_accuracy"] == {"0": 1.0, "2": 0.5, "4": 1.0, "5": 0.0}


def test_labels_that_went_through_float32_are_rounded_as_they_were_written() -> None:
    written = np.arange(0, 5.001, 0.1).round(1)
    kept = STARS.scaled(written).astype(np.float32).astype(np.float64)
    found = measure(["per_label_accuracy"], written, STARS.unscaled(kept), STARS).values
    assert found["per_label_accuracy"] == dict.fromkeys("012345", 1.0)


@pytest.mark.technique("G-37")
def test_per_label_accuracy_is_the_recall_of_each_class_by_its_name() -> None:
    labels = Labels("classes", tuple("abcde"))
    found = measure(["per_label_accuracy"], CHOSEN, RIGHT, labels).values["per_label_accuracy"]
    expected = sk.recall_score(RIGHT, CHOSEN, average=None)
    assert list(found) == list("abcde") and list(found.values()) == pytest.approx(list(expected))


def test_per_label_accuracy_of_multi_label_rows_is_by_label() -> None:
    found = measure(["per_label_accuracy"], SETS, TRUE_SETS, MANY).values["per_label_accuracy"]
    assert found["b"] == pytest.approx((SETS[:, 1] == TRUE_SETS[:, 1]).mean())


@pytest.mark.parametrize(("labels", "predicted", "true"), [
    (FIVE, np.zeros(4, int), np.array([0, 1, 2, 3])),
    (TWO, np.zeros(4, int), np.array([0, 1, 0, 1])),
    (TWO, np.zeros(4, int), np.zeros(4, int)),
    (Labels("ordinal", ("a", "b")), np.ones(3, int), np.ones(3, int)),
    (STARS, np.full(4, 2.31), np.array([0.0, 1, 2, 3])),
    (STARS, np.array([0.0, 1, 2, 3]), np.full(4, 2.0)),
    (STARS, np.array([1.0]), np.array([2.0])),
    (STARS, 2.5 + np.array([0, 1e-15, 0, 2e-15]), np.arange(4.0)),
    (MANY, np.zeros((3, 3), int), np.zeros((3, 3), int)),
    (MANY, np.zeros((3, 3), int), np.ones((3, 3), int)),
], ids=str)
def test_degenerate_rows_give_finite_numbers_without_a_warning(
    labels: Labels, predicted: np.ndarray, true: np.ndarray
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measured = measure(DEFAULT_METRICS[labels.kind], predicted, true, labels)
    json.dumps(measured.values, allow_nan=False)
    assert all(value is not None for value in measured.values.values())


def test_what_is_not_defined_counts_as_zero_and_is_reported() -> None:
    measured = measure(["pearson", "mae"], np.full(4, 2.5), np.arange(4.0), STARS)
    assert measured.values == {"pearson": 0.0, "mae": 1.25}  # 2.5, 1.5, 0.5, 0.5
    assert measured.notes == (
        "pearson: every prediction is 2.5, so it is not defined and counts as 0",)


def test_a_constant_class_is_reported_by_its_name() -> None:
    moods = Labels("classes", ("glad", "sad", "mad"))
    predicted, true = np.ones(3, int), np.array([0, 1, 2])
    assert measure(["mcc"], predicted, true, moods).notes == (
        'mcc: every prediction is "sad", so it is not defined and counts as 0',)
    assert measure(["mcc"], true, predicted, moods).notes == (
        'mcc: every label is "sad", so it is not defined and counts as 0',)


@pytest.mark.technique("M-4", "M-5")
def test_correlations_are_measured_before_predictions_are_clipped_and_errors_after() -> None:
    raw, true = np.array([-2.0, -1.0, 0.5, 7.0]), np.array([0.0, 1.0, 2.0, 5.0])
    clipped = np.clip(raw, 0, 5)
    names = ["pearson", "spearman", "mae", "mse", "rounded_accuracy"]
    found = measure(names, clipped, true, STARS, raw).values
    assert found["pearson"] == pytest.approx(np.corrcoef(raw, true)[0, 1])
    assert found["pearson"] != pytest.approx(np.corrcoef(clipped, true)[0, 1], abs=1e-3)
    assert found["spearman"] == pytest.approx(1.0)  # clipping ties the first two
    assert found["mae"] == np.abs(clipped - true).mean() and found["rounded_accuracy"] == 0.5
    assert measure(["mae"], CHOSEN, RIGHT, Labels("ordinal", tuple("abcde")), raw).values == (
        measure(["mae"], CHOSEN, RIGHT, Labels("ordinal", tuple("abcde"))).values)


def test_without_rows_there_is_no_value() -> None:
    measured = measure(["accuracy"], np.array([], int), np.array([], int), FIVE)
    assert measured.values == {"accuracy": None}
    assert measured.notes == ("accuracy: there are no rows",)


@pytest.mark.parametrize("kind", KINDS)
def test_the_default_metrics_serve_their_kind(kind: str) -> None:
    names = DEFAULT_METRICS[kind]
    assert metrics_problem(names, Labels(kind, ("a", "b"))) is None  # type: ignore[arg-type]
    assert METRICS[names[0]].scalar and METRICS[names[0]].direction == "higher"


def test_a_metric_that_cannot_serve_or_does_not_exist_is_refused() -> None:
    said = metrics_problem(["accuracy", "pearson"], FIVE)
    assert said is not None and said.startswith('metric "pearson" does not serve classes labels; '
                                                'expected one of "accuracy", "balanced_accuracy"')
    with pytest.raises(ConfigError, match='"acuracy" is not a metric; did you mean "accuracy"'):
        find_metric("acuracy")


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=20))
def test_units_are_shares_and_the_right_answer_is_the_best(rows: list[tuple[int, int]]) -> None:
    predicted, true = np.array([a for a, _ in rows]), np.array([b for _, b in rows])
    names = [name for name in DEFAULT_METRICS["ordinal"] if METRICS[name].scalar]
    labels = Labels("ordinal", tuple("abcde"))
    best = measure(names, true, true, labels).values
    for name, value in measure(names, predicted, true, labels).values.items():
        assert 0 <= METRICS[name].unit(value) <= 1 + 1e-12
        if name != "quadratic_kappa" or len(set(true)) > 1:
            assert METRICS[name].unit(value) <= METRICS[name].unit(best[name]) + 1e-12


def test_a_grade_that_does_not_occur_still_lies_between_its_neighbours() -> None:
    true, predicted = np.array([0, 0, 1, 1, 4, 4, 0, 1]), np.array([0, 1, 1, 4, 4, 1, 0, 1])
    by_chance = np.mean([(a - b) ** 2 for a in true for b in predicted])
    expected = 1 - np.mean((true - predicted) ** 2) / by_chance
    assert METRICS["quadratic_kappa"].function(predicted, true) == pytest.approx(expected)


def test_a_metric_of_ones_own_is_a_function() -> None:
    before = dict(METRICS)

    @metric("binary")
    def accuracy(predicted: np.ndarray, true: np.ndarray) -> float:
        """Share of the rows
        that were called positive.

        More."""
        return float(predicted.mean())

    try:
        name = metric.read(accuracy)
        assert name == f"{__name__}:{accuracy.__qualname__}"  # by its place: it hides none of ours
        assert measure([name, "accuracy"], YES, NO, TWO).values == {
            name: YES.mean(), "accuracy": sk.accuracy_score(NO, YES)}
        assert METRICS[name].doc == "Share of the rows that were called positive."
    finally:
        METRICS.clear()
        METRICS.update(before)


def test_a_metric_of_ones_own_is_named_in_a_formula_by_its_function() -> None:
    METRICS["my_parts:gain"] = METRICS["accuracy"]
    try:
        results = {"sst": {"my_parts:gain": 0.25, "accuracy": 0.5}}
        assert overall("sst.gain + sst.accuracy", results) == 0.75
        assert check_formula("sst.gain", {"sst": ["my_parts:gain"]}) is None
        assert check_formula("sst.gain", {"sst": ["accuracy"]}) is not None
    finally:
        del METRICS["my_parts:gain"]
