"""What evaluations take of a training: counted in tokens, told where it is much."""

from __future__ import annotations

from pathlib import Path

import pytest

import polytask as pk
from polytask.training.build import build


def notes(folder: Path, dev_rows: int, trainable: str = "full", **train: object) -> list[str]:
    """Return the notes on evaluations of a training on 32 rows of four words."""
    for name, rows in (("train", 32), ("dev", dev_rows)):
        lines = [f"{'good' if row % 2 else 'bad'} one {row} here,{row % 2}" for row in range(rows)]
        (folder / f"{name}.csv").write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    encoder = pk.Encoder(checkpoint="minilm", trainable=trainable)  # type: ignore[arg-type]
    run = pk.Run(data=pk.Data(root=str(folder)), encoder=encoder,
                 tasks={"mood": pk.Task(train="train.csv", dev="dev.csv", text=("text",), label="label")},
                 train=pk.Train(batch_size=8, **train))  # type: ignore[arg-type]
    return [note for note in build(run, quiet=True).notes if "evaluations" in note]


@pytest.mark.parametrize(("dev_rows", "train", "share"), [
    (40, {"epochs": 2}, None),                              # 40 rows against 3 · 32
    (96, {"epochs": 2}, 50),
    (96, {"max_steps": 2}, 67),                             # 96 against 3 · 16
    (40, {"epochs": 2, "evaluate_every": 1}, 62),           # 4 · 40 against 3 · 32
    (96, {"epochs": 4, "evaluate_every": 16}, None),        # 96 against 3 · 128
    (120, {"phases": [{"epochs": 1}, {"epochs": 3, "evaluate_every": 12}]}, 38),  # 240 against 3 · 128
])
def test_the_share_of_evaluations_is_reported_where_it_exceeds_a_third(
        tmp_path: Path, dev_rows: int, train: dict[str, object], share: int | None) -> None:
    told = notes(tmp_path, dev_rows, **train)
    if share is None:
        assert told == []
        return
    (note,) = told
    percent = int(note.split("about ")[1].split("%")[0])
    assert abs(percent - share) <= 1
    assert f"the {dev_rows} dev rows of mood" in note
    assert "tasks.mood.dev_limit or train.evaluate_every" in note


def test_a_frozen_encoder_whose_texts_are_encoded_once_has_no_such_note(tmp_path: Path) -> None:
    assert notes(tmp_path, 400, epochs=1)
    assert notes(tmp_path, 400, trainable="frozen", epochs=1) == []
