"""Layers spread over two processes train what one process does, and are saved whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import several_cases
from polytask.core.processes import ALONE
from several import Group, same

SMART = {"type": "smart", "weight": 0.5, "tasks": ["sst"]}


@pytest.mark.parametrize("table", [
    {"ema": 0.9, "accumulate": 2, "optimizer": several_cases.TABLE["optimizer"] | {"clip": 0.1}},
    {"surgery": {"type": "pcgrad", "layers": [0]}, "weighting": "automatic", "regularizers": [SMART]},
    {"surgery": {"type": "pcgrad", "heads": True}, "schedule": "balanced"},
], ids=["ema", "layers", "heads"])
def test_spread_layers_train_what_whole_ones_do(two: Group, table: Any) -> None:
    expected, events = several_cases.alone(table)
    for weights, seen in two.run(several_cases.trained, table | {"parallel": "shard"}):
        same(weights, expected)
        for one, other in zip(seen, events, strict=True):
            for key in ("losses", "penalties", "cosines", "gradient_norm"):
                assert one.get(key, {}) == pytest.approx(other.get(key, {}), rel=1e-3, abs=1e-5)


def test_a_checkpoint_of_spread_layers_is_whole_for_any_number(two: Group, tmp_path: Path) -> None:
    table = {"surgery": "pcgrad", "ema": 0.9, "parallel": "shard"}
    expected, _ = several_cases.alone(table)
    two.run(several_cases.until, table, 7, str(tmp_path / "two"))
    same(several_cases.resumed(ALONE, table, str(tmp_path / "two")), expected)
    for weights in two.run(several_cases.resumed, table, str(tmp_path / "two")):
        same(weights, expected)


def test_each_process_holds_a_part(two: Group) -> None:
    parts = two.run(several_cases.held_weights)
    assert sum(parts) == several_cases.held_weights(ALONE)
    assert max(parts) < 0.7 * sum(parts)
