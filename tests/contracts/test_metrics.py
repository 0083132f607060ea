"""What every registered metric promises, for every kind of labels that it serves."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import pytest

from polytask.data.labels import Labels
from polytask.metrics import METRICS, Metric, measure
from polytask.metrics.registry import Array, metric

ROWS = 60
KINDS = {
    "classes": Labels("classes", ("a", "b", "c", "d", "e")),
    "ordinal": Labels("ordinal", ("bad", "fair", "good")),
    "binary": Labels("binary", ("no", "yes")),
    "regression": Labels("regression", low=0, high=5),
    "multi-label": Labels("multi-label", ("x", "y", "z")),
}
SERVED = [(METRICS[name], kind) for name in sorted(METRICS) for kind in KINDS
          if kind in METRICS[name].kinds]
Served = tuple[Metric, Labels]


@pytest.fixture(params=SERVED, ids=lambda s: f"{s[0].name}-{s[1]}")
def served(request: pytest.FixtureRequest) -> Served:
    found, kind = request.param
    return found, KINDS[kind]


def rows(labels: Labels, seed: int) -> tuple[Array, Array | None]:
    """Return random labels that all occur, and the scores of their classes."""
    chance = np.random.default_rng(seed)
    if labels.is_regression:
        return chance.uniform(labels.low, labels.high, ROWS), None
    if labels.kind == "multi-label":
        scores = chance.uniform(0, 1, (ROWS, labels.num_classes))
        return (scores >= 0.5).astype(np.int64), scores
    scores = chance.dirichlet(np.ones(labels.num_classes), ROWS)
    return scores.argmax(axis=1), scores


def certain(true: Array, labels: Labels) -> Array | None:
    """Return the scores of one who knows."""
    if labels.is_regression:
        return None
    return true.astype(float) if true.ndim > 1 else np.eye(labels.num_classes)[true]


def value(found: Metric, labels: Labels, predicted: Array, true: Array, scores: Array | None) -> float:
    """Return the metric on its unit scale; of one with a number a label, their mean."""
    measured = measure([found.name], predicted, true, labels, probabilities=scores).values[found.name]
    numbers = list(measured.values()) if isinstance(measured, Mapping) else [measured]
    assert found.scalar != isinstance(measured, Mapping)
    assert all(isinstance(number, float) for number in numbers)
    return float(np.mean([found.unit(float(number or 0.0)) for number in numbers]))


def test_every_metric_serves_something() -> None:
    assert {found.name for found, _ in SERVED} == set(METRICS)


def test_who_knows_scores_best_and_everybody_in_the_unit_interval(served: Served) -> None:
    found, labels = served
    true, _ = rows(labels, 0)
    best = value(found, labels, true, true, certain(true, labels))
    assert 0 <= best <= 1
    for seed in (1, 2, 3):
        predicted, scores = rows(labels, seed)
        assert 0 <= value(found, labels, predicted, true, scores) <= best


def test_the_order_of_the_rows_changes_nothing(served: Served) -> None:
    found, labels = served
    (predicted, scores), (true, _) = rows(labels, 1), rows(labels, 0)
    order = np.random.default_rng(5).permutation(ROWS)
    again = value(found, labels, predicted[order], true[order], None if scores is None else scores[order])
    assert again == pytest.approx(value(found, labels, predicted, true, scores), abs=1e-12)


def test_what_it_is_given_stays_as_it_was(served: Served) -> None:
    found, labels = served
    (predicted, scores), (true, _) = rows(labels, 1), rows(labels, 0)
    given = [each for each in (predicted, true, scores) if each is not None]
    before = [each.copy() for each in given]
    measure([found.name], predicted, true, labels, probabilities=scores)
    assert all(np.array_equal(one, other) for one, other in zip(given, before, strict=True))


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_and_equal_rows_give_a_value_or_a_note_and_no_warning(served: Served, count: int) -> None:
    found, labels = served
    true, scores = rows(labels, 0)
    for place in sorted(np.unique(true, axis=0, return_index=True)[1]):
        same = np.repeat(true[place:place + 1], count, axis=0)
        by_class = None if scores is None else np.repeat(scores[place:place + 1], count, axis=0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            measured = measure([found.name], same, same, labels, probabilities=by_class)
        result, why = measured.values[found.name], found.undefined_for(labels)(same, same) if count else ""
        if not count:
            assert result is None and measured.notes[0] == f"{found.name}: there are no rows"
        elif why:
            assert result == 0.0
            assert measured.notes[0].startswith(f"{found.name}: {why}, so it is not defined")
        else:
            assert None not in (result.values() if isinstance(result, Mapping) else [result])


def test_it_says_what_it_is(served: Served) -> None:
    found, labels = served
    (row,) = [row for row in metric.describe() if row["reference"] == found.name]
    assert row["doc"].endswith(".") and labels.kind in row["kinds"]
    assert row["direction"] in ("higher", "lower")
