"""Predictions as files: every column apart, and texts, ids and labels as pandas reads them back."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from polytask.commands.predict import predict_file
from polytask.commands.train import train
from polytask.config import Run
from polytask.core.errors import ConfigError
from polytask.data.labels import Labels
from polytask.inference.records import RecordWriter, records, true_cells
from polytask.model.heads.contract import head
from polytask.model.heads.decisions import Decision
from polytask.model.pairings.contract import pairing
from polytask.tasks.resolved_task import ResolvedTask

NASTY = ["", "NA", "007", 'say "hi",', "two\nlines", "a\rb", "=1+1", "é\u2028", " blank "]


def task(labels: Labels, *text: str) -> ResolvedTask:
    shape = "single" if len(text) == 1 else "cross_encoder"
    return ResolvedTask("t", text, "label", labels, pairing.read(shape), None, head.read("linear"), (), 1,
                        (), 16)


def decision(labels: Labels, rows: int) -> Decision:
    if labels.is_regression:
        return Decision(np.full(rows, 1.5), np.full(rows, 1.5))
    if labels.kind == "multi-label":
        return Decision(np.zeros((rows, labels.num_classes), int), np.zeros((rows, labels.num_classes)))
    scores = np.full((rows, labels.num_classes), 1 / labels.num_classes)
    return Decision(np.zeros(rows, int), scores[:, 0], scores)


@pytest.mark.parametrize(("labels", "true"), [
    (Labels("binary", ("no", "=yes")), ["no", "=yes", ""] * 3),
    (Labels("classes", ("007", "text", "NA")), ["007", "text", "NA"] * 3),
    (Labels("multi-label", ("a", "prediction")), ["[]", "a|prediction", ""] * 3),
    (Labels("regression", (), 0, 5), ["0.1", "4.25", "3"] * 3),
], ids=lambda value: value.kind if isinstance(value, Labels) else "")
@pytest.mark.parametrize("text", [("text",), ("prediction", "label"), ("id", "score")])
def test_pandas_reads_what_was_there(labels: Labels, true: list[str], text: tuple[str, ...]) -> None:
    spec, texts = task(labels, *text), [(each,) * len(text) for each in NASTY]
    writer = RecordWriter("csv", spec, true=True)
    made = writer.text(records(spec, decision(labels, len(texts)), texts, NASTY, true))
    table = pandas.read_csv(io.StringIO(made, newline=""), dtype=str, keep_default_na=False)
    assert table[writer.own.id].tolist() == NASTY
    assert table[writer.own.label].tolist() == true
    for name in text:
        assert table[name].tolist() == NASTY
    assert len(set(table.columns)) == len(table.columns) == len(writer.columns)


def test_true_labels_as_cells() -> None:
    assert true_cells(Labels("regression", (), 0, 5), [0.30000001192, 3.0]) == ["0.3", "3"]
    assert true_cells(Labels("multi-label", ("a", "b")), [[0, 0], [1, 1]]) == ["[]", "a|b"]
    assert true_cells(Labels("multi-label", ("C|C++", "b")), [[1, 1]]) == ['["C|C++", "b"]']


def test_safe_csv_leaves_no_formula_and_numbers_alone() -> None:
    labels = Labels("regression", (), -5, 5)
    spec = task(labels, "text")
    cells = ["=1", "+x", "-x", "@x", "\tx", "-1.5", "x=1"]
    writer = RecordWriter("csv", spec, safe=True)
    made = writer.text(records(spec, decision(labels, 7), [(cell,) for cell in cells], cells))
    table = pandas.read_csv(io.StringIO(made), dtype=str, keep_default_na=False)
    assert table["text"].tolist() == ["'=1", "'+x", "'-x", "'@x", "'\tx", "-1.5", "x=1"]
    assert table["prediction"].tolist() == ["1.5"] * 7


@pytest.fixture
def run(small_table: dict[str, Any], tmp_path: Path) -> Path:
    lines = [f"it was a day {n},{('no', 'yes')[n % 2]},{n % 5}\n" for n in range(40)]
    (tmp_path / "rows.csv").write_text("prediction,label,stars\n" + "".join(lines))
    (tmp_path / "test.csv").write_text("id,prediction,label\n07,good,yes\n08,,\n09,bad,\n")
    small_table["data"]["root"] = str(tmp_path)
    small_table["tasks"] = {
        "a": {"train": "rows.csv", "text": "prediction", "label": "label", "test": "test.csv"},
        "b": {"train": "rows.csv", "text": "prediction", "label": "stars", "test": "test.csv"}}
    small_table["train"] = {"max_steps": 1, "batch_size": 8}
    train(Run.from_table(small_table), tmp_path / "run", quiet=True)
    return tmp_path / "run"


def test_every_row_of_a_test_file_is_predicted(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options: dict[str, Any] = {"dtype": str, "keep_default_na": False}
    a, b = (pandas.read_csv(run / "predictions" / f"{name}-test.csv", **options) for name in "ab")
    for table in (a, b):
        assert table["id"].tolist() == ["07", "08", "09"]
        assert table["prediction"].tolist() == ["good", "", "bad"]
        assert "" not in table["prediction_"].tolist()
    assert a["label"].tolist() == ["yes", "", ""] and "label" not in b.columns
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert results["test"]["rows"] == {"a": 1}
    assert any('"prediction_" instead of "prediction"' in note for note in results["notes"])

    test = run.parent / "test.csv"
    predict_file(run, ["all"], test, None, "jsonl", quiet=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["id"] for line in lines] == ["07", "08", "09"]
    assert [line["prediction"] for line in lines] == ["good", "", "bad"]
    assert [line["tasks"]["a"]["label"] for line in lines] == a["prediction_"].tolist()
    assert set(lines[0]["tasks"]["b"]) == {"label", "score", "probabilities"}
    with pytest.raises(ConfigError, match=r"--out: .*test\.csv is the input file"):
        predict_file(run, ["a"], test, test, "csv", quiet=True)
