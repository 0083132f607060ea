"""`polytask list`: every registered component, as data or as tables."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from polytask.core.errors import ConfigError, nearest
from polytask.core.registry import Registry
from polytask.core.terminal import terminal_text

# An entry of the checklist of techniques, and what is said of them under a table.
_ID = re.compile(r"\b[MGTPSL]-\d+\b")
_IDS = ("M-3, G-2 and their like: entries of the checklist of five course reports (M mfrr, G surgery, T "
        "triple-threat, P practices, S swissbert, L the literature; docs/coverage.md)")
# Columns of a table that no terminal shows: more than any row needs.
_WIDEST = 2000
# Modules whose import registers the components, in the order listed.
FAMILIES = {
    "poolings": "polytask.model.poolings",
    "pairings": "polytask.model.pairings",
    "heads": "polytask.model.heads",
    "losses": "polytask.losses",
    "schedules": "polytask.learn.schedules",
    "weightings": "polytask.learn.weightings",
    "surgeries": "polytask.learn.surgery",
    "regularizers": "polytask.learn.regularizers",
    "adapters": "polytask.model.adapters",
    "metrics": "polytask.metrics",
}


def families(name: str | None = None) -> dict[str, Registry[Any]]:
    """Return the families by their plural name: all, or the one asked for."""
    if name is not None and name not in FAMILIES:
        raise ConfigError(f'"{name}" is not a family{nearest(name, FAMILIES)}'
                          f" (expected one of {', '.join(FAMILIES)})")
    wanted = [name] if name else list(FAMILIES)
    for family in wanted:
        import_module(FAMILIES[family])
    return {family: Registry.all[family] for family in wanted}


def catalogue(name: str | None = None) -> dict[str, list[dict[str, Any]]]:
    """Return {family: [component]}: fields, defaults, first line of the docstring, source."""
    return {plural: family.describe() for plural, family in families(name).items()}


def table(name: str | None = None) -> None:
    """Print the catalogue as tables."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # A program that reads the table gets it whole, a line for each component.
    whole = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    console = Console(width=_WIDEST) if whole else Console()
    for plural, members in catalogue(name).items():
        shown = Table(title=plural, title_justify="left", show_lines=False, expand=not whole)
        shown.add_column("name", style="bold", no_wrap=True)
        if plural == "metrics":
            for cells in _metric_cells(shown, members):
                shown.add_row(*map(Text, map(terminal_text, cells)))
        else:
            shown.add_column("fields", ratio=2)
            shown.add_column("what it does", ratio=3)
            shown.add_column("source", ratio=2, style="dim")
            for member in members:
                fields = ", ".join(_field(field) for field in member["fields"])
                cells = (member["reference"], fields, member["doc"], member["source"])
                shown.add_row(*map(Text, map(terminal_text, cells)))
        console.print(shown)
        if plural != "metrics" and any(_ID.search(member["source"] or "") for member in members):
            console.print(_IDS, style="dim", highlight=False)


def _metric_cells(shown: Any, members: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the metrics table: supported kinds of labels, direction, description."""
    shown.add_column("kinds of labels", ratio=2)
    shown.add_column("better", no_wrap=True)
    shown.add_column("what it does", ratio=4)
    shown.add_column("also called", ratio=2, style="dim")
    for member in members:
        yield (member["reference"], ", ".join(member["kinds"]), member["direction"], member["doc"],
               ", ".join(member["aliases"]))


def _field(field: dict[str, Any]) -> str:
    if field["required"]:
        return f"{field['name']} (required)"
    default = field["default"]
    return field["name"] if default is None else f"{field['name']}={default}"
