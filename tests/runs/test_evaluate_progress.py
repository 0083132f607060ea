"""`polytask evaluate` tells how far it is, as other long work does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import polytask as pk
from polytask.commands import evaluate as command


def test_scoring_advances_through_every_row_unless_it_is_quiet(
        served_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars: list[list[float]] = []
    shown: list[bool] = []

    class Bar:
        def __init__(self, total: float) -> None:
            bars.append([total])

        def advance(self, done: float, note: str = "") -> None:
            bars[-1].append(done)

        def skip(self, done: float) -> None: ...

        def total(self, units: float) -> None: ...

    @contextmanager
    def watched(title: str, total: float, quiet: bool) -> Iterator[Bar]:
        assert title == "scoring dev"
        shown.append(not quiet)
        yield Bar(total)

    monkeypatch.setattr(command, "progress", watched)
    first = pk.evaluate(served_run)
    again = pk.evaluate(served_run, quiet=True)
    assert first.scores == again.scores and shown == [True, False]
    total, *parts = bars[0]
    assert sum(parts) == total == sum(first.rows.values()) > 0
