"""The overall score of a run: named ones and formulas, what they are of, and what is refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytask.core.errors import ConfigError
from polytask.metrics import Formula, check_formula, has_value, overall, shown_scores

RESULTS = {
    "sst": {"accuracy": 0.534, "macro_f1": 0.4, "per_label_accuracy": {"0": 0.5}},
    "quora": {"accuracy": 0.889, "f1": 0.8},
    "msr-sts": {"pearson": 0.851, "mae": 0.5},
}


@pytest.mark.parametrize(("formula", "tasks", "shown"), [
    ("default", {"a": ["accuracy"], "b": ["macro_f1"]}, ["default"]),
    ("default", {"a": ["accuracy"], "b": ["pearson"]}, ["default", "mean"]),
    ("default", {"a": ["accuracy"], "b": ["mae"]}, ["default"]),
    ("mean", {"a": ["accuracy"], "b": ["pearson"]}, ["mean"]),
    ("cs224n", {"a": ["accuracy"], "b": ["pearson"]}, ["cs224n", "mean"]),
    ("cs224n", {"a": ["accuracy"], "b": ["accuracy"]}, ["cs224n"]),
    ("a.accuracy", {"a": ["accuracy"], "b": ["accuracy"]}, ["a.accuracy", "mean"]),
    ("c.accuracy", {"a": ["accuracy"]}, ["mean"]),
])
def test_the_scores_shown_are_the_runs_own_and_the_mean(formula: str, tasks: dict[str, list[str]],
                                                        shown: list[str]) -> None:
    assert shown_scores(formula, tasks) == shown


@pytest.mark.technique("T-5", "P-21", "S-23", "G-32")
def test_cs224n_and_mean_are_those_of_design() -> None:
    r = 0.851
    cs224n = (0.534 + 0.889 + (1 + r) / 2) / 3
    assert overall("cs224n", RESULTS) == pytest.approx(cs224n)
    assert overall("default", RESULTS) == pytest.approx(cs224n)
    assert overall("mean", RESULTS) == pytest.approx((0.534 + 0.889 + r) / 3)
    assert round(overall("cs224n", RESULTS), 3) == 0.783  # triple-threat's printed score


def test_the_first_metric_is_the_tasks_own_score() -> None:
    turned = RESULTS | {"msr-sts": {"mae": 0.5, "pearson": 0.851}}
    assert overall("default", turned) == pytest.approx((0.534 + 0.889 + 1 / 1.5) / 3)
    assert overall("cs224n", turned) == overall("cs224n", RESULTS)


@pytest.mark.parametrize(("formula", "expected"), [
    ("sst.accuracy", 0.534),
    ("(sst.accuracy + quora.accuracy + (1 + msr-sts.pearson) / 2) / 3",
     (0.534 + 0.889 + 1.851 / 2) / 3),
    ("-msr-sts.mae", -0.5),
    ("msr-sts.pearson-sst.accuracy", 0.851 - 0.534),
    ("min(sst.accuracy, quora.f1) * 2", 1.068),
    ("max(sst.accuracy, quora.f1)", 0.8),
    ("mean(sst.accuracy, quora.f1, 0)", (0.534 + 0.8) / 3),
    ("sst.accuracy / (msr-sts.mae - 0.5)", 0.0),
    ("1e999 * sst.accuracy", 0.0),
    ("1" * 400 + "* sst.accuracy", 0.0),
])
def test_any_arithmetic_over_the_metrics(formula: str, expected: float) -> None:
    assert overall(formula, RESULTS) == pytest.approx(expected)


def test_a_formula_that_divides_by_a_score_of_zero_has_no_value() -> None:
    assert not has_value("sst.accuracy / (msr-sts.mae - 0.5)", RESULTS)
    assert has_value("sst.accuracy - sst.accuracy", RESULTS) and has_value("default", RESULTS)


def test_a_task_may_be_called_what_python_keeps_for_itself() -> None:
    results = {"is": {"accuracy": 0.5}, "a": {"accuracy": 0.25}, "a-b": {"accuracy": 0.125}}
    assert overall("is.accuracy + a-b.accuracy - a.accuracy", results) == 0.375


def test_a_metric_without_a_value_counts_as_zero() -> None:
    assert overall("default", {"a": {"accuracy": None}, "b": {"accuracy": 0.5}}) == 0.25


@pytest.mark.parametrize(("formula", "said"), [
    ("cs224", '"cs224" is not a score; did you mean "cs224n"?'),
    ("sts2.pearson + sst.accuracy", 'there is no task "sts2"'),
    ("qora.accuracy", 'there is no task "qora"; did you mean "quora"?'),
    ("sst.acuracy", '"acuracy" is not a metric; did you mean "accuracy"?'),
    ("sst.pearson", 'task "sst" has no metric "pearson" (it has "accuracy", "macro_f1", '
                    '"per_label_accuracy"); add it to its metrics'),
    ("sst.per_label_accuracy", '"per_label_accuracy" is not one number'),
    ("0.5 + 0.5", "does not name a task.metric, so every model would score the same"),
    ("sst.accuracy / 0", "sst.accuracy / 0 divides by zero"),
    ("1 + quora.f1 / (2 - 2)", "quora.f1 / (2 - 2) divides by zero"),
    ("sst.accuracy / (1 / 0)", "divides by zero"),
    ("sst.accuracy +", "is not a formula; expected numbers and task.metric"),
    ("sst.accuracy ** 2", "sst.accuracy ** 2 is not allowed in a formula"),
    ("__import__('os').system('ls')", "is not allowed in a formula"),
    ("sst.accuracy if 1 else 2", "is not allowed in a formula"),
    ("abs(sst.accuracy)", "is not allowed in a formula"),
    ("min()", "is not allowed in a formula"),
    ("sst.accuracy.real", "is not allowed in a formula"),
    ("True + sst.accuracy", "is not allowed in a formula"),
    ("(" * 5000, "is not a formula"),
    ("", "is not a formula"),
])
def test_a_formula_that_cannot_be_is_refused(formula: str, said: str) -> None:
    found = check_formula(formula, {task: list(values) for task, values in RESULTS.items()})
    assert found is not None and said in found
    with pytest.raises(ConfigError):
        overall(formula, RESULTS)


def test_before_the_labels_are_known_any_metric_may_be_named() -> None:
    assert check_formula("sst.pearson", {"sst": None}) is None
    assert check_formula("default", {"sst": None}) is None
    assert check_formula("sst.persn", {"sst": None}) is not None


@pytest.mark.parametrize(("formula", "metrics", "said"), [
    ("mean", ["mae"], 'needs metrics where more is better, but "mae" of task "t" is an error'),
    ("default", ["per_label_accuracy"], 'needs one number as the first metric of task "t"'),
    ("cs224n", ["macro_f1"], 'needs accuracy or pearson of task "t"; add it to its metrics'),
])
def test_a_named_score_that_cannot_be_is_refused(
    formula: str, metrics: list[str], said: str
) -> None:
    found = check_formula(formula, {"t": metrics})
    assert found is not None and said in found


def test_the_terms_of_a_formula_are_known() -> None:
    assert Formula("a.mae / (b-c.f1 + 2)", ["a", "b-c"]).terms == [("a", "mae"), ("b-c", "f1")]


@given(st.text(alphabet="ab.()+-*/, 01minaccuracy_", max_size=30))
def test_no_text_breaks_the_reader(text: str) -> None:
    tasks = {"a": {"accuracy": 0.5}, "b": {"accuracy": 0.25}}
    try:
        value = overall(text, tasks)
    except ConfigError:
        return
    assert math.isfinite(value)
