"""What `polytask evaluate --set` changes and refuses, and what scores of another file are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import polytask as pk
from polytask.commands.evaluate import evaluate_run
from polytask.commands.train import train
from polytask.config import Run
from polytask.core.errors import ConfigError, DataError, RunError


def test_a_threshold_and_metrics_can_be_set(served_run: Path) -> None:
    plain = evaluate_run(served_run, task="same")
    low = evaluate_run(served_run, task="same", assignments=["tasks.same.threshold=0.000001"])
    assert low.scores["same"]["accuracy"] == pytest.approx(0.5)  # all are positive
    assert low.thresholds == {"same": 0.000001} and plain.thresholds == {}
    other = evaluate_run(served_run, task="same", assignments=['tasks.same.metrics=["mcc"]'])
    assert list(other.scores["same"]) == ["mcc"]


@pytest.mark.parametrize(("setting", "says"), [
    ("encoder.pooling=cls", r"encoder\.pooling: is the trained model's own.*expected one of data, seed"),
    ("train.batch_size=4", r"train\.batch_size: is the trained model's own"),
    ("tasks.same.head=mlp", r"tasks\.same\.head: is the trained model's own.*tasks\.same\.threshold"),
    ("tasks.same.metric=x", r'did you mean "metrics"'),
    ('tasks."same".head=mlp', r"is the trained model's own.*tasks\.same\.threshold"),
    ("tasks.same.threshold", r"expected dotted\.key=value"),
    ('tasks.same.threshold="tuned"', r'threshold: found "tuned", expected a number'),
    ('tasks.same.metrics=["pearson"]', r"tasks\.same\.metrics"),
    ("data.max_length=9999", r"is the trained.* expected one of data\.root, data\.dev_seed, data\.cache$"),
    ("data.baselines=false", r"data\.baselines: is the trained model's own"),
])
def test_what_an_evaluation_cannot_change_is_refused(served_run: Path, setting: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        evaluate_run(served_run, assignments=[setting])


def test_another_file_is_read_as_set(served_run: Path, tmp_path: Path) -> None:
    data = tmp_path / "mine.csv"
    data.write_text("words;old;grade\n" + "".join(f"good {n};{n % 5};{n % 2}\n" for n in range(10)))
    set_to = ["tasks.stars.text=words", "tasks.stars.delimiter=;"]
    old, grade = (evaluate_run(served_run, task="stars", data=data, quiet=True,
                               assignments=[*set_to, f"tasks.stars.label={label}"]).scores["stars"]
                  for label in ("old", "grade"))
    answers = [each.label
               for each in pk.load(served_run).predict("stars", [f"good {n}" for n in range(10)])]
    assert old["accuracy"] == pytest.approx(sum(a == str(n % 5) for n, a in enumerate(answers)) / 10)
    assert grade["accuracy"] == pytest.approx(sum(a == str(n % 2) for n, a in enumerate(answers)) / 10)
    with pytest.raises(DataError, match="nope"):
        evaluate_run(served_run, task="stars", data=data, assignments=[*set_to, "tasks.stars.label=nope"])


@pytest.mark.parametrize(("keywords", "says"), [
    ({"split": "train"}, r'--split: found "train" beside --data'),
    ({"assignments": ["tasks.stars.dev=x.csv"]}, r"tasks\.stars\.dev: changes nothing of --data for stars"),
    ({"assignments": ["tasks.stars.dev_limit=3"]}, r"--set tasks\.stars\.dev_limit: changes nothing"),
    ({"assignments": ["tasks.same.label=x"]}, r"tasks\.same\.label: changes nothing of --data for stars"),
])
def test_what_says_nothing_of_another_file_is_refused(
        served_run: Path, tmp_path: Path, keywords: dict[str, Any], says: str) -> None:
    (tmp_path / "mine.csv").write_text("text,label\ngood,1\n")
    with pytest.raises(ConfigError, match=says):
        evaluate_run(served_run, task="stars", data=tmp_path / "mine.csv", **keywords)


def test_another_file_is_named_and_tuned_no_threshold(tmp_path: Path, tiny_checkpoint: Path) -> None:
    for name, answers in (("train", "01"), ("dev", "01"), ("alike", "1")):
        lines = [f"{('good', 'bad', 'fine')[n % 3]} {n},{answers[n % len(answers)]}" for n in range(24)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    table = {"data": {"root": str(tmp_path), "max_length": 32, "cache": str(tmp_path / "cache")},
             "encoder": {"checkpoint": str(tiny_checkpoint)}, "train": {"max_steps": 2, "batch_size": 4},
             "tasks": {"same": {"train": "train.csv", "dev": "dev.csv", "text": "text", "label": "label",
                                "kind": "binary", "threshold": "accuracy"}}}
    train(Run.from_table(table), tmp_path / "run", quiet=True)
    on_dev = evaluate_run(tmp_path / "run")
    assert on_dev.split == "dev" and any("tuned on the dev rows" in note for note in on_dev.notes)
    other = evaluate_run(tmp_path / "run", data=tmp_path / "train.csv", task="same")
    assert other.split == "train.csv" == json.loads(other.to_json())["split"]
    assert "scores on train.csv" in str(other) and not any("tuned" in note for note in other.notes)
    data = [{"text": "good 1", "label": "1"}, {"text": "bad", "label": "0"}]
    assert pk.evaluate(tmp_path / "run", data=data, task="same").split == "rows"
    (tmp_path / "secret.csv").write_text("text,label\ngood,-1\nbad,-1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r'every row has the label "-1", so its rows are unlabelled'):
        evaluate_run(tmp_path / "run", data=tmp_path / "secret.csv", task="same")
    (tmp_path / "bare.csv").write_text("text\ngood\nbad\n", encoding="utf-8")
    with pytest.raises(DataError, match=r'has no label in column "label", so its rows are unlabelled'):
        evaluate_run(tmp_path / "run", data=tmp_path / "bare.csv", task="same")
    with pytest.raises(RunError, match=r"no task has labelled test rows \(.*secret\.csv has none\); name "
                                        "a"):
        evaluate_run(tmp_path / "run", "test", assignments=[f"tasks.same.test={tmp_path}/secret.csv"])
    (tmp_path / "some.csv").write_text("text,label\ngood,-1\nbad,0\nfine,1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r'csv:2: label "-1" .* where = \{ label = \{ not = \["-1"\] \} \}'):
        evaluate_run(tmp_path / "run", data=tmp_path / "some.csv", task="same")
    labelled = evaluate_run(tmp_path / "run", data=tmp_path / "some.csv", task="same",
                            assignments=['tasks.same.where={ label = { not = ["-1"] } }'])
    assert labelled.scores["same"]

    named = "".join(f"row{n},good {n},{n % 2}\n" for n in range(4))
    (tmp_path / "named.csv").write_text(f"text,label\n{named}", encoding="utf-8")
    for found in (evaluate_run(tmp_path / "run", data=tmp_path / "named.csv", task="same"),
                  evaluate_run(tmp_path / "run", assignments=["tasks.same.dev=named.csv"])):
        assert any("named.csv: " in note and "are read as row names" in note for note in found.notes)
    test = evaluate_run(tmp_path / "run", "test", assignments=["tasks.same.train=named.csv",
                                                               "tasks.same.test=dev.csv"])
    assert not any("row names" in note for note in test.notes)  # of a file that is not scored

    table["tasks"]["same"]["dev"] = "alike.csv"  # type: ignore[index]
    alike = train(Run.from_table(table), tmp_path / "alike", quiet=True).evaluation
    assert alike.thresholds == {"same": 0.5}
    assert "same: its dev rows have one answer alone, so the threshold stays at 0.5" in alike.notes


def test_rows_that_the_model_was_trained_on_and_files_that_changed_are_reported(
        tmp_path: Path, tiny_checkpoint: Path) -> None:
    def write(name: str, first: int, count: int) -> None:
        lines = [f"{('good', 'bad', 'fine')[n % 3]} {n},{n % 2}" for n in range(first, first + count)]
        (tmp_path / name).write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")

    write("train.csv", 0, 24)
    write("dev.csv", 50, 12)
    table = {"data": {"root": str(tmp_path), "max_length": 32, "cache": str(tmp_path / "cache")},
             "encoder": {"checkpoint": str(tiny_checkpoint)},
             "train": {"max_steps": 2, "batch_size": 4, "score": "a.accuracy / (a.accuracy - a.accuracy)"},
             "tasks": {"a": {"train": "train.csv", "dev": "dev.csv", "text": "text", "label": "label"}}}
    result = train(Run.from_table(table), tmp_path / "run", quiet=True)
    divided = '"a.accuracy / (a.accuracy - a.accuracy)" divides by zero on dev and counts as 0 there'
    assert divided in result.evaluation.notes

    def notes(*assignments: str) -> list[str]:
        return [note for note in evaluate_run(tmp_path / "run", assignments=assignments).notes
                if "flatter" in note or "changed" in note]

    assert notes() == []
    (seen,) = notes("tasks.a.dev=train.csv")
    assert seen.startswith("a dev: 24 of 24 rows stand in train too (train.csv:2 = train.csv:2, …), so")
    (carved,) = notes("tasks.a.dev=0.5")
    assert carved.startswith("a dev: its rows are carved from training rows now")
    write("dev.csv", 50, 13)
    (changed,) = notes()
    assert changed == (f"a dev: {tmp_path}/dev.csv has changed since the training, so its scores are of "
                       "other rows than those of then")
