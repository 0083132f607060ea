"""Rows from Python: every form has the same cells, the checks of a file, a name for its content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from polytask.commands.evaluate import evaluate_run
from polytask.commands.train import train
from polytask.config import Run
from polytask.core.errors import ConfigError, DataError, RunError
from polytask.data.cache import Cache
from polytask.data.python_records import PYTHON, file_or_rows, given, given_rows
from polytask.data.reading import Columns, read_file
from polytask.data.tables import read_table
from polytask.tasks.task import Task
from small_data import read_rows

ROWS: list[dict[str, Any]] = [
    {"text": "a gem", "label": 1}, {"text": "so, so", "label": 0}, {"text": "", "label": 1},
    {"text": "nothing", "label": None}, {"text": 'with "quotes"\nand lines', "label": 0}]
COLUMNS = {key: [row[key] for row in ROWS] for key in ("text", "label")}


def test_every_form_has_the_rows_of_json_lines(tmp_path: Path) -> None:
    import datasets
    import pandas
    polars = pytest.importorskip("polars")

    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS), encoding="utf-8")
    cache = Cache(tmp_path / "cache")
    wanted = read_rows(file, Columns(("text",), "label"), cache)
    typed = pandas.DataFrame({"text": COLUMNS["text"],
                              "label": pandas.array([1, 0, 1, None, 0], dtype="Int64")})
    forms = [ROWS, tuple(ROWS), iter(ROWS), COLUMNS, {**COLUMNS, "text": np.array(COLUMNS["text"])}, typed,
             polars.DataFrame(COLUMNS), polars.DataFrame(COLUMNS).lazy(),
             datasets.Dataset.from_dict(COLUMNS)]
    names = {given(form) for form in forms}
    assert len(names) == 1
    name = names.pop()
    assert name.startswith(PYTHON)
    rows = read_rows(name, Columns(("text",), "label"), cache)
    assert rows.texts() == wanted.texts() == [("a gem",), ("so, so",), ('with "quotes"\nand lines',)]
    assert rows.labels == wanted.labels and rows.refused == wanted.refused
    assert rows.refused == ((3, "no text"), (4, "no label"))
    assert given([*ROWS[:-1], {"text": "other", "label": 0}]) != name


def test_classes_of_a_data_set_are_written_by_their_names() -> None:
    import datasets

    features = datasets.Features({"text": datasets.Value("string"),
                                  "label": datasets.ClassLabel(names=["ham", "spam"])})
    dataset = datasets.Dataset.from_dict({"text": ["a b", "c d"], "label": [1, 0]}, features=features)
    assert given(dataset) == given([{"text": "a b", "label": "spam"}, {"text": "c d", "label": "ham"}])


@pytest.mark.parametrize(("rows", "says"), [
    ([], "found no rows, expected a file, a list of dicts"),
    ({}, "found no columns"),
    ([("a gem", 1), ("so", 0)], "expected an object"),
    ({"text": "a gem", "label": [1]}, 'column "text" is str'),
    ({"text": ["a", "b"], "label": [1]}, 'different lengths ("text" 2, "label" 1)'),
    (object(), "found object, expected a file"),
    (b"text", "found bytes"),
    ([{}, {}], "the objects have no keys"),
    ([{"text": b"\xff", "label": 1}], "bytes that are not UTF-8"),
])
def test_what_cannot_be_rows_is_refused_in_one_short_sentence(rows: Any, says: str) -> None:
    with pytest.raises(DataError) as caught:
        given(rows)
    assert says in str(caught.value)
    with pytest.raises(ConfigError) as refused:
        Task(train=rows, text="text", label="label")
    assert str(refused.value).startswith("Task: train ") and len(str(refused.value)) < 400


def test_two_columns_of_one_name_are_refused_as_text() -> None:
    frame = pandas.DataFrame([["a", "b", 1], ["c", "d", 0]], columns=["text", "text", "label"])
    table = given_rows(given(frame))
    assert table.columns == ("text", "text", "label")
    assert given_rows(given({1: ["a"], "1": ["b"]})).columns == ("1", "1")


def test_bytes_are_text_and_tuples_and_sets_are_lists(tmp_path: Path) -> None:
    rows = [{"text": b"a gem", "label": ("x", "y")}, {"text": "so so", "label": {"y"}}]
    writer = given_rows(given(rows))
    writer.write(tmp_path)
    table = read_table(tmp_path, "the rows", "key")
    assert table.column("text").texts() == ["a gem", "so so"]
    assert table.column("label").texts() == ['["x", "y"]', '["y"]']
    assert len(table.column("label").nested) == 2


def test_paths_and_numbers_stay_as_they_are(tmp_path: Path) -> None:
    assert file_or_rows(tmp_path / "a.csv") == str(tmp_path / "a.csv")
    assert [file_or_rows(value) for value in ("a.csv", 0.2, None)] == ["a.csv", 0.2, None]


def test_rows_that_are_changed_afterwards_change_nothing(tmp_path: Path) -> None:
    rows = [dict(row) for row in ROWS]
    name = given(rows)
    rows[0]["text"] = "changed"
    assert read_file(name, Cache(tmp_path)).column("text")[0] == "a gem"


def test_rows_of_another_process_are_found_in_the_cache_or_asked_for(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    name = given([{"text": "only here", "label": 3}])
    read_file(name, cache)
    from polytask.data import python_records

    python_records._GIVEN.pop(name)
    assert read_file(name, cache).column("text")[0] == "only here"
    with pytest.raises(DataError, match=r"neither this process nor the cache has them; build the same pk"):
        given_rows(name)
    with pytest.raises(DataError, match="neither this process nor the cache"):
        read_file(name, Cache(tmp_path / "empty"))


def test_a_training_on_rows_resumes_and_refuses_others(tmp_path: Path, tiny_checkpoint: Path) -> None:
    def run_of(rows: Any) -> Run:
        return Run.from_table({
            "data": {"max_length": 16, "cache": str(tmp_path / "cache"), "baselines": False},
            "encoder": {"checkpoint": str(tiny_checkpoint)},
            "tasks": {"a": Task(train=rows, text="text", label="label", dev=0.25)},
            "train": {"epochs": 1, "batch_size": 8, "max_steps": 2}})

    rows = [{"text": f"{'good' if n % 2 else 'bad'} {n}", "label": n % 2} for n in range(40)]
    out = tmp_path / "run"
    result = train(run_of(rows), out, quiet=True)
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    again = train(run_of(columns), out, resume=True, quiet=True)
    assert str(again) == str(result)
    with pytest.raises(RunError, match=r"another config: tasks\.a\.train was 'python:"):
        train(run_of(rows[1:]), out, resume=True, quiet=True)
    assert evaluate_run(out).scores == result.evaluation.scores
    scored = evaluate_run(out, data=[{"text": "good", "label": 1}, {"text": "bad", "label": 0}], task="a")
    assert scored.rows == {"a": 2}
    frame = result.to_pandas()
    accuracy = frame.loc[frame.metric == "accuracy", "value"].item()
    assert accuracy == result.evaluation.scores["a"]["accuracy"]
    page = result._repr_html_()
    assert "<td>accuracy</td>" in page and page.count("<table>") == 1
