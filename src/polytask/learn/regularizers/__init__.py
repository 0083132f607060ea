"""Regularizers: penalties that join a task's loss, or the update as a whole."""

from __future__ import annotations

from typing import Any

from polytask.learn.regularizers.contract import Penalty, Regularizer, regularizer

__all__ = ["Penalty", "Regularizer", "regularizer"]

regularizer.discover(__name__)


def __getattr__(name: str) -> Any:
    return regularizer.exported(__name__, name)


def __dir__() -> list[str]:
    return sorted([*__all__, *regularizer.exports(__name__)])
