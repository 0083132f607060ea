"""`polytask train`: a run folder from a config; with its report at the end."""

from __future__ import annotations

from pathlib import Path

from polytask.commands.report import report_quietly
from polytask.config import Run
from polytask.core.atomic_files import write_json
from polytask.core.run_folder import RunFolder
from polytask.training.build import build
from polytask.training.session import Result, Session, data_summary, stop_signals


def train(run: Run, out: str | Path, resume: bool = False, quiet: bool = False,
          again: str | None = None) -> Result:
    """Train `run` in the folder `out`.

    `again` is the command that goes on with it, told when it is interrupted. Raises `RunError` for a
    folder that is in use or of another config, `Interrupted`, `Diverged`, and what reading data and
    checkpoints raises.
    """
    config = run.to_toml()
    RunFolder.admits(out, config, resume)
    built = build(run, quiet=quiet)  # before the folder is made: a refused run leaves nothing behind
    with RunFolder.claimed(out, config, resume) as folder, stop_signals() as stopped:
        write_json(folder.data, data_summary(built))
        result = Session(run, built, folder, quiet, stopped, again).train()
        report_quietly(folder.path)
        return result


