"""The command line: the application, its verbs in the order of `--help`, and its exit status.

A verb imports what it needs when it is called, so `--help` imports no torch.
"""

from __future__ import annotations

from typing import Annotated

import typer

from polytask.output import exit_status
from polytask.verbs import experiments, models, records, training

app = typer.Typer(
    name="polytask",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"polytask {version('polytask')}")
        raise typer.Exit


@app.callback()
def polytask(
    version: Annotated[bool, typer.Option(
        "--version", callback=_version, is_eager=True, help="Print the version and stop.")] = False,
) -> None:
    """One BERT-family encoder trained jointly on many sentence-level tasks.

    First time here: `polytask demo` trains three small tasks that come with the package, and
    `polytask init FILE` writes a config for your own data. POLYTASK_LOG=info or debug says more.
    """


for group in (training, models, experiments, records):
    app.add_typer(group.verbs)


def main() -> None:
    """Run the command line; the user's mistakes are one line each and exit status 2."""
    raise SystemExit(exit_status(app))


if __name__ == "__main__":
    main()
