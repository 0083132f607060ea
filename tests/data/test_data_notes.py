"""What is left out, cut or too little is told before training, with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from polytask.data.collate import InputLayout
from polytask.data.data_notes import left_out_notes, refusals, too_little_notes
from polytask.data.dataset import load_task_data
from small_data import single_task, store, write


def notes(folder: Path, max_length: int = 64, **settings: object) -> list[str]:
    task = single_task(**settings)
    data = {"a": load_task_data("a", task, store(folder), 1)}
    layouts = {"a": InputLayout.of(task.chosen_pairing, max_length)}
    return [*left_out_notes(data, layouts), *too_little_notes(data)]


def rows(count: int, first: int = 0) -> list[str]:
    return [f"row {n},{n % 2}" for n in range(first, first + count)]


def test_a_whole_set_says_nothing(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text,label", *rows(60))
    write(tmp_path / "dev.csv", "text,label", *rows(60, 100))
    assert notes(tmp_path) == []


def test_refused_rows_are_told_with_their_lines(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text,label", *rows(60), *["a, b,1"] * 5, "x,NaN")
    write(tmp_path / "dev.csv", "text,label", *rows(60, 100))
    assert notes(tmp_path) == [
        "a train: 5 of 66 rows refused: 3 fields, expected 2 (train.csv:62, train.csv:63, train.csv:64, …)",
        'a train: 1 of 66 rows refused: no label ("NaN") (train.csv:67)']


def test_cut_rows_and_unknown_tokens_are_told(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text,label", *rows(40), *(f"{'long ' * 20},{n % 2}" for n in range(20)))
    write(tmp_path / "dev.csv", "text,label", *(f"好好好好 {n},{n % 2}" for n in range(60)))
    said = notes(tmp_path)
    assert said[0].startswith("a train: 20 of 60 rows (33.3%) are longer than 64 tokens and are cut")
    assert "a dev: " in said[1] and "of the tokens are unknown to the vocabulary" in said[1]
    assert len(said) == 2


@pytest.mark.parametrize(("train", "dev", "said"), [
    (rows(60), rows(8, 100), "a: dev has 8 rows, so one row moves an accuracy by 12 points"),
    ([*rows(60), "x,2"], rows(60, 100), 'a: class "2" has fewer than 5 dev rows'),
    (rows(60), [*rows(60, 100), "x,2", "y,3"], 'a: 2 classes ("2", "3") have no training row'),
])
def test_too_little_is_told(tmp_path: Path, train: list[str], dev: list[str], said: str) -> None:
    write(tmp_path / "train.csv", "text,label", *train)
    write(tmp_path / "dev.csv", "text,label", *dev)
    assert any(each.startswith(said) for each in notes(tmp_path))


def test_each_reason_has_its_lines() -> None:
    assert refusals("f.csv", [(2, "x"), (5, "y"), (7, "x")], 9) == [
        "2 of 9 rows refused: x (f.csv:2, f.csv:7)", "1 of 9 rows refused: y (f.csv:5)"]
    assert refusals("f.csv", [], 9) == []
