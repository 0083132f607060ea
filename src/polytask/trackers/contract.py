"""The contract of a tracker: it stores each point once, and knows which it has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Kinds of events that are sent; the steps of each kind only grow.
KINDS = ("step", "evaluation")


@dataclass(frozen=True)
class Point:
    """Numbers logged together: after `step` updates, at `time` seconds since 1970."""

    kind: str
    step: int
    time: float
    values: Mapping[str, float]


class Tracker(ABC):
    """Where points are sent. A resumed run repeats updates; `sent` tells which points have arrived."""

    @abstractmethod
    def sent(self) -> dict[str, int]:
        """Return the step of the last point of each kind; a kind without one is absent."""

    @abstractmethod
    def send(self, points: Sequence[Point]) -> None:
        """Store points in order; return once they are safe."""

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the points are, for the user to look."""

    @abstractmethod
    def close(self) -> None:
        """Release what the tracker holds."""


def points_of(event: Mapping[str, Any], time: float) -> Point | None:
    """Return the numbers of an event under the names that trackers show; None if it has none.

    `<task>/loss`, `<task>/<metric>` (on dev), `weight/<task>`, `cosines/<a>-<b>`, `penalties/<name>`, `lr`,
    `gradient_norm`, `epoch`, `tokens_per_second`, the overall scores.
    """
    kind = event.get("event")
    if kind not in KINDS:
        return None
    values: dict[str, float] = {}
    for key, value in event.items():
        if key in ("step", "phase", "rows", "tokens", "seconds"):
            continue
        if key == "losses":
            values |= {f"{task}/loss": loss for task, loss in value.items() if _is_number(loss)}
        elif key == "dev":
            values |= {f"{task}/{metric}": score for task, scores in value.items()
                       for metric, score in scores.items() if _is_number(score)}
        elif isinstance(value, Mapping):
            values |= {f"{key}/{name}": number for name, number in value.items() if _is_number(number)}
        elif _is_number(value):
            values[key] = value
    if event.get("seconds"):
        values["tokens_per_second"] = event["tokens"] / event["seconds"]
    return Point(kind, int(event["step"]), time, {name: float(value) for name, value in values.items()})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
