"""What runs have left: reports, trackers, settings; and what a config can name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polytask.core.terminal import terminal_text
from polytask.verbs.options import out_option

verbs = typer.Typer(rich_markup_mode="markdown")


@verbs.command(epilog="Examples: `polytask report runs/first` · `polytask report studies/pairs` · "
             "`polytask report runs/a runs/b --out both.html`")
def report(
    runs: Annotated[list[Path], typer.Argument(help="A run or a study, or several runs to compare.")],
    out: Annotated[Path | None, out_option("The page; absent: report.html in the folder.")] = None,
    plots: Annotated[bool, typer.Option(help="Also write the figures to plots/ as SVG and PNG.")] = True,
) -> None:
    """Rewrite the report of a run or study from its folder."""
    from polytask.commands.report import report as write_report

    print(write_report(runs, out, plots))


@verbs.command(
    epilog="Example: `polytask log runs/first --to tensorboard`, then `tensorboard --logdir runs`")
def log(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    to: Annotated[str, typer.Option(help="tensorboard, mlflow, wandb (offline) or trackio.")],
    follow: Annotated[bool, typer.Option("--follow", help="Keep following until the training "
                                                          "ends.")] = False,
    out: Annotated[Path | None, out_option("The tracker's folder; absent: trackers/ in the run.")] = None,
    project: Annotated[str, typer.Option(help="The tracker's project or experiment.")] = "polytask",
) -> None:
    """Send the events of a run to a tracker, each once however often it is called."""
    from polytask.commands.log import log as log_run

    print(log_run(run, to, out, follow, project))


@verbs.command(epilog="Example: `polytask show runs/first`")
def show(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    config: Annotated[bool, typer.Option("--config", help="Print only the resolved config.")] = False,
) -> None:
    """Show the settings and scores of a run."""
    from polytask.commands.show import show_run

    for line in show_run(run, config):
        print(line if config else terminal_text(line))


@verbs.command("list", epilog="Example: `polytask list losses`")
def list_(
    family: Annotated[str | None, typer.Argument(help="A family, such as losses.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """List the components that a config can name, with their settings."""
    from polytask.commands.list import catalogue, table

    if as_json:
        import json

        print(json.dumps(catalogue(family), indent=2))
    else:
        table(family)
