"""Weightings: how the losses of the tasks become one."""

from __future__ import annotations

from typing import Any

from polytask.learn.weightings.contract import Weighting, WeightingModule, weighting

__all__ = ["Weighting", "WeightingModule", "weighting"]

weighting.discover(__name__)


def __getattr__(name: str) -> Any:
    return weighting.exported(__name__, name)


def __dir__() -> list[str]:
    return sorted([*__all__, *weighting.exports(__name__)])
