"""Schedules: which task when, as pure functions from sizes to steps.

`python -m polytask.learn.schedules` prints the first steps of each.
"""

from __future__ import annotations

from typing import Any

from polytask.learn.schedules.contract import Schedule, StepPlan, epoch_random, schedule

__all__ = ["Schedule", "StepPlan", "epoch_random", "schedule"]

schedule.discover(__name__)


def __getattr__(name: str) -> Any:
    return schedule.exported(__name__, name)


def __dir__() -> list[str]:
    return sorted([*__all__, *schedule.exports(__name__)])
