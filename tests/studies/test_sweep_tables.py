"""The table of a sweep: the best trials first, whichever way a metric is better."""

from __future__ import annotations

from pathlib import Path

import pytest

from polytask.studies.search import FinishedTrial, front
from polytask.studies.sweep import Parameter, Sweep
from polytask.studies.sweep_tables import rows


def swept(*metrics: str) -> Sweep:
    parameter = Parameter("train.epochs", ("train.epochs",), (1, 2, 3))
    return Sweep(Path("s.toml"), "t", {"tasks": {}}, (parameter,), "grid", 4, metrics, "none", ())


@pytest.mark.parametrize(("metrics", "values", "order"), [
    (("sts.mae",), [(0.9,), (0.3,), None, (0.6,)], "1 3 0 2"),
    (("sts.pearson",), [(0.9,), (0.3,), None, (-0.6,)], "0 1 3 2"),
    (("sts.mae", "sst.accuracy"), [(0.3, 0.5), (0.3, 0.7), (0.2, 0.1)], "2 1 0"),
])
def test_the_best_trial_is_first(metrics: tuple[str, ...], values: list[tuple[float, ...] | None],
                                 order: str) -> None:
    trials = [FinishedTrial(number, {"train.epochs": 0}, each, 1.0) for number, each in enumerate(values)]
    table = rows(swept(*metrics), trials)
    assert [first for first, *_ in table] == order.split()
    assert front(trials, metrics)[0].number == int(table[0][0]) or len(metrics) > 1
