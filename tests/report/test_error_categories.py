"""Errors fall into the categories of the reports."""

from __future__ import annotations

import pytest

from polytask.data.labels import Labels
from polytask.report import error_categories
from written_answers import answers


@pytest.mark.technique("T-38", "T-39", "T-40", "P-28", "S-28")
def test_errors_are_in_the_categories_of_the_reports() -> None:
    sst = error_categories.errors(answers(["0", "1", "4", "2", "3"], ["1", "0", "1", "2", "4"]),
                          Labels("ordinal", ("0", "1", "2", "3", "4")))
    assert {each.name: each.rows for each in sst} == {
        "over-predicted by 1": [0, 4], "under-predicted by 1": [1], "off by 2 or more": [2]}
    pairs = error_categories.errors(answers(["0", "1", "0"], ["1", "0", "0"], [0.9, 0.2, 0.3]),
                            Labels("binary", ("0", "1")))
    assert [(each.name, each.rows) for each in pairs] == [
        ('false positive: "0" taken for "1"', [0]), ('false negative: "1" taken for "0"', [1])]
    sts = error_categories.errors(answers(["1", "1", "4", "5", "2"], ["2.5", "4", "2.5", "1", "2.9"]),
                          Labels("regression", (), 0, 5))
    assert {each.name: each.rows for each in sts} == {
        "too high by 1 to 2": [0], "too high by more than 2": [1],
        "too low by 1 to 2": [2], "too low by more than 2": [3]}
    tags = error_categories.errors(answers(["a|b", "a", "", "b"], ["a", "a|c", "c", "b"]),
                           Labels("multi-label", ("a", "b", "c")))
    assert {each.name: sorted(each.rows) for each in tags} == {
        "labels missed": [0], "labels wrongly predicted": [1, 2]}
    barred = error_categories.errors(answers(['["a|b"]', "a|b"], ["a|b", "a"]),
                                     Labels("multi-label", ("a", "a|b", "b")))
    assert {each.name: each.rows for each in barred} == {"missed and wrong": [0], "labels missed": [1]}


@pytest.mark.technique("T-38", "T-46")
def test_classes_that_are_numbers_have_the_errors_of_an_order_crossed_with_the_true_class() -> None:
    sst = answers(["0", "1", "4", "2", "3", "10"], ["1", "0", "1", "2", "4", "4"])
    labels = Labels("classes", ("0", "1", "10", "2", "3", "4"))  # as text sorts them
    assert {each.name: each.rows for each in error_categories.errors(sst, labels)} == {
        "over-predicted by 1": [0, 4], "under-predicted by 1": [1, 5], "off by 2 or more": [2]}
    assert error_categories.by_true_class(sst, labels) == {
        "over-predicted by 1": [1, 0, 0, 0, 1, 0], "under-predicted by 1": [0, 1, 1, 0, 0, 0],
        "off by 2 or more": [0, 0, 0, 0, 0, 1]}
    words = Labels("classes", ("bad", "good", "mixed"))
    assert error_categories.ranks(words) == {} == error_categories.ranks(Labels("binary", ("0", "1")))
    assert error_categories.ranks(Labels("ordinal", ("low", "high"))) == {"low": 0, "high": 1}
