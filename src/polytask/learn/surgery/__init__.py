"""Surgery: what is done when the gradients of tasks disagree."""

from __future__ import annotations

from typing import Any

from polytask.learn.surgery.contract import GradientRule, Surgery, surgery

__all__ = ["GradientRule", "Surgery", "surgery"]

surgery.discover(__name__)


def __getattr__(name: str) -> Any:
    return surgery.exported(__name__, name)


def __dir__() -> list[str]:
    return sorted([*__all__, *surgery.exports(__name__)])
