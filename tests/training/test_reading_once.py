"""Where texts are read once, the progress counts the rows of all tasks, up to all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from polytask.commands.train import train
from polytask.config import Run
from polytask.core.progress import Progress, Silent
from polytask.training import session


class Counting(Silent):
    def __init__(self) -> None:
        self.done, self.totals = 0.0, list[float]()

    def advance(self, done: float, note: str = "") -> None:
        self.done += done

    def skip(self, done: float) -> None:
        self.done += done

    def total(self, units: float) -> None:
        self.totals.append(units)


@pytest.mark.parametrize(("settings", "parts"), [
    ({"trainable": "frozen"}, ["train"]),
    ({"trainable": [1]}, ["train", "dev"]),
    ({"trainable": [1], "keep_frozen_gb": 1e-9}, ["train", "dev"]),
])
def test_the_count_ends_at_the_rows_of_all_tasks(
        settings: dict[str, Any], parts: list[str], small_table: dict[str, Any], tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    bars: dict[str, Counting] = {}

    @contextmanager
    def counted(title: str, total: float | None = None, quiet: bool = False) -> Iterator[Progress]:
        yield bars.setdefault(title, Counting())

    monkeypatch.setattr(session, "progress", counted)
    small_table["encoder"] |= settings
    small_table["train"] |= {"max_steps": 1}
    train(Run.from_table(small_table), tmp_path / "run", quiet=True)
    rows = sum({"train": table["limit"], "dev": table["dev_limit"]}[part]
               for table in small_table["tasks"].values() for part in parts)
    bar = bars["reading each text once"]
    assert bar.totals == [rows] and bar.done == rows
