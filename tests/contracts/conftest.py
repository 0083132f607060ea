"""The contracts hold for examples/own_parts.py as well: what we show is what we ask for."""

from __future__ import annotations

from pathlib import Path

from polytask.core.user_modules import add_search_path, load_module

add_search_path(Path(__file__).parents[2] / "examples")
load_module("own_parts:Focal")
