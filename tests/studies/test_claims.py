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


@pytest.mark.technique("T-22", "T-43")
def test_the_best_epoch_is_counted_from_one_and_a_loss_is_the_mean_of_the_last_epoch() -> None:
    events: list[dict[str, Any]] = []
    for epoch, score in enumerate((0.4, 0.7, 0.7)):
        events += [{"event": "step", "phase": 0, "epoch": epoch, "losses": {"quora": epoch + loss}}
                   for loss in (0.1, 0.3)]
        events.append({"event": "evaluation", "phase": 0, "epoch": epoch,
                       "dev": {"quora": {"accuracy": score}}})
    ended = SimpleNamespace(tasks={"quora": {}}, results={}, events=events)
    assert measured("run.best_epoch", ended, "mean") == 2.0  # the first of equals, whose model is kept
    assert measured("run.epochs", ended, "mean") == 3.0
    assert measured("train.quora.loss", ended, "mean") == pytest.approx(2.2)
    assert measured("dev.quora.loss", ended, "mean") is None


def test_without_predictions_there_is_no_count() -> None:
    assert measured("test.quora.confusion.0.1", run("01", "01"), "mean", CLAIMED) is None
