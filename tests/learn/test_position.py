"""A position survives JSON, so a checkpoint can keep it."""

from __future__ import annotations

import json
from dataclasses import asdict

from polytask.learn.position import Position


def test_a_position_is_plain_data() -> None:
    at = Position(phase=1, epoch=2, index=3, step=40, total=90, evaluated=80, since_best=1, best=0.5,
                  best_of={"sst": 0.6}, seconds=1.5, tokens=1000)
    assert Position(**json.loads(json.dumps(asdict(at)))) == at


def test_a_new_training_has_no_best_and_shares_nothing() -> None:
    first, second = Position(), Position()
    first.best_of["sst"] = 1.0
    assert second == Position() and second.best is None and second.evaluated < second.total
