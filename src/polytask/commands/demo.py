"""`polytask demo`: the sample's three tasks, trained with no file of the user's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from polytask import sample
from polytask.commands.train import train
from polytask.config import Run
from polytask.core.run_folder import RunFolder
from polytask.training.session import Result


def demo(out: str | Path, assignments: Iterable[str] = (), quiet: bool = False) -> Result:
    """Train the demo in the folder `out`, or resume it there.

    Raises what `train` raises; `RunError` for a folder that holds anything else.
    """
    changes = list(assignments)
    run = Run.from_toml(sample.demo_config(), changes)
    again = f"polytask demo --out {out}" + "".join(f" --set '{change}'" for change in changes)
    return train(run, out, resume=RunFolder(out).config.is_file(), quiet=quiet, again=again)


def next_commands(out: str | Path) -> str:
    """Return what to type next."""
    return (f"next: echo 'A gem from start to finish.' | polytask predict {out} --task sst\n"
            f"      polytask serve {out}                 # every task over HTTP, with a page to try them\n"
            "      polytask init train.csv --out my.toml   # a config for data of your own")
