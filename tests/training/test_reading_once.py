"""Where texts are read once, the progress counts the rows of all tasks, and a signal ends it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from polytask.commands.train import train
from polytask.config import Run
from polytask.core.errors import Interrupted
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


@pytest.mark.parametrize("trainable", ["frozen", [1]])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_reading_before_all_texts_are_read(
        number: signal.Signals, trainable: Any, small_table: dict[str, Any], tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopping(Counting):
        def advance(self, done: float, note: str = "") -> None:
            if not self.done:
                os.kill(os.getpid(), number)
            super().advance(done, note)

    bar = Stopping()

    @contextmanager
    def stopping(title: str, total: float | None = None, quiet: bool = False) -> Iterator[Progress]:
        yield bar

    small_table["encoder"] |= {"trainable": trainable}
    small_table["train"] |= {"max_steps": 1}
    run = Run.from_table(small_table)
    with monkeypatch.context() as patched:
        patched.setattr(session, "progress", stopping)
        with pytest.raises(Interrupted, match=r"stopped before the next update.*resume=True"):
            train(run, tmp_path / "run", quiet=True)
    assert 0 < bar.done < bar.totals[0]
    train(run, tmp_path / "run", resume=True, quiet=True)
    train(run, tmp_path / "whole", quiet=True)
    saved, whole = (json.loads((tmp_path / name / "results.json").read_text())["dev"]
                    for name in ("run", "whole"))
    assert saved == whole
