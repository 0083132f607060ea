"""Validation finds what is wrong with files, and says where."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polytask.data.cache import Cache
from polytask.data.collate import InputLayout
from polytask.data.dataset import DatasetStore, TaskData, load_task_data
from polytask.data.duplicates import Fingerprint, nearly_shared, repeats, shared
from polytask.data.reading import Columns, Rows
from polytask.data.tokenization import Tokenizer
from polytask.data.validation import inspect
from polytask.data.validation_report import ValidationReport
from polytask.tasks.task import Task
from small_data import letters, pair_task, read_rows, single_task, store, write


def validated(folder: Path, tasks: dict[str, Task], max_length: int = 128) -> ValidationReport:
    shelf = store(folder)
    data = {name: load_task_data(name, task, shelf, 1) for name, task in tasks.items()}
    return inspect(data, layouts(tasks, max_length))


def layouts(tasks: dict[str, Task], max_length: int) -> dict[str, InputLayout]:
    return {name: InputLayout.of(task.chosen_pairing, max_length) for name, task in tasks.items()}


def pairs_in(folder: Path, rows: list[tuple[str, str]], name: str) -> Rows:
    path = folder / name
    path.write_text("\n".join(json.dumps({"a": a, "b": b}) for a, b in rows), encoding="utf-8")
    return read_rows(path, Columns(("a", "b")), Cache(folder / "cache"))


def test_the_report_counts_and_names_what_is_there(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "a,b,label", "one,two,1", "three,four,0", "two,one,0",
          "only,,1", "bad", "five,six,", "seven eight nine ten,eleven twelve,1")
    write(tmp_path / "dev.csv", "a,b,label", "four,three,0", "new,text,1")
    task = validated(tmp_path, {"t": pair_task()}, max_length=24).tasks["t"]
    train, dev = task.splits["train"], task.splits["dev"]
    assert (train.found, train.used) == (7, 5)
    assert train.refused == [(6, "1 field, expected 3"), (7, "no label")]
    assert train.empty_texts == 1
    assert train.shares == {"0": 0.4, "1": 0.6}
    assert (train.duplicates, train.conflicting, train.duplicate_lines) == (1, 1, [(4, 2)])
    assert train.lengths == {"50": 9, "95": 32, "99": 32, "max": 32}
    assert (train.truncated, dev.truncated) == (1, 0)
    (overlap,) = task.overlaps
    assert (overlap.here, overlap.there, overlap.rows) == ("t dev", "t train", 1)
    assert overlap.examples == [(2, 3)] and not overlap.nearly


def test_the_lines_name_files_and_lines(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text,label", *(f"film number {n},{n % 3}" for n in range(30)),
          "a,", "b,")
    write(tmp_path / "dev.csv", "text,label", "film number 7,1", "no film,2", "Film number 8!,0")
    said = "\n".join(validated(tmp_path, {"films": single_task()}).lines())
    for part in (
        "films: classes, 3 classes: 0, 1, 2",
        "train 32 rows, 30 used, 2 refused   train.csv",
        "refused 2: no label (train.csv:32, train.csv:33)",
        "1 row of films dev that stands in films train: dev.csv:2 = train.csv:9",
        "1 row of films dev nearly the same as in films train: dev.csv:4 = train.csv:10",
    ):
        assert part in said


def test_rows_of_one_task_in_another_tasks_dev_are_reported(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "a,b,label", "one,two,1", "three,four,0", "x,y,1")
    write(tmp_path / "dev.csv", "a,b,label", "five,six,1", "p,q,0")
    write(tmp_path / "similar.csv", "a,b,label", "six,five,4.5", "k,l,0.5", "m,n,2")
    write(tmp_path / "similar-dev.csv", "a,b,label", "four,three,1.5", "r,s,2")
    report = validated(tmp_path, {
        "same": pair_task(),
        "alike": pair_task(train="similar.csv", dev="similar-dev.csv"),
        "film": single_task(text="a", train="train.csv", dev="dev.csv"),
    })
    assert [(each.here, each.there, each.examples) for each in report.across] == [
        ("same dev", "alike train", [(2, 2)]), ("alike dev", "same train", [(2, 3)])]
    assert json.loads(json.dumps(report.to_json()))["across"][0]["rows"] == 1


def test_imbalanced_classes_come_with_the_line_that_weighs_them(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text,label", *(f"t{n},{n % 5 == 0:d}" for n in range(50)))
    write(tmp_path / "dev.csv", "text,label", "d,1", "e,0")
    assert validated(tmp_path, {"t": single_task()}).tasks["t"].advice == [
        "imbalanced 4.0 to 1; to weight the classes equally: loss ="
        ' { type = "binary_cross_entropy", positive_weight = 4 }']
    write(tmp_path / "dev.csv", "text,label", "d,2", "e,0")
    missing, weights = validated(tmp_path, {"t": single_task()}).tasks["t"].advice
    assert missing == 'class "2" has no training row'
    assert 'class_weights = "balanced"' in weights


def test_empty_cells_of_a_multi_label_set_are_reported(tmp_path: Path) -> None:
    labels = ("a", "a|b", "", "[]")
    write(tmp_path / "train.csv", "text,label", *(f"text {n},{labels[n % 4]}" for n in range(40)))
    made = validated(tmp_path, {"t": single_task(dev=0.2)}).tasks["t"]
    assert made.advice == ["10 rows have an empty label and are left out; write [] for rows with none of "
                           "the labels"]


def test_a_regression_shows_how_its_labels_lie_in_the_range(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text,label", *(f"t{n},{n / 2}" for n in range(10)))
    made = validated(tmp_path, {"t": single_task(dev="train.csv", range=(0, 5))}).tasks["t"]
    assert made.splits["train"].shares == {"0…1": 0.2, "1…2": 0.2, "2…3": 0.2, "3…4": 0.2,
                                           "4…5": 0.2}


def grams(texts: tuple[str, str]) -> set[str]:
    """The shingles of a pair, by the book."""
    made = set()
    for text in texts:
        plain = "".join(c for c in text.lower() if c.isalnum())
        made |= {(plain + "\0" * 4)[k:k + 5] for k in range(len(plain))}
    return made


def similarity(one: tuple[str, str], other: tuple[str, str]) -> float:
    a, b = grams(one), grams(other)
    return len(a & b) / max(len(a | b), 1)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1))
def test_near_rows_are_those_of_a_high_jaccard_similarity(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    letter = list("abcdefgh ,.AB")

    def text(length: int) -> str:
        return "".join(rng.choice(letter, length))

    def changed(row: tuple[str, str]) -> tuple[str, str]:
        cut = list(row[0])
        for at in rng.integers(0, len(cut), rng.integers(0, 4)):
            cut[at] = str(rng.choice(letter))
        made = ("".join(cut), row[1].upper() if rng.random() < 0.5 else row[1])
        return made if rng.random() < 0.5 else made[::-1]

    there = [(text(80), text(60)) for _ in range(12)] + [(".", ","), ("a", "!")]
    here = [changed(row) for row in there for _ in range(2)] + [(text(9), text(9)), ("?", ";")]
    mine, theirs = (Fingerprint(pairs_in(tmp_path, rows, name))
                    for rows, name in ((here, "here.jsonl"), (there, "there.jsonl")))
    exact = set(shared(mine, theirs).rows.tolist())
    assert exact == {k for k, row in enumerate(here) for other in there
                     if sorted(" ".join(t.split()) for t in row)
                     == sorted(" ".join(t.split()) for t in other)}
    found = nearly_shared(mine, theirs)
    best = {k: max(similarity(row, other) for other in there) for k, row in enumerate(here)}
    for row, other in zip(found.rows.tolist(), found.other.tolist(), strict=True):
        assert row not in exact and similarity(here[row], there[other]) >= 0.9
    # MinHash may miss a pair at the threshold (0.5 %), hardly one above it.
    assert {k for k, value in best.items() if value >= 0.97} - exact <= set(found.rows.tolist())


def test_repeats_compare_labels_with_the_first_occurrence(tmp_path: Path) -> None:
    rows = pairs_in(tmp_path, [("a", "b"), ("b", "a"), ("c", "d"), ("a", "b")], "rows.jsonl")
    found = repeats(Fingerprint(rows), np.array([0, 1, 0, 0]))
    assert (found.rows.tolist(), found.earlier.tolist()) == ([1, 3], [0, 0])
    assert found.conflicting.tolist() == [True, False]
    several = repeats(Fingerprint(rows), np.array([[0, 1], [0, 1], [0, 0], [1, 1]]))
    assert several.conflicting.tolist() == [False, True]


@pytest.mark.technique("M-34")
@pytest.mark.data
def test_the_real_data_are_reported_as_they_are(real_data: Path, tmp_path: Path) -> None:
    pair = ("sentence1", "sentence2")
    tasks = {
        "sst": single_task(train="ids-sst-train.csv", dev="ids-sst-dev.csv", text="sentence",
                           label="sentiment", test="ids-sst-test-student.csv"),
        "quora": pair_task(train="quora-train.csv", dev="quora-dev.csv", text=pair,
                           label="is_duplicate"),
        "sts": pair_task(train="sts-train.csv", dev="sts-dev.csv", text=pair, label="similarity"),
        "msr": pair_task(train="extra/msr-para-train.tsv", dev="extra/msr-para-val.tsv",
                         text=("#1 String", "#2 String"), label="Quality"),
    }
    shelf = DatasetStore(Tokenizer(letters()), real_data, Cache(tmp_path))
    data: dict[str, TaskData] = {
        name: load_task_data(name, task, shelf, 1) for name, task in tasks.items()}
    began = time.perf_counter()
    report = inspect(data, layouts(tasks, 128))
    assert time.perf_counter() - began < 20  # 2 to 3 s on two idle cores
    assert {name: [split.found for split in task.splits.values()]
            for name, task in report.tasks.items()} == {
        "sst": [8544, 1101, 2210], "quora": [61394, 20214], "sts": [6040, 863], "msr": [3576, 500]}
    assert report.tasks["quora"].splits["dev"].refused == [(2577, "no label"), (14222, "no label")]
    exact = {(each.here, each.there): each.rows for task in report.tasks.values()
             for each in task.overlaps if not each.nearly}
    assert exact == {("sst dev", "sst train"): 2, ("sst test", "sst train"): 2,
                     ("sts dev", "sts train"): 16}
    near = {each.here: each.rows for task in report.tasks.values() for each in task.overlaps
            if each.nearly and each.there.endswith("train")}
    assert near == {"sst dev": 1, "quora dev": 56, "sts dev": 4, "msr dev": 13}
    across = {(each.here, each.there): each.rows for each in report.across if not each.nearly}
    assert across == {("sts dev", "msr train"): 63, ("msr dev", "sts train"): 57}
    assert report.tasks["sts"].splits["train"].duplicates == 43
    assert report.tasks["sts"].splits["train"].conflicting == 17


def test_of_many_classes_some_are_shown(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text,label", *(f"text {n},c{n % 40}" for n in range(100)))
    write(tmp_path / "dev.csv", "text,label", "d,c1", "e,c2")
    said = "\n".join(validated(tmp_path, {"t": single_task()}).lines())
    assert "t: classes, 40 classes: c0, c1, " in said and ", …\n" in said
    assert "the rarest of 40: " in said


def test_rare_labels_of_several_come_with_two_ways_out(tmp_path: Path) -> None:
    labels = ("a", "b", "c", "d|e")
    write(tmp_path / "train.csv", "text,label", *(f"text {n},{labels[n % 4]}" for n in range(40)))
    write(tmp_path / "dev.csv", "text,label", "d,a", "e,b|c")
    (said,) = validated(tmp_path, {"t": single_task()}).tasks["t"].advice
    assert "absent 3.0 times as often" in said
    assert "positive_weight = 3" in said and 'threshold = "tuned"' in said
