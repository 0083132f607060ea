"""`results.json` read back: what polytask wrote, or a sentence."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from polytask.core.errors import RunError
from polytask.core.results_file import read_results

WHOLE: dict[str, Any] = {
    "dev": {"scores": {"a": {"accuracy": 0.5, "per_label_accuracy": {"x": 1.0, "y": None}}}, "score": 0.5,
            "overall": {"mean": 0.5}, "rows": {"a": 2}, "notes": [], "positives": {}},
    "notes": ["said"], "seconds": 1, "tokens": 12, "finished": "2026-01-01T00:00:00", "torch": "2",
}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(WHOLE))
    assert read_results(tmp_path / "results.json") == WHOLE


@pytest.mark.parametrize(("path", "value"), [
    ("dev", []), ("dev.scores", {"a": {}}), ("dev.scores.a.accuracy", "high"), ("dev.rows", {}),
    ("dev.notes", [1]), ("seconds", None), ("finished", 1), ("notes", "said"), ("dev.score", [[]])])
def test_what_is_of_another_shape_is_refused(path: str, value: Any, tmp_path: Path) -> None:
    table = copy.deepcopy(WHOLE)
    *parents, last = path.split(".")
    at = table
    for key in parents:
        at = at[key]
    at[last] = value
    (tmp_path / "results.json").write_text(json.dumps(table))
    with pytest.raises(RunError, match=r"results\.json: is not as polytask wrote it: "):
        read_results(tmp_path / "results.json")


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000])
def test_what_is_not_a_table_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(RunError):
        read_results(tmp_path / "results.json")
