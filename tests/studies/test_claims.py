"""Claimed numbers beside measured ones: counts compare by their shares."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from polytask.data.labels import Labels
from polytask.studies.claims import measured
from polytask.studies.run_results import LabelledPredictions

CLAIMED = {"dev.quora.confusion.0.0": 60.0, "dev.quora.confusion.0.1": 20.0,
           "dev.quora.confusion.1.0": 10.0, "dev.quora.confusion.1.1": 30.0, "dev.quora.accuracy": 0.75}


def run(true: str, predicted: str) -> Any:
    rows = LabelledPredictions(Labels("binary", ("0", "1")), list(true), list(predicted), None, 1)
    by_split = {("quora", "dev"): rows}
    return SimpleNamespace(predictions=lambda task, split: by_split.get((task, split)),
                           tasks={"quora": {}}, results={}, events=[])


@pytest.mark.technique("T-37")
def test_counts_of_a_confusion_are_scaled_to_as_many_rows_as_are_printed() -> None:
    made = run("0011" * 3, "0101" * 3)  # each cell a quarter of twelve rows, of 120 printed
    assert measured("dev.quora.confusion.0.1", made, "mean", CLAIMED) == pytest.approx(30.0)
    assert measured("dev.quora.confusion.0.1", made, "mean") == 3.0
    assert measured("dev.quora.label_share.1", made, "mean", CLAIMED) == 0.5


def test_without_predictions_there_is_no_count() -> None:
    assert measured("test.quora.confusion.0.1", run("01", "01"), "mean", CLAIMED) is None
