"""Adapters: task-specific or low-rank pieces in the encoder. At the start they change nothing."""

from __future__ import annotations

from typing import Any

from polytask.model.adapters.contract import Adapter, adapter

__all__ = ["Adapter", "adapter"]

adapter.discover(__name__)


def __getattr__(name: str) -> Any:
    return adapter.exported(__name__, name)


def __dir__() -> list[str]:
    return sorted([*__all__, *adapter.exports(__name__)])
