"""TF-IDF with a linear model: what it reaches, which rows it sees, when it is computed again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import models

from polytask.data.cache import Cache
from polytask.data.dataset import DatasetStore, TaskData, load_task_data
from polytask.data.tokenization import Tokenizer
from polytask.evaluation import linear_baseline as module
from polytask.evaluation.baseline import Baseline
from polytask.evaluation.linear_baseline import baselines, beaten_notes, linear_baseline
from polytask.tasks.resolved_task import ResolvedTask, resolve
from polytask.tasks.task import Task

COLOURS = ["red", "green", "blue"]


def task_of(folder: Path, rows: list[str], text: str | tuple[str, ...] = "text",
            **settings: object) -> tuple[ResolvedTask, TaskData]:
    """Return a task on rows of a CSV file, a third of which are its dev rows."""
    header = ",".join([text] if isinstance(text, str) else text) + ",label"
    for name, part in (("train", rows), ("dev", rows[::3])):
        (folder / f"{name}.csv").write_text("\n".join([header, *part]) + "\n", encoding="utf-8")
    words = models.WordLevel({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "[PAD]": 3}, unk_token="[UNK]")
    store = DatasetStore(Tokenizer(tokenizers.Tokenizer(words)), folder, Cache(folder / "cache"))
    task = Task(**{"train": "train.csv", "dev": "dev.csv", "text": text, "label": "label", **settings})
    data = load_task_data("a", task, store, 1)
    return resolve("a", task, data.labels, data.counts, 64), data


def scored(folder: Path, task: ResolvedTask, data: TaskData) -> Baseline:
    found = linear_baseline(task, data, Cache(folder / "cache"))
    assert found is not None
    return found


def test_classes_that_words_tell(tmp_path: Path) -> None:
    rows = [f"the car number {n} is {COLOURS[n % 3]},{COLOURS[n % 3]}" for n in range(90)]
    found = scored(tmp_path, *task_of(tmp_path, rows))
    assert found.name == "TF-IDF with logistic regression" and not found.limits
    assert found.scores["accuracy"] == 1 and found.scores["macro_f1"] == 1


@pytest.mark.parametrize(("work", "candidates"), [(0, 1), (1_000, 2), (module.WORK, 4)])
def test_how_many_candidates_are_tried_is_a_matter_of_size_and_not_of_time(
        work: int, candidates: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[float] = []
    plain = module._logistic
    monkeypatch.setattr(module, "WORK", work)
    monkeypatch.setattr(module, "_logistic", lambda *given: tried.append(given[2]) or plain(*given))
    # some 500 numbers, and one fit for two classes
    rows = [f"the car number x is {COLOURS[n % 2]},{COLOURS[n % 2]}" for n in range(48)]
    scored(tmp_path, *task_of(tmp_path, rows))
    assert len(tried) == candidates


def test_two_classes_several_labels_and_chinese(tmp_path: Path) -> None:
    rows = [f"word {n % 7} {'yes' if n % 2 else 'no'},{n % 2}" for n in range(60)]
    metrics = ("roc_auc", "accuracy")
    found = scored(tmp_path, *task_of(tmp_path, rows, metrics=metrics))
    assert found.scores == {"roc_auc": 1, "accuracy": 1}
    rows = [f"a {COLOURS[n % 3]} and {COLOURS[n % 2]} one,{'|'.join({COLOURS[n % 3], COLOURS[n % 2]})}"
            for n in range(60)]
    assert scored(tmp_path, *task_of(tmp_path, rows, kind="multi-label")).scores["accuracy"] == 1
    rows = [f"这家餐厅的菜{'很好吃' if n % 2 else '太难吃'}我们去了{'一二三四五'[n % 5]}次,{n % 2}"
            for n in range(60)]
    assert scored(tmp_path, *task_of(tmp_path, rows)).scores["accuracy"] == 1


def test_pairs_are_compared_and_numbers_have_ridge(tmp_path: Path) -> None:
    words = [f"{chr(97 + n % 26)}{chr(97 + n // 26)}x" for n in range(300)]
    rows = [f"{' '.join(words[n:n + 4])},{' '.join(words[n + k:n + k + 4])},{(4 - k) * 1.25}"
            for n in range(280) for k in (n % 5,)]
    found = scored(tmp_path, *task_of(tmp_path, rows, ("one", "two")))
    assert found.name == "TF-IDF with ridge regression"
    assert found.scores["pearson"] > 0.9  # what no single text of these tells


def test_constant_labels_and_wordless_texts_have_none(tmp_path: Path) -> None:
    task, data = task_of(tmp_path, [f"?! {'.' * (n % 4)} !,{n % 2}" for n in range(30)])
    assert linear_baseline(task, data, Cache(tmp_path / "cache")) is None
    task, data = task_of(tmp_path, [f"text {n},yes" for n in range(30)], classes=["no", "yes"])
    assert linear_baseline(task, data, Cache(tmp_path / "cache")) is None


def test_rows_are_limited_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 20)
    rows = [f"the car number {n} is {COLOURS[n % 3]},{COLOURS[n % 3]}" for n in range(90)]
    found = scored(tmp_path, *task_of(tmp_path, rows))
    assert found.limits == "on 20 of 90 train rows and 20 of 30 dev rows"
    monkeypatch.setattr(module, "CHARACTERS", 250)  # ten texts of about 25
    assert 5 < int(scored(tmp_path, *task_of(tmp_path, rows)).limits.split()[1]) < 15


def test_a_known_result_is_read_and_other_rows_are_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f"the car number {n} is {COLOURS[n % 3]},{COLOURS[n % 3]}" for n in range(60)]
    task, data = task_of(tmp_path, rows)
    first = scored(tmp_path, task, data)
    monkeypatch.setattr(module, "_candidates", lambda *given: pytest.fail("computed again"))
    assert scored(tmp_path, task, data) == first
    with pytest.raises(pytest.fail.Exception):
        scored(tmp_path, *task_of(tmp_path, [*rows[:-1], f"another,{COLOURS[0]}"]))


def test_a_model_that_word_counts_beat_is_noted(tmp_path: Path) -> None:
    rows = [f"the car number {n} is {COLOURS[n % 3]},{COLOURS[n % 3]}" for n in range(60)]
    task, data = task_of(tmp_path, rows)
    found = baselines({"a": task}, {"a": data}, Cache(tmp_path / "cache"))
    assert [each.name for each in found["a"]] == ['always "blue"', "TF-IDF with logistic regression"]
    said, = beaten_notes({"a": task}, {"a": {"accuracy": 0.9}}, found)
    assert "TF-IDF with logistic regression reaches accuracy 1.0000, the model 0.9000" in said
    assert not beaten_notes({"a": task}, {"a": {"accuracy": 1.0}}, found)


def test_the_model_is_that_of_scikit_learn(tmp_path: Path) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    rows = [f"{' '.join(rng.choice(list('abcdefghij'), 4))},{rng.integers(2)}" for _ in range(120)]
    task, data = task_of(tmp_path, rows)
    texts = [text for text, in data.train.texts()]
    tfidf = TfidfVectorizer(sublinear_tf=True, token_pattern=r"\b\w+\b", ngram_range=(1, 2))
    features = tfidf.fit_transform(texts)
    dev = tfidf.transform([text for text, in data.dev.texts()])
    best = max(float((LogisticRegression(C=c, class_weight=w, solver="liblinear", tol=1e-3)
                      .fit(features, data.train.targets).predict(dev) == data.dev.targets).mean())
               for c in (10, 1) for w in (None, "balanced"))
    assert scored(tmp_path, task, data).scores["accuracy"] == pytest.approx(best, abs=0.03)


@pytest.mark.parametrize("kept", [
    [1], 7, None, {"size": 3}, {"name": "x", "scores": {"accuracy": "high"}, "limits": ""},
    {"name": "x", "scores": [1.0], "limits": ""}, {"name": "x", "scores": {}, "limits": "", "more": 1}])
def test_an_entry_of_another_shape_is_measured_again(kept: object, tmp_path: Path) -> None:
    task, data = task_of(tmp_path, [f"the car is {COLOURS[n % 2]},{COLOURS[n % 2]}" for n in range(24)])
    first = scored(tmp_path, task, data)
    entry, = (tmp_path / "cache" / "baselines").iterdir()
    written = entry.read_bytes()
    entry.write_text(json.dumps(kept), encoding="utf-8")
    assert scored(tmp_path, task, data) == first and entry.read_bytes() == written
