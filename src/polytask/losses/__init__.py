"""Losses: what a task is trained on. A list of them is their weighted sum.

Every loss is computed in fp32, also under autocast.
"""

from __future__ import annotations

from typing import Any

from polytask.losses.contract import Loss, loss, total

__all__ = ["Loss", "loss", "total"]

loss.discover(__name__)


def __getattr__(name: str) -> Any:
    return loss.exported(__name__, name)


def __dir__() -> list[str]:
    return sorted([*__all__, *loss.exports(__name__)])
