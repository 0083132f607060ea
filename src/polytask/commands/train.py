"""`polytask train`: a run folder from a config; with its report at the end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from polytask.commands.report import report_quietly
from polytask.config import Run
from polytask.core.atomic_files import write_json
from polytask.core.run_folder import RunFolder
from polytask.core.user_modules import trusting
from polytask.evaluation.baseline import Baseline
from polytask.evaluation.evaluate import Evaluation
from polytask.model.hub import is_commit
from polytask.training.build import build
from polytask.training.data_summary import data_summary, refuse_changed_data, refuse_changed_files
from polytask.training.session import Result, Session, stop_signals


def train(run: Run, out: str | Path, resume: bool = False, quiet: bool = False,
          again: str | None = None, trust: bool = False) -> Result:
    """Train `run` in the folder `out`.

    `again` is the command that resumes it, told when it is interrupted. A finished run is left as it
    is. `trust`: a run that it starts from (encoder.checkpoint) may bring in modules of someone's own.
    An encoder of the hub is recorded with its commit, and a resumed run starts from that commit.
    Raises `RunError` for a folder that is in use or of another config, and for data that have changed
    since the run began; `Interrupted`, `Diverged`, and what reading data and checkpoints raises.
    """
    if resume:
        run = _at_recorded_commit(run, RunFolder(out))
    RunFolder.admits(out, run.to_toml(), resume)
    if resume:
        refuse_changed_files(run, RunFolder(out))
        if RunFolder(out).results.is_file():
            return finished(RunFolder(out))
    with trusting(trust):
        built = build(run, quiet=quiet)  # before the folder is made: a refused run leaves nothing behind
    run = built.run
    with RunFolder.claimed(out, run.to_toml(), resume) as folder, stop_signals() as stopped:
        if resume:
            refuse_changed_data(built, folder)
        write_json(folder.data, data_summary(built))
        result = Session(run, built, folder, quiet, stopped, again).train()
        report_quietly(folder.path)
        return result


def _at_recorded_commit(run: Run, folder: RunFolder) -> Run:
    """Return the run with the commit of its encoder that the folder records, if it asks for no other."""
    if not folder.config.is_file():
        return run
    encoder = folder.settings().get("encoder", {})
    commit = encoder.get("revision")
    same = encoder.get("checkpoint") == run.encoder.checkpoint and isinstance(commit, str)
    asks = run.encoder.revision
    if not same or (asks is not None and is_commit(asks)):
        return run
    return replace(run, encoder=replace(run.encoder, revision=commit))


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

