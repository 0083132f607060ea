"""Reads a run's `results.json`, and refuses one that polytask did not write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from polytask.core.errors import RunError
from polytask.core.json_files import read_json
from polytask.core.settings import tell

_Number = float | None


@with_config(ConfigDict(strict=True))
class _ScoredSplit(TypedDict):
    scores: dict[str, Annotated[dict[str, _Number | dict[str, _Number]], Field(min_length=1)]]
    score: float
    overall: dict[str, float]
    rows: dict[str, int]
    notes: list[str]
    positives: NotRequired[dict[str, str]]


@with_config(ConfigDict(strict=True))
class _RunScores(TypedDict):
    dev: NotRequired[_ScoredSplit]
    test: NotRequired[_ScoredSplit]
    notes: NotRequired[list[str]]
    machine: NotRequired[str]
    seconds: float
    tokens: float
    finished: str


_ADAPTER: TypeAdapter[Any] = TypeAdapter(_RunScores)


def read_results(path: Path) -> dict[str, Any]:
    """Return what `results.json` says; raise `RunError` for what is not a result of a run."""
    results = read_json(path)
    try:
        _ADAPTER.validate_python(results)
    except ValidationError as error:
        raise RunError(f"{path}: is not as polytask wrote it: {tell(error, '').problems[0]}") from None
    for split in ("dev", "test"):
        if split in results and results[split]["scores"].keys() - results[split]["rows"].keys():
            raise RunError(f"{path}: is not as polytask wrote it: {split} lacks the rows of a task")
    return dict(results)


def seconds_text(by_machine: Mapping[str, float]) -> str:
    """Return the mean seconds of a row's runs on a machine, or "147 to 1,357" where machines differ."""
    span = (min(by_machine.values()), max(by_machine.values()))
    return " to ".join(dict.fromkeys(f"{seconds:,.0f}" for seconds in span))
