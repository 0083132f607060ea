"""A task's files become splits: labelled, limited, carved, and told by line where they are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from polytask.core.errors import DataError, PolytaskError
from polytask.data import dataset, splits
from polytask.data.cache import Cache
from polytask.data.collate import InputLayout, collate
from polytask.data.dataset import DatasetStore, load_task_data
from polytask.data.labels import Labels
from polytask.data.tokenization import Tokenizer
from polytask.model.pairings.bi_encoder import BiEncoder
from polytask.model.pairings.cross_encoder import CrossEncoder
from small_data import letters, pair_task, single_task, store, write


def numbered(folder: Path, name: str, rows: int, labels: int = 2) -> Path:
    return write(folder / name, "id,text,label",
                 *(f"r{n},sentence number {n},{n % labels}" for n in range(rows)))


def test_splits_have_their_rows_targets_and_tokens(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "id,a,b,label", "x,one,two,1.0", "y,three,four,", "z,five,six,0.0")
    write(tmp_path / "dev.csv", "id,a,b,label", "w,six,seven,1")
    write(tmp_path / "test.csv", "a,b", "eight,nine", ",")
    made = load_task_data("t", pair_task(test="test.csv", id="id"), store(tmp_path), seed=1)
    assert made.labels == Labels("binary", ("0", "1"))
    assert made.train.ids == ["x", "z"] and made.train.lines.tolist() == [2, 4]
    assert made.train.texts() == [("one", "two"), ("five", "six")]
    assert made.train.targets is not None and made.train.targets.tolist() == [1, 0]
    assert made.train.raw_labels == ["1.0", "0.0"]
    assert made.counts == [1, 1]
    assert made.found["train"].refused == ((3, "no label"),)
    test = made.splits["test"]
    assert test.targets is None and test.ids == ["2"] and test.rows.refused == ((3, "no text"),)
    # The draw's rows are the split's, though the file has one more between them.
    layout = InputLayout.of(CrossEncoder(), 64)
    batch = collate([made.train.select("t", layout, np.array([1]))], made.train.special_tokens)
    whole = letters()
    whole.no_padding()
    whole.no_truncation()
    assert batch.ids.tolist() == whole.encode("five", "six").ids
    assert made.train.lengths(layout).kept.tolist() == [[9], [10]]


def test_a_column_says_the_splits_of_one_file(tmp_path: Path) -> None:
    words = ("train", "Validation", "TEST ", "training")
    write(tmp_path / "all.csv", "id,text,label,part",
          *(f"r{n},sentence number {n},{n % 2},{words[n % 4]}" for n in range(12)), "r12,last,,test")
    made = load_task_data("t", single_task(train="all.csv", dev=None, split="part", id="id"),
                          store(tmp_path), 1)
    assert {name: part.ids for name, part in made.splits.items()} == {
        "train": ["r0", "r3", "r4", "r7", "r8", "r11"], "dev": ["r1", "r5", "r9"],
        "test": ["r2", "r6", "r10"]}
    # Where it names no dev rows, they are carved.
    write(tmp_path / "two.csv", "text,label,part",
          *(f"sentence number {n},{n % 2},{'test' if n % 4 == 0 else 'train'}" for n in range(40)))
    carved = load_task_data("t", single_task(train="two.csv", dev=0.2, split="part"), store(tmp_path), 1)
    assert {name: len(part) for name, part in carved.splits.items()} == {"train": 24, "dev": 6, "test": 10}


def test_rows_of_a_file_with_several_tasks_are_skipped_where_their_label_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "train.csv", "text,mood,stars", "a b c,good,1.5", "b c d,,4.5", "c d e,bad,",
          "d e f,good,2")
    read, parsed = dataset.read_file, []
    monkeypatch.setattr(dataset, "read_file",
                        lambda *args: parsed.append(args[0]) or read(*args))
    shelf = store(tmp_path)
    mood = load_task_data("mood", single_task(label="mood", dev="train.csv"), shelf, 1)
    stars = load_task_data("stars", single_task(label="stars", dev="train.csv"), shelf, 1)
    assert len(parsed) == 1
    assert mood.train.columns[0] is stars.train.columns[0]
    assert mood.train.lines.tolist() == [2, 4, 5] and mood.labels.classes == ("bad", "good")
    assert stars.train.lines.tolist() == [2, 3, 5] and stars.labels.is_regression


def test_dev_rows_are_carved_before_the_limit_draws(tmp_path: Path) -> None:
    numbered(tmp_path, "train.csv", 200)
    shelf = store(tmp_path)
    whole = load_task_data("t", single_task(dev=0.2, id="id"), shelf, 7)
    few = load_task_data("t", single_task(dev=0.2, id="id", limit=30, dev_limit=10), shelf, 7)
    default = load_task_data("t", single_task(dev=None, id="id"), shelf, 7)
    assert (len(whole.train), len(whole.dev)) == (160, 40)
    assert set(whole.train.ids) | set(whole.dev.ids) == {f"r{n}" for n in range(200)}
    assert np.bincount(whole.dev.targets).tolist() == [20, 20]
    assert len(few.train) == 30 and set(few.train.ids) <= set(whole.train.ids)
    assert len(few.dev) == 10 and set(few.dev.ids) <= set(whole.dev.ids)
    assert len(default.dev) == 20
    assert load_task_data("t", single_task(dev=0.2, id="id"), shelf, 8).dev.ids != whole.dev.ids


def test_the_hashes_of_a_large_file_are_kept_and_carve_the_same_rows(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbered(tmp_path, "two.csv", 40)

    def carved() -> list[list[int]]:
        data = load_task_data("t", single_task(train="two.csv", dev=0.2), store(tmp_path), 1)
        return [part.rows.index.tolist() for part in data.splits.values()]

    expected = carved()
    monkeypatch.setattr(dataset, "_MANY", 40)
    assert carved() == expected
    (kept,) = store(tmp_path).cache.folder.glob("hashes/*/hashes.npy")
    hashed = []
    monkeypatch.setattr(splits, "text_hashes", lambda *given: hashed.append(given))
    assert carved() == expected
    assert hashed == []
    monkeypatch.undo()
    monkeypatch.setattr(dataset, "_MANY", 40)
    kept.write_bytes(kept.read_bytes()[:-8])
    assert carved() == expected


def test_dev_rows_are_drawn_by_a_seed_of_their_own(tmp_path: Path) -> None:
    numbered(tmp_path, "train.csv", 80)
    shelf = store(tmp_path)
    for task in (single_task(dev=0.25), single_task(dev=0.5, dev_limit=10)):
        a, b = (load_task_data("t", task, shelf, seed, dev_seed=7) for seed in (1, 2))
        assert a.dev.ids == b.dev.ids and a.train.ids == b.train.ids
        assert load_task_data("t", task, shelf, 1, dev_seed=8).dev.ids != a.dev.ids
    limited = [load_task_data("t", single_task(dev=0.25, limit=20), shelf, seed, 7) for seed in (1, 2)]
    assert limited[0].train.ids != limited[1].train.ids and limited[0].dev.ids == limited[1].dev.ids


def test_a_label_seen_in_dev_alone_is_a_class_or_in_the_range(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text,label", "a,1", "b,2")
    write(tmp_path / "dev.csv", "text,label", "c,3")
    assert load_task_data("t", single_task(), store(tmp_path), 1).counts == [1, 1, 0]
    write(tmp_path / "train.csv", "text,label", "a,1.5", "b,2")
    write(tmp_path / "dev.csv", "text,label", "c,7")
    made = load_task_data("t", single_task(), store(tmp_path), 1)
    assert made.labels.low <= 1.5 and made.labels.high >= 7


def test_labels_that_are_not_numbers_are_refused_and_counted(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text,label", *(f"t{n},{n / 8}" for n in range(40)), "x,n/a", "y,good")
    write(tmp_path / "dev.csv", "text,label", "c,0.5", "d,?")
    made = load_task_data("t", single_task(), store(tmp_path), 1)
    assert made.found["train"].refused == ((42, 'no label ("n/a")'), (43, "a label that is not a number"))
    assert made.found["dev"].refused == ((3, 'no label ("?")'),)
    assert (len(made.train), len(made.dev)) == (40, 1)


BAD = {
    "train file": ({"train": "trian.csv"},
                   'tasks.t.train: {0}/trian.csv: there is no such file; did you mean "train.csv"?'),
    "dev file": ({"dev": "x.csv"}, "tasks.t.dev: {0}/x.csv: there is no such file"),
    "text column": ({"text": "txt"}, '{0}/train.csv: tasks.t.text: there is no column "txt";'
                                     ' did you mean "text"?'),
    "label column": ({"label": "lable"}, '{0}/train.csv: tasks.t.label: there is no column "lable";'
                                         ' did you mean "label"?'),
    "id column": ({"id": "no"}, '{0}/train.csv: tasks.t.id: there is no column "no"'),
    "out of range": ({"range": (0, 2)}, "{0}/train.csv:5: label 3 is out of range, expected 0 to 2"),
    "no class": ({"classes": ("0", "1", "2")},
                 '{0}/train.csv:5: label "3" is not a class, expected one of "0", "1", "2"'),
    "too few to carve": ({"train": "few.csv", "dev": 0.1},
                         "{0}/few.csv: 2 rows are too few to carve a dev split of 0.1 from"),
    "too few texts to carve": ({"train": "twins.csv", "dev": 0.1},
                               "{0}/twins.csv: 2 different texts in 400 rows (rows with one text stay "
                               "together) are too few to carve a dev split of 0.1 from"),
    "split column": ({"split": "prat", "dev": None},
                     '{0}/train.csv: tasks.t.split: there is no column "prat"'),
    "split words": ({"split": "text", "dev": None},
                    '{0}/train.csv:2: tasks.t.split: found "sentence number 0" in column "text", expected '
                    "one of train, training, dev"),
    "a range of words": ({"train": "words.csv", "range": (0, 1)}, "{0}/words.csv: none of its 2"),
}


@pytest.mark.parametrize(("settings", "said"), BAD.values(), ids=BAD)
def test_a_mistake_is_reported_in_one_sentence(
    tmp_path: Path, settings: dict[str, object], said: str
) -> None:
    numbered(tmp_path, "train.csv", 8, labels=4)
    numbered(tmp_path, "dev.csv", 8, labels=3)
    write(tmp_path / "few.csv", "text,label", "a,1", "b,0")
    write(tmp_path / "twins.csv", "text,label", *["a,1", "b,0"] * 200)
    write(tmp_path / "words.csv", "text,label", "a,good", "b,bad")
    with pytest.raises(PolytaskError) as caught:
        load_task_data("t", single_task(**settings), store(tmp_path), 1)
    assert said.format(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_label_in_a_test_file_is_reported_too(tmp_path: Path) -> None:
    numbered(tmp_path, "train.csv", 8)
    write(tmp_path / "test.csv", "text,label", "a,1", "b,5")
    with pytest.raises(DataError, match=r'test\.csv:3: label "5" is not a class'):
        load_task_data("t", single_task(dev="train.csv", test="test.csv"), store(tmp_path), 1)


def test_texts_that_come_from_no_file_are_a_split(tmp_path: Path) -> None:
    shelf = store(tmp_path)
    split = shelf.unlabeled([("a b", "c"), ("", "é \ud800")])
    assert split.texts() == [("a b", "c"), ("", "é ?")]
    assert split.lengths(InputLayout.of(BiEncoder(), 9)).kept.tolist() == [[4, 3], [2, 4]]
    assert len(shelf.unlabeled([])) == 0


@pytest.mark.data
def test_the_real_tasks_are_neither_parsed_nor_tokenized_a_second_time(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polytask.data.reading._SETTLED_SECONDS", -60.0)
    pair = ("sentence1", "sentence2")
    tasks = {
        "sst": single_task(train="ids-sst-train.csv", dev="ids-sst-dev.csv", text="sentence",
                           label="sentiment"),
        "quora": pair_task(train="quora-train.csv", dev="quora-dev.csv", text=pair,
                           label="is_duplicate"),
        "sts": pair_task(train="sts-train.csv", dev="sts-dev.csv", text=pair, label="similarity"),
    }
    parsed: list[str] = []
    for again in (False, True):
        if again:  # neither a file is parsed nor a text tokenized a second time
            monkeypatch.setattr("polytask.data.reading.parse", parsed.append)
            monkeypatch.setattr(Tokenizer, "encode", lambda self, texts: parsed.append("tokens"))
        shelf = DatasetStore(Tokenizer(letters()), real_data, Cache(tmp_path))
        made = {name: load_task_data(name, task, shelf, 11711) for name, task in tasks.items()}
    assert {name: each.labels for name, each in made.items()} == {
        "sst": Labels("classes", ("0", "1", "2", "3", "4")), "quora": Labels("binary", ("0", "1")),
        "sts": Labels("regression", (), 0, 5)}
    assert [len(each.train) for each in made.values()] == [8544, 61394, 6040]
    assert [len(each.dev) for each in made.values()] == [1101, 20212, 863]
    assert parsed == []
