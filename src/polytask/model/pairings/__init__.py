"""Pairings: how one or two sentences meet the encoder."""

from __future__ import annotations

from typing import Any

from polytask.model.pairings.contract import Pairing, pairing

__all__ = ["Pairing", "pairing"]

pairing.discover(__name__)


def __getattr__(name: str) -> Any:
    return pairing.exported(__name__, name)


def __dir__() -> list[str]:
    return sorted([*__all__, *pairing.exports(__name__)])
