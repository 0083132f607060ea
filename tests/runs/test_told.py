"""What a run does without, never draws or cannot finish is told where the user looks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from polytask.commands.check import check_run
from polytask.commands.evaluate import evaluate_run
from polytask.commands.predict import predict_file
from polytask.commands.show import show_run
from polytask.commands.train import train
from polytask.config import Run
from polytask.core.errors import ConfigError, DataError, Diverged
from polytask.core.events import read_events
from polytask.evaluation import evaluate
from polytask.inference.forward import forward_rows
from polytask.model.heads.decisions import fit_f1_threshold, fit_threshold

WORDS = ("bread", "rain", "a late bus", "the old book")


def write(path: Path, *rows: str) -> str:
    path.write_text("".join(f"{row}\n" for row in ("text,label", *rows)), encoding="utf-8")
    return path.name


def rows(count: int, first: int = 0) -> list[str]:
    return [f"{WORDS[n % 4]} {n},{n % 2}" for n in range(first, first + count)]


def run_of(folder: Path, checkpoint: Path, tasks: dict[str, dict[str, object]], **settings: object) -> Run:
    table = {"data": {"root": str(folder), "max_length": 32, "cache": str(folder / "cache")},
             "encoder": {"checkpoint": str(checkpoint)},
             "tasks": {name: {"text": "text", "label": "label", **task} for name, task in tasks.items()},
             "train": {"epochs": 1, "batch_size": 4, "optimizer": {"lr": 1e-3}, **settings}}
    return Run.from_table(table)


def test_refused_rows_are_reported_by_train_show_results_and_report(
    tmp_path: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_file = write(tmp_path / "train.csv", *rows(20), *["so, it goes,1"] * 5, "x,NaN")
    dev = write(tmp_path / "dev.csv", *rows(8, 50))
    run = run_of(tmp_path, tiny_checkpoint, {"a": {"train": train_file, "dev": dev}})
    train(run, tmp_path / "r")
    wanted = ["a train: 5 of 26 rows refused: 3 fields, expected 2 (train.csv:22, train.csv:23, "
              "train.csv:24, …)",
              'a train: 1 of 26 rows refused: no label ("NaN") (train.csv:27)']
    printed = capsys.readouterr().err
    shown = list(show_run(tmp_path / "r"))
    results = json.loads((tmp_path / "r" / "results.json").read_text(encoding="utf-8"))
    start = next(iter(read_events(tmp_path / "r" / "events.jsonl")))
    page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    for said in wanted:
        assert f"note: {said}\n" in printed and f"note: {said}" in shown[:4]
        assert said in results["notes"] and said in start["notes"]
        assert said.replace('"', "&quot;") in page
    assert results["dev"]["positives"] == {"a": "1"} and any('positive class: '
                                                             '"1"' in each for each in shown)


def test_a_task_that_is_never_drawn_is_reported_twice(tmp_path: Path, tiny_checkpoint: Path) -> None:
    large, small = write(tmp_path / "large.csv", *rows(300)), write(tmp_path / "small.csv", *rows(6, 400))
    dev = write(tmp_path / "dev.csv", *rows(8, 500))
    tasks: dict[str, dict[str, object]] = {name: {"train": file, "dev": dev}
                                           for name, file in (("a", large), ("b", small))}
    run = run_of(tmp_path, tiny_checkpoint, tasks, max_steps=3, batch_size=2, schedule="proportional")
    checked = "\n".join(check_run(run, time_steps=0, quiet=True))
    assert "plan of the only epoch: 3 steps of at most 3 (max_steps)" in checked
    assert "b is never drawn in 3 steps" in checked
    assert 'a: the score to beat on dev is always "0": accuracy 0.5000' in checked
    linear = [line for line in check_run(run, time_steps=0, quiet=True, linear=True)
              if line.startswith("a: the score to beat on dev is TF-IDF with logistic regression: ")]
    assert len(linear) == 1
    result = train(run, tmp_path / "r", quiet=True)
    assert "b got no update in this training" in str(result) and "a got no update" not in str(result)
    value = result.baselines["a"][1].scores["accuracy"]
    assert f"{value:.4f}" in linear[0] and f"TF-IDF with logistic regression {value:.4f}" in str(result)
    assert str(train(run, tmp_path / "r", resume=True, quiet=True)) == str(result)
    page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert f"TF-IDF with logistic regression: {value:.3f}" in page
    notes = json.loads((tmp_path / "r" / "results.json").read_text(encoding="utf-8"))["notes"]
    assert [note for note in notes if note.startswith("b got no update")]


def test_evaluation_keeps_the_range_of_the_model(tmp_path: Path, tiny_checkpoint: Path) -> None:
    graded = [f"{WORDS[n % 4]} {n},{n % 11 / 2}" for n in range(30)]
    train_file, dev = write(tmp_path / "train.csv", *graded), write(tmp_path / "dev.csv", *graded[:12])
    write(tmp_path / "narrow.csv", "bread,1.5", "rain,2.5")
    write(tmp_path / "wide.csv", *graded[:12], "one more,10")
    run = run_of(tmp_path, tiny_checkpoint, {"a": {"train": train_file, "dev": dev}})
    train(run, tmp_path / "r", quiet=True)
    found = evaluate_run(tmp_path / "r", assignments=[f"tasks.a.dev={tmp_path}/narrow.csv"])
    truth = [1.5, 2.5]
    predicted = found.decisions["a"].labels.tolist()
    error = sum(abs(a - b) for a, b in zip(predicted, truth, strict=True)) / 2
    assert found.scores["a"]["mae"] == pytest.approx(error, abs=1e-5)
    for arguments in ({"assignments": [f"tasks.a.dev={tmp_path}/wide.csv"]},
                      {"data": tmp_path / "wide.csv", "task": "a"}):
        with pytest.raises(DataError, match=r"wide.csv:14: label 10 is out of range, expected 0 to 5"):
            evaluate_run(tmp_path / "r", **arguments)  # type: ignore[arg-type]


def test_a_diverged_training_says_what_is_left_of_it(tmp_path: Path, tiny_checkpoint: Path) -> None:
    train_file, dev = write(tmp_path / "train.csv", *rows(40)), write(tmp_path / "dev.csv", *rows(8, 50))
    task: dict[str, object] = {"train": train_file, "dev": dev}
    hopeless = run_of(tmp_path, tiny_checkpoint, {"a": task}, optimizer={"lr": 1e30})
    with pytest.raises(Diverged) as caught:
        train(hopeless, tmp_path / "r", quiet=True)
    assert "nothing was saved, and" in str(caught.value) and "give another --out" not in str(caught.value)
    assert "intact" not in str(caught.value) and "changed settings need another --out" in str(caught.value)


@pytest.mark.parametrize("threshold", [0.3, "tuned", "accuracy"])
def test_a_threshold_is_kept_with_the_model(
    tmp_path: Path, tiny_checkpoint: Path, threshold: float | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[object] = []
    monkeypatch.setattr(evaluate, "forward_rows",
                        lambda *given, **more: passes.append(given) or forward_rows(*given, **more))
    several = [f"{WORDS[n % 4]} {n},{('a', '[]', 'b', 'a|b', '[]')[n % 5]}" for n in range(32)]
    train_file, dev = write(tmp_path / "train.csv", *several), write(tmp_path / "dev.csv", *several[:16])
    task: dict[str, object] = {"train": train_file, "dev": dev, "threshold": threshold}
    run = run_of(tmp_path, tiny_checkpoint, {"t": task})
    result = train(run, tmp_path / "r", quiet=True)
    assert len(passes) == 1  # the threshold is tuned on what the evaluation of the rows found
    saved = json.loads((tmp_path / "r" / "model" / "tasks.json").read_text(encoding="utf-8"))
    kept = saved["thresholds"]["t"]
    notes = json.loads((tmp_path / "r" / "results.json").read_text(encoding="utf-8"))["notes"]
    assert ("t dev: 16 of 16 rows stand in train too (dev.csv:2 = train.csv:2, …), so scores on dev "
            "flatter the model; polytask check lists them") in notes
    again = evaluate_run(tmp_path / "r")
    assert again.scores == result.evaluation.scores
    if isinstance(threshold, str):
        assert len(kept) == 2 and any("tuned on the dev rows" in note for note in result.evaluation.notes)
        fit = {"tuned": fit_f1_threshold, "accuracy": fit_threshold}[threshold]
        scores = result.evaluation.decisions["t"].scores
        true = np.array([[label in row.split(",")[1].split("|") for label in "ab"] for row in several[:16]])
        assert kept == pytest.approx([fit(scores[:, k], true[:, k]) for k in range(2)], rel=1e-5)
    else:
        assert kept == 0.3


def test_a_long_text_is_answered_and_reported(
    tmp_path: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_file, dev = write(tmp_path / "train.csv", *rows(16)), write(tmp_path / "dev.csv", *rows(8, 50))
    run = run_of(tmp_path, tiny_checkpoint, {"a": {"train": train_file, "dev": dev}})
    train(run, tmp_path / "r", quiet=True)
    new = tmp_path / "new.csv"
    new.write_text(f"text\nshort\n{'word ' * 700}\n", encoding="utf-8")
    predict_file(tmp_path / "r", ["a"], new, tmp_path / "out.csv", "csv", quiet=True)
    assert "note: 1 of 2 rows is longer than 32 tokens" in capsys.readouterr().err
    assert len((tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()) == 3


def test_a_task_that_no_phase_names_is_reported_unless_a_training_before_has_left_its_head(
        tmp_path: Path, tiny_checkpoint: Path) -> None:
    data = {"train": write(tmp_path / "train.csv", *rows(20)),
            "dev": write(tmp_path / "dev.csv", *rows(8, 50))}
    tasks: dict[str, dict[str, object]] = {"a": {**data}, "b": {**data}}
    untrained = "b is trained in no phase (train.tasks), so its head stays untrained, and its scores say"
    alone = run_of(tmp_path, tiny_checkpoint, tasks, max_steps=2, phases=[{"tasks": ["a"]}])
    assert untrained in "\n".join(check_run(alone, time_steps=0, quiet=True))
    train(alone, tmp_path / "alone", quiet=True)
    assert untrained in "".join(show_run(tmp_path / "alone"))
    train(run_of(tmp_path, tiny_checkpoint, tasks, max_steps=2), tmp_path / "both", quiet=True)
    again = run_of(tmp_path, tmp_path / "both", tasks, max_steps=2, phases=[{"tasks": ["a"]}])
    assert untrained not in "\n".join(check_run(again, time_steps=0, quiet=True))
    with pytest.raises(ConfigError, match=r'tasks: "a" is named twice'):
        check_run(run_of(tmp_path, tiny_checkpoint, tasks, phases=[{"tasks": ["a", "a"]}]), quiet=True)
