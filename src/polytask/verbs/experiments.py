"""Many runs: studies and searches."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from polytask.core.terminal import terminal_text
from polytask.verbs.options import Each, On, Quiet, RunScale, RunWorkers, Set, Trust, out_option

verbs = typer.Typer(rich_markup_mode="markdown")


@verbs.command(epilog="Example: `polytask compare recipes/triple-threat/table-2.toml --scale pilot "
             "--out studies/pairs --set data.root=data`")
def compare(
    study: Annotated[Path, typer.Argument(help="A study (TOML): a base config and rows of changes.")],
    out: Annotated[Path, out_option("The study's folder; finished runs in it are not repeated.")],
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds per row; absent: the study's.")] = None,
    workers: RunWorkers = None,
    on: On = None,
    resources: Each = None,
    rows: Annotated[str | None, typer.Option(help="Only these rows: A,B")] = None,
    scale: RunScale = "full",
    baselines: Annotated[bool | None, typer.Option(
        "--baselines/--no-baselines", help="Also train each task alone, with the epochs (under "
        "max_steps: updates) that it has in the base row, and report the gain over that. Absent: as the "
        "study says.")] = None,
    assignments: Set = None,
    quiet: Quiet = False,
    trust: Trust = False,
) -> None:
    """Train every row of a study with several seeds and compare them."""
    from polytask.commands.compare import compare

    result = compare(study, out, seeds, workers, None if rows is None else rows.split(","), scale,
                     assignments or (), baselines, quiet, trust, on=on, resources=resources)
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(*result.tables(), sep="\n\n")
    else:
        print(terminal_text(result))
    if result.comparison.failed:
        raise typer.Exit(1)


@verbs.command("sweep", epilog="Example: `polytask sweep recipes/surgery/sweep-hyperparameters.toml "
             "--scale pilot --out sweeps/surgery --workers 2 --set data.root=data`")
def sweep_(
    sweep: Annotated[Path, typer.Argument(help="A sweep (TOML): a base config and what to search.")],
    out: Annotated[Path, out_option("The sweep's folder; a sweep in it is resumed.")],
    trials: Annotated[int | None, typer.Option(min=1, help="Trials in all; absent: the file's.")] = None,
    storage: Annotated[str | None, typer.Option(
        help="A database that other machines search with: sqlite:///FILE or postgresql://USER@HOST/NAME; "
        "absent: a journal in the folder.")] = None,
    workers: RunWorkers = None,
    on: On = None,
    resources: Each = None,
    scale: RunScale = "full",
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the search.")] = 0,
    assignments: Set = None,
    quiet: Quiet = False,
    trust: Trust = False,
) -> None:
    """Search settings with Optuna: a grid or TPE over any dotted keys, for one metric or several."""
    from polytask.commands.sweep import sweep as run_sweep

    result = run_sweep(sweep, out, trials, workers, scale, assignments or (), seed, quiet, trust,
                       on=on, resources=resources, storage=storage)
    print(terminal_text(result))
    if result.failures:
        raise typer.Exit(1)
