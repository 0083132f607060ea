"""A first config, its check, a training and its scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polytask.core.terminal import terminal_text
from polytask.verbs.options import Quiet, Set, Trust, out_option

verbs = typer.Typer(rich_markup_mode="markdown")


def _changes(assignments: list[str] | None) -> str:
    """Return settings as they are typed again."""
    return "".join(f" --set '{assignment}'" for assignment in assignments or ())


@verbs.command(epilog="Example: `polytask demo --out runs/demo`")
def demo(
    out: Annotated[Path, out_option("The run folder; a demo in it is resumed.")] = Path("runs/demo"),
    assignments: Set = None,
    quiet: Quiet = False,
) -> None:
    """Train the sample's three tasks, which come with the package: sentiment, paraphrase, similarity."""
    from polytask.commands.demo import demo as train_demo
    from polytask.commands.demo import next_commands

    print(train_demo(out, assignments or (), quiet), next_commands(out), sep="\n")


@verbs.command(epilog="Example: `polytask schema --out polytask.schema.json`")
def schema(
    out: Annotated[Path | None, out_option("Write to this file instead of printing.")] = None,
) -> None:
    """Write the JSON schema of configs, with which editors complete and check them."""
    from polytask.commands.schema import schema_text, write_schema

    print(schema_text() if out is None else write_schema(out), end="\n" * (out is not None))


@verbs.command(epilog="Example: `polytask init data/reviews-train.csv data/reviews-dev.csv > my.toml`")
def init(
    data: Annotated[list[Path], typer.Argument(help="Data files; x-train and x-dev belong to one task.")],
    out: Annotated[Path | None, out_option("Write to this file instead of printing.")] = None,
    checkpoint: Annotated[str, typer.Option(help="The encoder to start from.")] = "minilm",
) -> None:
    """Write a first config, guessed from the columns of data files."""
    from polytask.commands.init import scaffold, write_config

    text = scaffold(data, checkpoint=checkpoint, quiet=False)
    if out is None:
        print(text, end="")
        return
    print("\n".join(write_config(out, text)))


@verbs.command(epilog="Example: `polytask check three.toml --set data.root=../data`")
def check(
    config: Annotated[Path, typer.Argument(help="A config (TOML).")],
    assignments: Set = None,
    time_steps: Annotated[int, typer.Option(help="Steps to time for the estimate; 0 for none.")] = 5,
    baseline: Annotated[bool, typer.Option(
        "--baseline", help="Also score TF-IDF with a linear model on the same rows (seconds).")] = False,
    trust: Trust = False,
    quiet: Quiet = False,
) -> None:
    """Read the data; show their problems, the plan of the first epoch and an estimate of the time."""
    from polytask.commands.check import check_run
    from polytask.config import Run
    from polytask.core.user_modules import trusting

    run = Run.from_toml(config, assignments or ())
    with trusting(trust):
        for line in check_run(run, time_steps, quiet, baseline):
            print(terminal_text(line))
    print(terminal_text(f"next: polytask train {config} --out runs/{config.stem}{_changes(assignments)}"))


@verbs.command(epilog="Examples: `polytask train three.toml --out runs/first --set train.epochs=5` · "
             "`torchrun --standalone --nproc-per-node 4 -m polytask train three.toml --out runs/first`")
def train(
    config: Annotated[Path, typer.Argument(help="A config (TOML).")],
    out: Annotated[Path, out_option("The run folder to create.")],
    assignments: Set = None,
    resume: Annotated[bool, typer.Option(help="Resume the run in this folder.")] = False,
    quiet: Quiet = False,
    trust: Trust = False,
) -> None:
    """Train the tasks of a config together and write a run folder."""
    from polytask.commands.train import train_config

    result = train_config(config, out, assignments or (), resume, quiet, trust)
    if result is not None:
        print(terminal_text(result))
        task = next(iter(result.evaluation.scores), "TASK")
        print(terminal_text(f"next: polytask predict {out} --task {task} FILE, or: polytask serve {out}"))


@verbs.command(epilog="Example: `polytask evaluate runs/first --split test`")
def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    split: Annotated[str, typer.Option(help="train, dev or test.")] = "dev",
    data: Annotated[Path | None, typer.Option(help="Score another labelled file, with --task.")] = None,
    task: Annotated[str | None, typer.Option(help="Only this task.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    assignments: Set = None,
    quiet: Quiet = False,
    trust: Trust = False,
) -> None:
    """Score a run on one of its splits, or on another file."""
    from polytask.commands.evaluate import evaluate_run

    result = evaluate_run(run, split, data, task, assignments or (), trust, quiet)
    print(result.to_json() if as_json else terminal_text(result))
