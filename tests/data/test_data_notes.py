"""What is left out, cut or too little is told before training, with file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import normalizers

from polytask.data.collate import InputLayout
from polytask.data.data_notes import (
    id_notes,
    left_out_notes,
    nul_notes,
    reading_of_nul,
    refusals,
    shared_notes,
    too_little_notes,
)
from polytask.data.dataset import load_task_data
from polytask.data.tokenization import Tokenizer
from small_data import letters, pair_task, single_task, store, write


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


def test_refused_rows_are_reported_with_their_lines(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text,label", *rows(60), *["a, b,1"] * 5, "x,NaN")
    write(tmp_path / "dev.csv", "text,label", *rows(60, 100))
    assert notes(tmp_path) == [
        "a train: 5 of 66 rows refused: 3 fields, expected 2 (train.csv:62, train.csv:63, train.csv:64, …)",
        'a train: 1 of 66 rows refused: no label ("NaN") (train.csv:67)']


def test_ids_that_cannot_tell_rows_apart_are_reported(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "key,text,label", *(f"k{n // 2},film {n},{n % 2}" for n in range(6)))
    write(tmp_path / "dev.csv", "key,text,label", "a,film x,0", ",film y,1")
    write(tmp_path / "test.csv", "id,text", "a,film x", "b,film y")
    loaded = {"t": load_task_data("t", single_task(id="key", test="test.csv"), store(tmp_path), 1)}
    assert id_notes(loaded) == [
        't train: 3 rows have an id seen before ("k0" in lines 2 and 3), so predictions cannot be told '
        "apart by it",
        "t dev: 1 row has no id (line 3); the number of the line stands for it",
        't test: there is no column "key" of ids, so the ids are those of column "id"']
    assert loaded["t"].dev.ids == ["a", "3"]
    without = single_task(test="test.csv")
    assert id_notes({"t": load_task_data("t", without, store(tmp_path), 1)}) == []


def test_cut_rows_and_unknown_tokens_are_reported(tmp_path: Path) -> None:
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
def test_too_little_is_reported(tmp_path: Path, train: list[str], dev: list[str], said: str) -> None:
    write(tmp_path / "train.csv", "text,label", *train)
    write(tmp_path / "dev.csv", "text,label", *dev)
    assert any(each.startswith(said) for each in notes(tmp_path))


def test_rows_of_dev_that_stand_in_train_are_reported(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "a,b,label", *(f"one {n},two {n},{n % 2}" for n in range(60)))
    write(tmp_path / "dev.csv", "a,b,label", *(f"three {n},four {n},{n % 2}" for n in range(58)),
          "two 7,one 7,1", "one 9,two 9,1")
    task = pair_task(test="train.csv")
    data = {"a": load_task_data("a", task, store(tmp_path), 1)}
    assert shared_notes(data) == [
        "a dev: 2 of 60 rows stand in train too (dev.csv:60 = train.csv:9, …), so scores on dev flatter "
        "the model; polytask check lists them",
        "a test: 60 of 60 rows stand in train too (train.csv:2 = train.csv:2, …), so scores on test "
        "flatter the model; polytask check lists them"]
    few = {"a": load_task_data("a", pair_task(limit=5), store(tmp_path), 1)}  # of the rows that are used
    assert len(shared_notes(few)) <= 1 and "dev: 2 of" not in "".join(shared_notes(few))


def test_dev_rows_carved_from_train_are_not_looked_for(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text,label", *rows(60), *rows(60))
    data = {"a": load_task_data("a", single_task(dev=0.5), store(tmp_path), 1)}
    assert shared_notes(data) == []


def test_nul_characters_are_reported_with_their_lines_and_what_becomes_of_them(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text,label", *rows(4), "go\0od,1", *rows(3), "\0,0", "bad\0,0", "a\0,1")
    write(tmp_path / "dev.csv", "text,label", *rows(3), "fi\0ne,1")
    data = {"a": load_task_data("a", single_task(), store(tmp_path), 1)}
    file = tmp_path / "letters.json"
    file.write_text(letters().to_str())
    assert nul_notes(data, file) == [
        "a train: 4 of 11 rows hold NUL characters (train.csv:6, train.csv:10, train.csv:11, …), "
        f"{reading_of_nul(file)}; is the file damaged, or in another encoding?",
        f"a dev: 1 of 4 rows holds NUL characters (dev.csv:5), {reading_of_nul(file)}; is the file "
        "damaged, or in another encoding?"]


@pytest.mark.parametrize(("normalizer", "becomes"), [
    (normalizers.BertNormalizer(), "drops"), (normalizers.Replace("\0", " "), "reads as blanks"),
    (normalizers.Lowercase(), "does not know")])
def test_what_becomes_of_a_nul_is_what_the_tokenizer_does(normalizer: Any, becomes: str) -> None:
    tokenizer = letters()
    tokenizer.normalizer = normalizer
    assert reading_of_nul(Tokenizer(tokenizer)) == f"which the tokenizer {becomes}"


def test_each_reason_has_its_lines() -> None:
    assert refusals("f.csv", [(2, "x"), (5, "y"), (7, "x")], 9) == [
        "2 of 9 rows refused: x (f.csv:2, f.csv:7)", "1 of 9 rows refused: y (f.csv:5)"]
    assert refusals("f.csv", [], 9) == []
