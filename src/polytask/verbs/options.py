"""Options that several verbs of the command line have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from polytask.core.errors import ConfigError

Set = Annotated[list[str] | None, typer.Option(
    "--set", metavar="KEY=VALUE", help="Override a setting by its dotted key; repeatable.")]
Trust = Annotated[bool, typer.Option(
    "--trust", help="Import the modules that the folder names for custom components; without it, none of "
    "its code is run.")]
On = Annotated[str | None, typer.Option(
    "--on", metavar="ray[://ADDRESS]", help="Compute on a Ray cluster (docs/scale.md); absent: "
    "on this machine.")]
Each = Annotated[str | None, typer.Option(
    "--each", metavar="cpus=2,gpus=1", help="The resources of each run or worker there; absent: cpus=1.")]
RunWorkers = Annotated[int | None, typer.Option(
    min=1, help="Runs at the same time; absent: 1, or on a cluster as many as fit its nodes.")]
RunScale = Annotated[str, typer.Option(help="pilot: fewer rows and a small encoder; full: as stated.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress; notes about the data stay.")]


def out_option(help: str) -> Any:
    """Return the option --out; an empty one, which is that of an unset variable, is refused."""
    return typer.Option(parser=_filled, metavar="PATH", help=help)


def _filled(value: str | Path) -> Path:
    if not str(value).strip():
        raise ConfigError(f'--out: found "{value}", expected a path; "." is the current folder')
    return Path(value)
