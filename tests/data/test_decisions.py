"""Decisions from probabilities and values, in numpy alone."""

from __future__ import annotations

import numpy as np
import pytest

from polytask.data.decisions import (
    above,
    chosen,
    clipped,
    joined_names,
    named,
    probabilities,
    split_names,
)
from polytask.data.labels import Labels

TWO = Labels("binary", ("no", "yes"))
THREE = Labels("classes", ("a", "b", "c"))
MANY = Labels("multi-label", ("x", "y"))


def test_a_number_for_two_classes_is_compared_with_the_threshold_or_a_half() -> None:
    positive = np.array([0.2, 0.5, 0.7])
    decision = chosen(positive, TWO, None)
    assert decision.labels.tolist() == [0, 1, 1]
    assert decision.probabilities is not None
    assert decision.probabilities.tolist() == [[0.8, 0.2], [0.5, 0.5], [1 - 0.7, 0.7]]
    assert chosen(positive, TWO, 0.6).labels.tolist() == [0, 0, 1]


def test_two_probabilities_are_compared_with_each_other_unless_a_threshold_was_fitted() -> None:
    both = np.array([[0.5, 0.5], [0.3, 0.7]])
    assert chosen(both, TWO, None).labels.tolist() == [0, 1]
    assert chosen(both, TWO, 0.8).labels.tolist() == [0, 0]
    assert chosen(both, TWO, 0.8).scores.tolist() == [0.5, 0.7]


def test_classes_take_the_largest_and_labels_each_what_passes() -> None:
    found = chosen(np.array([[0.1, 0.6, 0.3]]), THREE, None)
    assert (found.labels.tolist(), found.scores.tolist()) == ([1], [0.6])
    each = chosen(np.array([[0.4, 0.6]]), MANY, 0.35)
    assert each.labels.tolist() == [[1, 1]] and named(MANY, each.labels[0]) == "x|y"


def test_values_are_cut_off_at_the_ends_of_the_range() -> None:
    labels = Labels("regression", low=0, high=5)
    found = clipped(np.array([-1.0, 2.34567, 9.0]), labels)
    assert found.labels.tolist() == [0, 2.34567, 5] and found.scores.tolist() == [-1.0, 2.34567, 9.0]
    assert named(labels, found.labels[1]) == 2.3457 and probabilities(labels, found, 0) is None


def test_a_score_that_is_not_a_probability_has_none() -> None:
    found = above(np.array([0.4, 0.5]), None)
    assert found.labels.tolist() == [0, 1] and found.probabilities is None
    assert above(np.array([0.4, 0.5]), 0.45).labels.tolist() == [0, 1]


@pytest.mark.parametrize("names", [
    [], ["a"], ["a", "b"], ["a|b"], ["a|b", "c"],
    ['["a"]'], ["[]"], ["[a]", "b"], ["[1]"], ['say "a|b"', "é"]])
def test_labels_in_one_cell_are_read_back_as_they_were(names: list[str]) -> None:
    assert split_names(joined_names(names)) == names
    assert joined_names(["a", "b"]) == "a|b" and split_names("[]") == []
