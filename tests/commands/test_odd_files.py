"""One run whose tasks are of every kind and whose files are of every form: predicted, read back, scored."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pandas
import pytest

from polytask.commands.evaluate import evaluate_run
from polytask.commands.predict import predict_file
from polytask.commands.train import train
from polytask.config import Run

TEXTS = ["NA", "007", 'say "hi",', "two\nlines", "a\rb", "=1+1", "é 漢字 😀", " blank ", "null", "-",
         "'tis", "a;b|c"]
IDS = ["01", "NA", "=1", "a,b", 'q"', "ü", "7.0", "1e3", "null", "x\ny", " ", "😀"]
WORDS = {"classes": ["007", "NaCl", "=1+1"], "binary": ["no", "say, yes"], "multi": ["C|C++", "C", '"q"'],
         "ordinal": ["1", "2", "3"], "regression": ["0.25", "-1.5", "3"]}
KINDS = {"multi": "multi-label"}


def label(kind: str, row: int) -> str:
    words = WORDS[kind]
    if kind == "multi":
        return json.dumps(words[:row % 4])
    return words[row % len(words)]


@pytest.fixture(scope="module")
def run(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "other", *WORDS])
        for row in range(36):
            writer.writerow([IDS[row % 12], TEXTS[row % 12], TEXTS[row % 7],
                             *(label(kind, row) for kind in WORDS)])
    for name, start in (("odd.txt", 0), ("odd2.txt", 5)):
        lines = [f'der "Fluß" {row} €;{"yes" if row % 2 else "no"};{"de" if row % 3 else "en"}\n'
                 for row in range(start, start + 30)]
        (folder / name).write_text("".join(lines), encoding="cp1252")
    several = [f'text {row}\t{"a / b" if row % 3 else "b" if row % 2 else "a"}\n' for row in range(30)]
    (folder / "several.tsv").write_text("text\tlabel\n" + "".join(several), encoding="utf-8")
    tasks: dict[str, Any] = {
        kind: {"train": "rows.csv", "text": "text", "label": kind, "kind": KINDS.get(kind, kind)}
        for kind in WORDS}
    tasks |= {f"{kind}_pair": {**tasks[kind], "text": ["text", "other"], "pairing": "cross_encoder"}
              for kind in WORDS}
    tasks["forms"] = {"train": "odd.txt", "text": "text", "label": "label", "header": False,
                      "columns": ["text", "label", "lang"], "delimiter": ";", "quoting": "none",
                      "encoding": "cp1252", "where": {"lang": "de"}}
    tasks["several"] = {"train": "several.tsv", "text": "text", "label": "label", "kind": "multi-label",
                        "separator": " / "}
    train(Run.from_table({"seed": 1, "data": {"root": str(folder), "max_length": 32},
                          "encoder": {"checkpoint": str(tiny_checkpoint)}, "tasks": tasks,
                          "train": {"max_steps": 12, "batch_size": 8}}), folder / "run", quiet=True)
    return folder / "run"


@pytest.mark.parametrize("kind", WORDS)
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_predictions_of_every_kind_are_read_back(kind: str, form: str, run: Path, tmp_path: Path) -> None:
    for task in (kind, f"{kind}_pair"):
        predict_file(run, [task], run.parent / "rows.csv", tmp_path / f"{task}.{form}", form, quiet=True)
        if form == "csv":
            table = pandas.read_csv(tmp_path / f"{task}.csv", dtype=str, keep_default_na=False)
        else:
            table = pandas.read_json(tmp_path / f"{task}.jsonl", lines=True, dtype=False)
        ids = [IDS[row % 12] if IDS[row % 12].strip() else None for row in range(36)]
        assert [None if want is None else got for got, want in zip(table["id"], ids, strict=True)] == ids
        assert all(got.isdecimal() for got, want in zip(table["id"], ids, strict=True) if want is None)
        assert table["text"].tolist() == [TEXTS[row % 12] for row in range(36)]
        if task != kind:
            assert table["other"].tolist() == [TEXTS[row % 7] for row in range(36)]
        for answer in table["prediction"].tolist():
            if kind == "regression":
                assert -1.5 <= float(answer) <= 3
            elif kind == "multi":
                several = json.loads(answer) if str(answer).startswith("[") else answer.split("|")
                assert {*several} <= {*WORDS[kind]}
            else:
                assert answer in WORDS[kind]


def test_evaluate_reads_another_file_as_the_task_s_own(run: Path) -> None:
    found = evaluate_run(run, data=run.parent / "odd2.txt", task="forms")
    assert found.rows == {"forms": sum(row % 3 != 0 for row in range(5, 35))}
    found = evaluate_run(run, data=run.parent / "several.tsv", task="several")
    assert found.rows == {"several": 30}


def test_tasks_that_a_file_cannot_answer_are_named(run: Path, tmp_path: Path,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.csv").write_text("text\nfine\n", encoding="utf-8")
    predict_file(run, ["all"], tmp_path / "one.csv", tmp_path / "out", "csv", quiet=True)
    said = capsys.readouterr().err
    for kind in WORDS:
        assert f'note: {kind}_pair is left out: {tmp_path}/one.csv has no column "other"' in said
        assert (tmp_path / "out" / f"{kind}.csv").is_file()
        assert not (tmp_path / "out" / f"{kind}_pair.csv").exists()
