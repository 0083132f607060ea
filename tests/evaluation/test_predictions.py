"""Predictions read back: every row as it was written, or a sentence with the line that is damaged."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from polytask.core.errors import RunError
from polytask.data.labels import Labels
from polytask.evaluation.predictions import check_labels, encoded, read_predictions, scores_by_class


def write(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return path


def test_a_return_in_a_text_ends_no_row(tmp_path: Path) -> None:
    texts = ["a\rb", "c\r", "d\ne", "f\r\ng", 'h "i"\r', ""]
    with (tmp_path / "x-dev.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([["id", "text", "prediction"], *([n, text, "no"] for n, text in enumerate(texts))])
    found = read_predictions(tmp_path / "x-dev.csv", ["text"])
    assert [text for text, in found.texts] == texts and found.predicted == ["no"] * 6


def test_the_same_rows_have_one_fingerprint_whatever_is_predicted(tmp_path: Path) -> None:
    head = ["id", "text", "label", "prediction", "score"]
    first = read_predictions(write(tmp_path / "a.csv", [head, [1, "x", "yes", "yes", 0.9]]), ["text"])
    same = read_predictions(write(tmp_path / "b.csv", [head, [1, "x", "yes", "no", 0.1]]), ["text"])
    other = read_predictions(write(tmp_path / "c.csv", [head, [1, "y", "yes", "yes", 0.9]]), ["text"])
    assert first.fingerprint == same.fingerprint != other.fingerprint


def test_rows_without_a_label_are_left_out_and_a_text_column_keeps_its_name(tmp_path: Path) -> None:
    head = ["id", "prediction", "label", "prediction_", "score"]
    file = write(tmp_path / "a.csv", [head, [1, "a text", "yes", "no", 0.2], [2, "another", "", "no", 0.2]])
    found = read_predictions(file, ["prediction"])
    assert (found.texts, found.true, found.predicted) == ([("a text",)], ["yes"], ["no"])


@pytest.mark.parametrize(("content", "problem"), [
    ("id,text\n1,x\n", "has no column prediction"),
    ("id,prediction\n1\n", "line 2 has 1 cells; expected 2"),
    ("id,prediction\n1,yes", "line 2 is cut short"), ('id,prediction\n1,"y', "line 2 is not CSV")])
def test_a_damaged_file_is_refused_with_its_line(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(RunError, match=problem):
        read_predictions(tmp_path / "x.csv")


@pytest.mark.parametrize(("labels", "cell", "expected"), [
    (Labels("regression", (), 0, 5), "high", "a number"), (Labels("classes", ("a", "b")), "c", "a class"),
    (Labels("multi-label", ("a", "b")), "a|c", "a class")])
def test_labels_that_the_task_cannot_have_are_refused(
    tmp_path: Path, labels: Labels, cell: str, expected: str
) -> None:
    file = write(tmp_path / "x.csv", [["id", "label", "prediction"], [1, cell, cell]])
    with pytest.raises(RunError, match=f"row 1 has the label '.*'; expected {expected}"):
        check_labels(read_predictions(file), labels, file)


def test_a_class_with_a_bar_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    labels = Labels("multi-label", ("a", "a|b", "b"))
    file = write(tmp_path / "x-dev.csv", [
        ["id", "label", "prediction", "score"], [1, '["a|b"]', "a|b", "0 1 0"],
        [2, "[]", '["a", "a|b"]', "1 1 0"]])
    found = read_predictions(file, multi_label=True)
    check_labels(found, labels, file)
    assert encoded(found.true, labels).tolist() == [[0, 1, 0], [0, 0, 0]]
    assert encoded(found.predicted, labels).tolist() == [[1, 0, 1], [1, 1, 0]]


def test_labels_and_scores_are_arrays_as_metrics_take_them(tmp_path: Path) -> None:
    several, classes = Labels("multi-label", ("a", "b")), Labels("classes", ("a", "b", "c"))
    np.testing.assert_array_equal(encoded(["a|b", "", "b"], several), [[1, 1], [0, 0], [0, 1]])
    np.testing.assert_array_equal(encoded(["c", "a"], classes), [2, 0])
    np.testing.assert_array_equal(encoded(["2.5"], Labels("regression")), [2.5])
    file = write(tmp_path / "x.csv", [["id", "label", "prediction", "score", "probabilities"],
                                      [1, "a", "c", 0.5, "0.2 0.3 0.5"]])
    np.testing.assert_array_equal(scores_by_class(read_predictions(file), classes), [[0.2, 0.3, 0.5]])
    assert scores_by_class(read_predictions(file), several) is None
    assert scores_by_class(read_predictions(file), Labels("regression")) is None
