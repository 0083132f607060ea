"""The labels of a task's splits: rows without one are counted, and a trained model's are kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from polytask.core.errors import DataError
from polytask.data.dataset import TaskData, load_task_data
from polytask.data.labels import Labels
from small_data import single_task, store, write


def loaded(folder: Path, known: Labels | None = None, **settings: object) -> TaskData:
    return load_task_data("a", single_task(**settings), store(folder), 1, known=known)


def test_rows_without_a_label_are_left_out_by_what_stands_there(tmp_path: Path) -> None:
    marks = ["NaN", "?", "\u3000", ""]
    write(tmp_path / "train.csv", "text,label", *(f"t {n},{n % 2}.0" for n in range(20)),
          *(f"x {n},{mark}" for n, mark in enumerate(marks)))
    made = loaded(tmp_path, dev=0.2)
    assert made.labels == Labels("binary", ("0", "1"))
    assert sorted(made.found["train"].refused) == [
        (22, 'no label ("NaN")'), (23, 'no label ("?")'), (24, "no label"), (25, "no label")]
    assert made.found["train"].unlabeled == 4


def test_rows_that_share_a_line_are_left_out_one_by_one(tmp_path: Path) -> None:
    rows = [json.dumps({"text": f"t {n}", "label": "n/a" if n == 3 else n % 2}) for n in range(20)]
    write(tmp_path / "train.json", f"[{', '.join(rows)}]")
    made = loaded(tmp_path, train="train.json", dev=0.2)
    assert made.found["train"].refused == ((4, 'no label ("n/a")'),) and len(made.found["train"]) == 19
    assert made.found["train"].ids[2:4] == ["3", "5"]


def test_a_word_that_is_taken_for_no_label_is_reported(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text,label",
          *(f"t {n},{('Favor', 'Against', 'None')[n % 3]}" for n in range(30)))
    made = loaded(tmp_path, dev=0.2)
    assert any('a: "None" is not read as a label' in note and "classes" in note for note in made.notes)
    kept = loaded(tmp_path, dev=0.2, classes=("Against", "Favor", "None"))
    assert kept.found["train"].unlabeled == 0 and not any("None" in note for note in kept.notes)


@pytest.mark.parametrize("cell", [["a", ""], ["a", None], "['a', '']", "['a', None]", "a||c", "a|"])
def test_an_empty_name_in_a_list_of_labels_is_left_out_with_a_note(tmp_path: Path, cell: object) -> None:
    cells = [cell, ["b"], ["a", "b"], ["a", "c"]] if isinstance(cell, list) else [cell, "a|b", "b|c", "a|c"]
    rows = [json.dumps({"text": f"t {n}", "label": cells[n % 4]}) for n in range(20)]
    write(tmp_path / "train.csv", *rows)
    found = loaded(tmp_path, dev=0.2)
    assert found.labels.classes == ("a", "b", "c")
    assert [note for note in found.notes if "empty name" in note] == [
        "a: an empty name stands among the labels of 5 rows "
        f"({json.dumps(cell) if isinstance(cell, list) else cell}) and is left out"]
    known = loaded(tmp_path, found.labels, dev=0.2)
    assert any("empty name" in note for note in known.notes)


@pytest.mark.parametrize("mark", ["-1", "?", "unknown"])
def test_a_test_file_with_one_unknown_value_is_unlabelled(tmp_path: Path, mark: str) -> None:
    write(tmp_path / "train.csv", "text,label", *(f"t {n},{n % 2}" for n in range(20)))
    write(tmp_path / "test.csv", "text,label", *(f"x {n},{mark}" for n in range(6)))
    made = loaded(tmp_path, dev=0.2, test="test.csv")
    assert len(made.splits["test"]) == 6 and made.splits["test"].targets is None
    assert any(f'has the label "{mark}"' in note and "unlabelled" in note for note in made.notes)


def test_rows_that_could_not_be_read_are_reported_where_one_label_is_left(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text,label", *(f"t {n},b" for n in range(9)), "well, fine,a")
    with pytest.raises(DataError) as caught:
        loaded(tmp_path, dev=0.2)
    assert str(caught.value).endswith(
        'train.csv: every row has the label "b", expected two or more different (1 of 10 rows is refused: '
        "line 11: 3 fields, expected 2)")


@pytest.mark.parametrize(("dev", "noted"), [([0, 40], True), ([0, 1.5, 2.9], False)])
def test_dev_labels_on_another_scale_are_noted(tmp_path: Path, dev: list[float], noted: bool) -> None:
    write(tmp_path / "train.csv", "text,label", *(f"t {n},{n / 20}" for n in range(60)))
    write(tmp_path / "dev.csv", "text,label", *(f"x {n},{value}" for n, value in enumerate(dev)))
    notes = [note for note in loaded(tmp_path).notes if "scale" in note]
    assert notes == ["a: 1 dev row of 2 has a label outside those of train (0 to 2.95), such as 40, so "
                     "the range "
                     "is 0 to 40; are they on another scale? range = [0, 3] refuses them"] * noted
    assert not any("scale" in note for note in loaded(tmp_path, range=(0, 40)).notes)


def test_an_unlabelled_dev_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text,label", *(f"t {n},{n % 2}" for n in range(20)))
    write(tmp_path / "dev.csv", "text,label", "x,-1", "y,-1")
    with pytest.raises(DataError, match=r'every row has the label "-1", which no training row has'):
        loaded(tmp_path)


def test_the_labels_of_a_trained_model_stay_as_they_are(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text,label", *(f"t {n},{n / 2}" for n in range(11)))
    write(tmp_path / "dev.csv", "text,label", "x,5", "y,2.5")
    known = Labels("regression", (), 0, 10)
    assert np.allclose(loaded(tmp_path, known).dev.targets, [0.5, 0.25])
    with pytest.raises(DataError, match=r"train.csv:\d+: label 4.5 is out of range, expected 0 to 4"):
        loaded(tmp_path, Labels("regression", (), 0, 4))
    with pytest.raises(DataError, match=r'label "0.0" is not a class, expected one of "lo", "high"'):
        loaded(tmp_path, Labels("binary", ("lo", "high")))
