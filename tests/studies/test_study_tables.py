"""The sentences below a study's table."""

from __future__ import annotations

import pytest

from polytask.studies import tables
from polytask.studies.comparison import Order
from polytask.studies.statistics import Difference


@pytest.mark.parametrize(("count", "named", "remark"), [
    (5, 5, ""), (7, 5, ", of which the 5 widest are named")])
def test_contradictions_that_are_not_named_are_told(count: int, named: int, remark: str) -> None:
    pairs = tuple((f"a{number}", "b", 0.1, Difference(-0.2, 0.01)) for number in range(count))
    sentence = tables._order(Order("dev.overall.mean", 8, None, 1, 2, pairs))
    assert f"agreeing 1, tied 2, contradicting {count}{remark}: a0 is claimed 0.1 above b" in sentence
    assert sentence.count("is claimed") == named
