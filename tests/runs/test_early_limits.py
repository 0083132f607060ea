"""What a training cannot do is refused or told by validation and `check`, before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from polytask.commands.check import check_run
from polytask.commands.predict import predict_file
from polytask.commands.train import train
from polytask.config import Run
from polytask.core.errors import PolytaskError
from polytask.core.events import read_events
from polytask.data.splits import carve, row_keys
from polytask.data.tables import table_of

WORDS = ("bread", "rain", "a late bus", "the old book")


def run_of(folder: Path, checkpoint: Path, rows: list[str], max_length: int = 32,
           **settings: object) -> Run:
    (folder / "train.csv").write_text("text,label\n" + "".join(f"{row}\n" for row in rows))
    return Run.from_table({
        "data": {"root": str(folder), "max_length": max_length, "cache": str(folder / "cache")},
        "encoder": {"checkpoint": str(checkpoint)},
        "tasks": {"a": {"text": "text", "label": "label", "train": "train.csv", "dev": 0.2}},
        "train": {"epochs": 1, "batch_size": 4, **settings}})


def two(count: int) -> list[str]:
    return [f"{WORDS[n % 4]} {n},{n % 2}" for n in range(count)]


def checked(run: Run) -> str:
    return "\n".join(check_run(run, time_steps=0, quiet=True))


def test_a_batch_above_the_rows_is_one_short_batch(tmp_path: Path, tiny_checkpoint: Path) -> None:
    run = run_of(tmp_path, tiny_checkpoint, two(15), batch_size=64, epochs=2)
    assert "a: 1 batches of 12, 12 rows drawn (0 never drawn, 0 more than once)" in checked(run)
    train(run, tmp_path / "r", quiet=True)
    steps = [event for event in read_events(tmp_path / "r" / "events.jsonl") if event["event"] == "step"]
    assert len(steps) == 2


def test_the_last_batch_is_short(tmp_path: Path, tiny_checkpoint: Path) -> None:
    run = run_of(tmp_path, tiny_checkpoint, two(15), batch_size=5)
    assert "a: 3 batches of 5, 12 rows drawn (0 never drawn, 0 more than once)" in checked(run)


@pytest.mark.parametrize("length", [65, 100_000])
def test_a_length_above_the_positions_is_refused_before_a_folder_is_made(
    length: int, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    run = run_of(tmp_path, tiny_checkpoint, two(15), max_length=length)
    said = rf"data\.max_length: found {length:,}, expected at most 64"
    with pytest.raises(PolytaskError, match=said):
        checked(run)
    with pytest.raises(PolytaskError, match=said):
        train(run, tmp_path / "r", quiet=True)
    assert not (tmp_path / "r").exists()


def test_a_model_at_its_last_position_answers_any_text(
    tmp_path: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{'word ' * 90}{row}" for row in two(16)]
    run = run_of(tmp_path, tiny_checkpoint, rows, max_length=64)
    assert "12 rows (100.0%) truncated at 64" in checked(run)
    train(run, tmp_path / "r", quiet=True)
    new = tmp_path / "new.jsonl"
    new.write_text('{"text": "' + "word " * 5000 + '"}\n{"text": ""}\n{"text": "' + "x" * 5000 + '"}\n')
    predict_file(tmp_path / "r", ["a"], new, tmp_path / "out.csv", "csv", quiet=True)
    assert "1 of 3 rows is longer than 64 tokens" in capsys.readouterr().err
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize("classes", [2, 9, 40])
def test_classes_of_four_rows_give_dev_rows_together(
    classes: int, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    rows = [f"{WORDS[k]} {name},c{name}" for name in range(classes) for k in range(4)]
    table = table_of([(row.rpartition(",")[0],) for row in rows], "t")
    columns = (table.column("text1"),)
    keys, strata = row_keys(columns, table.lines - 1), (table.lines - 1) // 4
    kept, dev = carve(keys, strata, 0.1, seed=1)
    assert len(dev) == pytest.approx(0.1 * len(rows), abs=1) and len(kept) + len(dev) == len(rows)
    if classes == 9:
        run = run_of(tmp_path, tiny_checkpoint, rows)
        said = checked(run)
        assert "a: classes, 9 classes" in said and "dev has 9 rows" in said
    if classes == 40:
        run = run_of(tmp_path, tiny_checkpoint, rows * 2)
        assert "dev   " in checked(run)


def test_a_set_too_small_for_dev_rows_says_so(tmp_path: Path, tiny_checkpoint: Path) -> None:
    with pytest.raises(PolytaskError, match=r"train\.csv: 2 rows are too few to carve a dev split of 0\.2"):
        checked(run_of(tmp_path, tiny_checkpoint, two(2)))


def test_steps_that_leave_a_class_or_a_task_without_rows_are_reported(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    run = run_of(tmp_path, tiny_checkpoint, two(40), max_steps=2)
    said = checked(run)
    assert "2 steps of at most 2 (max_steps)" in said
    assert "a: 2 batches of 4, 8 rows drawn (24 never drawn, 0 more than once)" in said
