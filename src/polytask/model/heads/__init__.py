"""Heads: from the vector of a row to its logits or score."""

from __future__ import annotations

from typing import Any

from polytask.model.heads.contract import Head, head

__all__ = ["Head", "head"]

head.discover(__name__)


def __getattr__(name: str) -> Any:
    return head.exported(__name__, name)


def __dir__() -> list[str]:
    return sorted([*__all__, *head.exports(__name__)])
