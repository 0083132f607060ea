"""Several columns of 0 and 1 are one label: the list of those that hold 1."""

from __future__ import annotations

from pathlib import Path

import pytest

from polytask.core.errors import DataError
from polytask.data.cache import Cache
from polytask.data.dataset import TaskData, load_task_data
from polytask.data.label_cells import label_columns
from polytask.data.labels import Labels
from polytask.data.reading import NESTED_LABEL, Columns
from small_data import read_rows, single_task, store, write

COLUMNS = ("toxic", "obscene", "insult")


def loaded(folder: Path, *lines: str, **settings: object) -> TaskData:
    write(folder / "train.csv", "text,toxic,obscene,insult", *lines)
    return load_task_data("a", single_task(label=COLUMNS, **settings), store(folder), 1)


def test_the_columns_are_the_classes_in_their_order(tmp_path: Path) -> None:
    write(tmp_path / "dev.csv", "text,toxic,obscene,insult", "x,1,0,1", "y,0,0,0")
    data = loaded(tmp_path, "a,1,0,0", "b,0.0,1.0,1", "c,False,True,false", "d,0,0,0")
    assert data.labels == Labels("multi-label", COLUMNS)
    assert data.train.targets.tolist() == [[1, 0, 0], [0, 1, 1], [0, 1, 0], [0, 0, 0]]
    assert data.dev.raw_labels == ['["toxic", "insult"]', "[]"]
    assert data.counts == [1, 2, 1] and data.notes == ()


def test_rows_that_lack_a_label_are_left_out(tmp_path: Path) -> None:
    data = loaded(tmp_path, *(f"t {n},1,{n % 2},0" for n in range(20)), "x,,0,1", "y,NaN,0,1", "z,-1,-1,-1",
                  dev=0.2)
    assert [line for line, _ in data.found["train"].refused] == [22, 23, 24]
    assert data.found["train"].unlabeled == 3


def test_a_test_file_with_secret_labels_is_unlabelled(tmp_path: Path) -> None:
    write(tmp_path / "test.csv", "text,toxic,obscene,insult", "x,-1,-1,-1", "y,-1,-1,-1")
    data = loaded(tmp_path, *(f"t {n},1,{n % 2},0" for n in range(20)), dev=0.2, test="test.csv")
    assert len(data.splits["test"]) == 2 and data.splits["test"].targets is None


def test_a_cell_that_is_neither_is_reported_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        loaded(tmp_path, "a,1,0,0", "b,0,2,0", dev=0.5)
    assert 'train.csv:3: found "2" in column "obscene", expected 0 or 1' in str(caught.value)


def test_a_missing_column_is_reported(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text,toxic,insult", "a,1,0")
    with pytest.raises(DataError, match='there is no column "obscene"'):
        load_task_data("a", single_task(label=COLUMNS, dev=0.5), store(tmp_path), 1)


def test_one_column_stands_for_itself() -> None:
    assert single_task(label=("label",)).label == "label"
    assert label_columns("label") == ("label",) and label_columns(COLUMNS) == COLUMNS


def test_objects_and_lists_of_lists_are_not_labels(tmp_path: Path) -> None:
    lines = [f'{{"text": "t {n}", "label": ["{"ab"[n % 2]}"]}}' for n in range(20)]
    odd = ['{"text": "x", "label": {"a": 1}}', '{"text": "y", "label": [["a", 1]]}',
           '{"text": "z", "label": [{"a": 1}]}', '{"text": "e", "label": []}']
    write(tmp_path / "train.jsonl", *lines, *odd)
    rows = read_rows(tmp_path / "train.jsonl", Columns(("text",), "label"), Cache(tmp_path / "cache"))
    assert rows.refused == tuple((line, NESTED_LABEL) for line in (21, 22, 23)) and len(rows) == 21
    write(tmp_path / "none.jsonl", *odd[:3])
    with pytest.raises(DataError, match="3 rows has a label that is a name, a number or a list"):
        read_rows(tmp_path / "none.jsonl", Columns(("text",), "label"), Cache(tmp_path / "cache"))
