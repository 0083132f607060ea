"""`polytask train`: trains a config in a run folder and writes the report."""

from __future__ import annotations

import os
import shlex
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from polytask.commands.report import report_quietly
from polytask.config import Run
from polytask.core.atomic_files import write_json
from polytask.core.errors import RunError, nearest
from polytask.core.json_files import as_written
from polytask.core.processes import Processes
from polytask.core.results_file import read_results
from polytask.core.run_folder import RunFolder
from polytask.core.terminal import tell
from polytask.core.user_modules import trusting
from polytask.evaluation.baseline import Baseline
from polytask.evaluation.evaluate import Evaluation
from polytask.learn.torch_processes import joined
from polytask.model.hub import is_commit
from polytask.training.build import build
from polytask.training.data_summary import agreed_summary, refuse_changed_data, refuse_changed_files
from polytask.training.session import Result, Session, stop_signals


def train(run: Run, out: str | Path, resume: bool = False, quiet: bool = False,
          again: str | None = None, trust: bool = False) -> Result:
    """Train `run` in the folder `out`.

    `again` is the command that resumes it, shown after an interruption. A finished run is left as it
    is. `trust`: a run that it starts from (encoder.checkpoint) may bring in modules with custom components.
    An encoder of the hub is recorded with its commit, and a resumed run starts from that commit.
    Raises `RunError` for a folder that is in use or of another config, and for data that have changed
    since the run began; `Interrupted`, `Diverged`, and what reading data and checkpoints raises. The
    processes that torchrun starts train together, and raise `PeerLost` where one of them ends.
    """
    with joined() as processes:
        return _train(run, out, resume, quiet, again, trust, processes)


def train_config(config: Path, out: Path, assignments: Sequence[str] = (), resume: bool = False,
                 quiet: bool = False, trust: bool = False) -> Result | None:
    """Train a config file in the folder `out`; only the process that writes returns a result."""
    with joined() as processes:
        words = ["polytask", "train", str(config), "--out", str(out), "--resume",
                 *(word for each in assignments for word in ("--set", each)), *["--trust"] * trust]
        again = launcher(processes.world, os.environ) + shlex.join(words)
        result = _train(Run.from_toml(config, assignments), out, resume, quiet, again, trust, processes)
        return result if processes.writes else None


def launcher(world: int, environment: Mapping[str, str]) -> str:
    """Return what stands before `polytask` on the command line of several processes."""
    if world == 1:
        return ""
    if environment.get("LOCAL_WORLD_SIZE", str(world)) == str(world):
        return f"torchrun --standalone --nproc-per-node {world} -m "
    return "torchrun … -m "  # several machines: as it was started


def _train(run: Run, out: str | Path, resume: bool, quiet: bool, again: str | None, trust: bool,
           processes: Processes) -> Result:
    writes = processes.writes
    quiet = quiet or not writes
    settings = tomllib.loads(run.to_toml())
    processes.refuse_differences("the config", {"polytask": version("polytask"), **settings})
    # A launcher that restarts the processes gives them the same command.
    resume = processes.agreed(resume or (processes.restarted and RunFolder(out).config.is_file()))
    if resume:
        run = _at_recorded_commit(run, RunFolder(out))
    if writes:
        RunFolder.admits(out, run.to_toml(), resume)
        if resume and not RunFolder(out).used:
            tell(f"note: {_nothing_to_resume(Path(out))}")
        if resume:
            refuse_changed_files(run, RunFolder(out))
    if processes.agreed(resume and RunFolder(out).results.is_file()):
        return finished(RunFolder(out), writes)
    with trusting(trust):
        # Before the folder is made: a refused run leaves nothing behind.
        built = build(run, quiet, processes)
    run = built.run
    summary = agreed_summary(built, processes)
    with _claimed(out, run.to_toml(), resume, processes) as folder, stop_signals() as stopped:
        if resume:
            refuse_changed_data(built, folder)
        processes.barrier()
        if writes:
            write_json(folder.data, summary)
        result = Session(run, built, folder, quiet, stopped, again, processes).train()
        if writes:
            report_quietly(folder.path)
        return result


def _nothing_to_resume(out: Path) -> str:
    runs = [each.name for each in out.absolute().parent.glob("*/") if RunFolder(each).config.is_file()]
    return f"{out}: has no run to resume, so a new one begins{nearest(out.name, sorted(runs))}"


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


@contextmanager
def _claimed(out: str | Path, config: str, resume: bool, processes: Processes) -> Iterator[RunFolder]:
    """Let one process hold the folder for writing, and all see it."""
    with ExitStack() as stack:
        folder = RunFolder(out)
        if processes.writes:
            folder = stack.enter_context(RunFolder.claimed(out, config, resume))
        processes.refuse_unshared(folder.config)
        yield folder


def complete(folder: RunFolder) -> None:
    """Do what a kill prevented right after a run had finished: remove leftovers, write the report."""
    folder.mend()
    if not folder.report.is_file():
        report_quietly(folder.path)


def complete_all(folders: Iterable[Path]) -> None:
    """Complete those of a study's or sweep's runs that are finished; their checkpoints are removed."""
    for folder in map(RunFolder, folders):
        if folder.results.is_file() and not folder.busy:
            complete(folder)
            folder.remove_checkpoint()


def finished(folder: RunFolder, writes: bool = True) -> Result:
    """Return what a finished run ended with, and change nothing but a report that was never written."""
    results = read_results(folder.results)
    if (dev := results.get("dev")) is None:
        raise RunError(f"{folder.results}: has no scores on dev; expected those of a finished run")
    evaluation = Evaluation("dev", dev["scores"], dev["score"], dev["overall"], dev["rows"],
                            positives=dev.get("positives", {}),
                            notes=tuple(dev["notes"]))
    with as_written(folder.results):
        baselines = {task: [Baseline(**each) for each in several]
                     for task, several in results.get("baselines", {}).items()}
    if writes:
        complete(folder)
    return Result(folder.path, evaluation, float(results["seconds"]), int(results["tokens"]), baselines)

