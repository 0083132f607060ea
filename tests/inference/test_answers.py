"""Answers as records, data frames and tables; a task under scikit-learn's names; many threads."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas
import pytest
from sklearn.metrics import log_loss

import polytask as pk
from polytask.inference.answers import Answers, Prediction
from polytask.inference.predictor import Model

TEXTS = [f"good plot {n}" if n % 2 else f"an awful actor in film {n}" for n in range(12)]
PAIRS = [(text, TEXTS[-n]) for n, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def model(served_run: Path) -> Model:
    return pk.load(served_run)


def test_answers_are_a_list_with_records_and_a_frame(model: Model) -> None:
    answers = model.predict_all(["topic", "stars", "tags"], TEXTS)
    topic = answers["topic"]
    assert isinstance(topic, list) and isinstance(topic[0], Prediction) and len(topic) == len(TEXTS)
    (record, *_), first = topic.to_records(), topic[0]
    assert first.probabilities is not None
    assert record == {"text": TEXTS[0], "prediction": first.label, "score": first.score,
                      **{f"probabilities.{name}": value for name, value in first.probabilities.items()}}
    assert "score" not in answers["tags"].to_records()[0]
    frame = topic.to_pandas()
    assert frame["text"].tolist() == TEXTS and frame["prediction"].tolist() == [p.label for p in topic]
    pairs = model.predict("near", PAIRS).to_pandas()
    assert list(pairs.columns) == ["text", "other", "prediction", "score"]
    assert model.predict("near", []).to_records() == []


def test_a_notebook_shows_what_texts_and_labels_say_and_runs_none_of_it() -> None:
    row = Prediction("<i>", 0.75, {"<i>": 0.75, "b": 0.25})
    shown = Answers([row] * 21, "which", ["text"], [("<script>alert(1)</script>",)] * 21)._repr_html_()
    assert "<script>" not in shown and "<i>" not in shown
    assert shown.count("&lt;script&gt;") == 20 and "and 1 more" in shown and "0.750 &lt;i&gt;" in shown
    number = Answers([Prediction(2.5, 2.75)], "near", ["a", "b"], [("x", "y")])._repr_html_()
    assert "<b>2.5</b>" in number and "2.75" in number


def test_a_task_has_scikit_learns_names_where_they_fit(model: Model) -> None:
    topic = model.estimator("topic")
    assert topic.classes_.tolist() == list(model.tasks["topic"].labels.classes)
    shares, labels = topic.predict_proba(TEXTS), topic.predict(TEXTS)
    assert shares.shape == (len(TEXTS), 3) and labels.tolist() == topic.classes_[shares.argmax(1)].tolist()
    assert log_loss(labels, shares, labels=topic.classes_) > 0  # a warning of it would be an error here
    frame = pandas.DataFrame({"text": TEXTS})
    assert np.array_equal(topic.predict_proba(frame), shares)
    assert np.array_equal(topic.predict_proba(frame["text"]), shares)
    tags = model.estimator("tags")
    assert tags.predict(TEXTS).shape == (len(TEXTS), len(tags.classes_)) == tags.predict_proba(TEXTS).shape
    same = model.estimator("same")
    assert np.array_equal(same.predict(np.array(PAIRS)), same.predict(pandas.DataFrame(PAIRS)))
    assert same.predict_proba([]).shape == (0, 2)
    near = model.estimator("near")
    assert near.predict(PAIRS).dtype == np.float64
    assert not hasattr(near, "classes_") and not hasattr(near, "predict_proba")
    with pytest.raises(pk.ConfigError, match="X: found one text"):
        topic.predict("good")


def test_many_threads_share_one_model(model: Model) -> None:
    want = {"topic": model.predict("topic", TEXTS), "same": model.predict("same", PAIRS),
            "all": model.predict_all(["stars", "tags"], TEXTS), "embed": model.embed(TEXTS).tolist()}

    def asked(n: int) -> bool:
        name = list(want)[n % 4]
        found = (model.embed(TEXTS).tolist() if name == "embed" else model.predict_all(
            ["stars", "tags"], TEXTS) if name == "all" else model.predict(
                name, TEXTS if name == "topic" else PAIRS))
        return bool(found == want[name])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(asked, range(64)))


def test_pandas_is_imported_when_it_is_asked_for_and_no_sooner() -> None:
    script = """
import sys
from polytask.inference.answers import Answers, Prediction
answers = Answers([Prediction("a", 1.0)], "t", ["text"], [("x",)])
answers.to_records(), answers._repr_html_ and "pandas" in sys.modules and sys.exit("too early")
sys.modules["pandas"] = None
try:
    answers.to_pandas()
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == 'MissingExtra to_pandas needs an extra: pip install "polytask[pandas]"'
