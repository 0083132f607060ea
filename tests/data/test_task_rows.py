"""Which rows are whose: files, a column of splits, a test file without labels, and what is said."""

from __future__ import annotations

from pathlib import Path

from polytask.data.dataset import load_task_data
from small_data import single_task, store, write

TRAIN = [f"it was a day {n},{'ab'[n % 2]},k{n}" for n in range(20)]


def test_all_rows_of_a_test_file_are_kept_for_prediction(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text,label,id", *TRAIN)
    write(tmp_path / "test.csv", "id,text,label", "7,so,a", "8,,", "9,it is,")
    data = load_task_data("a", single_task(dev=0.2, test="test.csv", id="id"), store(tmp_path), 3)
    assert data.splits["test"].ids == ["7"]
    assert data.predicted["test"].ids == ["7", "8", "9"] and data.predicted["test"].targets is None
    write(tmp_path / "test.csv", "text", "so", "it is")
    data = load_task_data("a", single_task(dev=0.2, test="test.csv", id="id"), store(tmp_path), 3)
    assert data.splits["test"].targets is None and data.predicted == {}


def test_test_rows_of_a_split_column_may_lack_labels(tmp_path: Path) -> None:
    rows = [f"{row},{'train' if n < 16 else 'dev'}" for n, row in enumerate(TRAIN)]
    write(tmp_path / "train.csv", "text,label,id,split", *rows, "so,,x,test", "it is,b,y,test")
    data = load_task_data("a", single_task(dev=None, split="split", id="id"), store(tmp_path), 3)
    assert data.splits["test"].ids == ["y"] and data.predicted["test"].ids == ["x", "y"]


def test_where_is_noted_and_passed_over_where_a_test_file_lacks_the_column(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text,label,id", *TRAIN, "one,-,k")
    write(tmp_path / "test.csv", "text", "so", "it is")
    task = single_task(dev=0.2, test="test.csv", where={"label": {"not": ["-"]}})
    data = load_task_data("a", task, store(tmp_path), 3)
    assert data.labels.classes == ("a", "b") and len(data.splits["test"]) == 2
    assert f"{tmp_path}/train.csv: 1 of 21 rows is skipped by where" in data.notes
