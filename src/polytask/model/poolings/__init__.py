"""Poolings: from the hidden states of a sequence to one vector."""

from __future__ import annotations

from typing import Any

from polytask.model.poolings.contract import Pooling, pooling

__all__ = ["Pooling", "pooling"]

pooling.discover(__name__)


def __getattr__(name: str) -> Any:
    return pooling.exported(__name__, name)


def __dir__() -> list[str]:
    return sorted([*__all__, *pooling.exports(__name__)])
