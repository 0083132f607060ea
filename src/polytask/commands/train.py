"""`polytask train`: a run folder from a config; with its report at the end."""

from __future__ import annotations

import json
from pathlib import Path

from polytask.commands.report import report_quietly
from polytask.config import Run
from polytask.core.atomic_files import write_json
from polytask.core.run_folder import RunFolder
from polytask.core.user_modules import trusting
from polytask.evaluation.baseline import Baseline
from polytask.evaluation.evaluate import Evaluation
from polytask.training.build import build
from polytask.training.data_summary import data_summary, refuse_changed_data, refuse_changed_files
from polytask.training.session import Result, Session, stop_signals


def train(run: Run, out: str | Path, resume: bool = False, quiet: bool = False,
          again: str | None = None, trust: bool = False) -> Result:
    """Train `run` in the folder `out`.

    `again` is the command that goes on with it, told when it is interrupted. A finished run is left as it
    is. `trust`: a run that it starts from (encoder.checkpoint) may bring in modules of someone's own.
    Raises `RunError` for a folder that is in use or of another config, and for data that have changed
    since the run began; `Interrupted`, `Diverged`, and what reading data and checkpoints raises.
    """
    config = run.to_toml()
    RunFolder.admits(out, config, resume)
    if resume:
        refuse_changed_files(run, RunFolder(out))
        if RunFolder(out).results.is_file():
            return finished(RunFolder(out))
    with trusting(trust):
        built = build(run, quiet=quiet)  # before the folder is made: a refused run leaves nothing behind
    with RunFolder.claimed(out, config, resume) as folder, stop_signals() as stopped:
        if resume:
            refuse_changed_data(built, folder)
        write_json(folder.data, data_summary(built))
        result = Session(run, built, folder, quiet, stopped, again).train()
        report_quietly(folder.path)
        return result


def finished(folder: RunFolder) -> Result:
    """Return what a finished run ended with, and change nothing but a report that was never written."""
    if not folder.report.is_file():
        report_quietly(folder.path)
    results = json.loads(folder.results.read_text(encoding="utf-8"))
    dev = results["dev"]
    evaluation = Evaluation("dev", dev["scores"], dev["score"], dev["overall"], dev["rows"],
                            positives=dev.get("positives", {}),
                            notes=tuple(dev["notes"]))
    baselines = {task: [Baseline(**each) for each in several]
                 for task, several in results.get("baselines", {}).items()}
    return Result(folder.path, evaluation, float(results["seconds"]), int(results["tokens"]), baselines)

