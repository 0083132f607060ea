"""Claimed numbers beside measured ones: counts compare by their shares."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from polytask.studies.claims import measured

CLAIMED = {"dev.quora.confusion.0.0": 60.0, "dev.quora.confusion.0.1": 20.0,
           "dev.quora.confusion.1.0": 10.0, "dev.quora.confusion.1.1": 30.0, "dev.quora.accuracy": 0.75}


def run(true: str, predicted: str) -> Any:
    found = SimpleNamespace(true=np.array(list(true), dtype=object),
                            predicted=np.array(list(predicted), dtype=object))
    held = {("quora", "dev"): found}
    return SimpleNamespace(predictions=lambda task, split: held.get((task, split)),
                           tasks={"quora": {}}, results={}, events=list)


@pytest.mark.technique("T-37")
def test_counts_of_a_confusion_are_scaled_to_as_many_rows_as_are_printed() -> None:
    made = run("0011" * 3, "0101" * 3)  # each cell a quarter of twelve rows, of 120 printed
    assert measured("dev.quora.confusion.0.1", made, "mean", CLAIMED) == pytest.approx(30.0)
    assert measured("dev.quora.confusion.0.1", made, "mean") == 3.0
    assert measured("dev.quora.label_share.1", made, "mean", CLAIMED) == 0.5


def test_without_predictions_there_is_no_count() -> None:
    assert measured("test.quora.confusion.0.1", run("01", "01"), "mean", CLAIMED) is None
