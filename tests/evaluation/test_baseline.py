"""The score of one answer for every row, as scikit-learn's dummies have it."""

from __future__ import annotations

from pathlib import Path

import pytest
import tokenizers
from tokenizers import models

from polytask.data.cache import Cache
from polytask.data.dataset import DatasetStore, load_task_data
from polytask.data.tokenization import Tokenizer
from polytask.evaluation.baseline import Baseline, baseline
from polytask.tasks.resolved_task import resolve
from polytask.tasks.task import Task


def found(folder: Path, train: list[str], dev: list[str], **settings: object) -> Baseline | None:
    for name, labels in (("train", train), ("dev", dev)):
        rows = "".join(f"{name} {n},{label}\n" for n, label in enumerate(labels))
        (folder / f"{name}.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    words = models.WordLevel({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "[PAD]": 3}, unk_token="[UNK]")
    store = DatasetStore(Tokenizer(tokenizers.Tokenizer(words)), folder, Cache(folder / "cache"))
    task = Task(**{"train": "train.csv", "dev": "dev.csv", "text": "text", "label": "label", **settings})
    data = load_task_data("a", task, store, 1)
    return baseline(resolve("a", task, data.labels, data.counts, 64), data)


def test_classes_answer_with_the_most_frequent_of_train(tmp_path: Path) -> None:
    made = found(tmp_path, ["no"] * 3 + ["yes"], ["no", "yes", "yes", "no"])
    assert made is not None and made.name == 'always "no"'
    assert made.scores["accuracy"] == 0.5
    assert made.scores["macro_f1"] == pytest.approx(1 / 3)
    assert made.line().startswith('always "no": accuracy 0.5000')
    assert "mcc" not in made.scores  # not defined for one answer


def test_a_regression_answers_with_the_mean_in_the_units_of_the_labels(tmp_path: Path) -> None:
    made = found(tmp_path, ["1", "2", "4.5"], ["2.5", "3.5"])
    assert made is not None and made.name == 'always "2.5"'
    assert made.scores["mae"] == pytest.approx(0.5, abs=1e-6) and "pearson" not in made.scores


def test_several_labels_answer_with_those_of_most_rows(tmp_path: Path) -> None:
    made = found(tmp_path, ["a", "a|b", "b", "[]"], ["[]", "a"], kind="multi-label")
    assert made is not None and made.name == 'always "a|b"'
    none = found(tmp_path, ["a", "b", "c", "d|e"], ["a", "b"], kind="multi-label")
    assert none is not None and none.name == "always none of the labels" and none.scores["accuracy"] == 0
