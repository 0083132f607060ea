"""Where things are: every file name of every folder that polytask writes, and the folder of its cache.

The names of our own folders are spelled here, so that a writer and its readers cannot disagree. A name that
is read from a file (a task, a split, a part of a checkpoint) becomes part of a path through `inside` alone.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path

from polytask.core.errors import PolytaskError, RunError, nearest

LONGEST_NAME = 100
LOCK = ".lock"
CONFIG, REPORT, PLOTS, MODEL, TASKS = "config.toml", "report.html", "plots", "model", "tasks.json"


class RunPaths:
    """A run.

        config.toml      the resolved settings          model/            best by the overall score
        events.jsonl     what happened                  best/<task>/      best of each task, where asked
        predictions/     <task>-<split>.csv             checkpoints/last/ exact state of the training
        results.json     final scores and costs         data.json         what the data are
        report.html      plots/                         artifacts/        what the report shows besides
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / CONFIG
        self.events = self.path / "events.jsonl"
        self.model = self.path / MODEL
        self.best = self.path / "best"
        self.checkpoints = self.path / "checkpoints"
        self.checkpoint = self.checkpoints / "last"
        self.predictions = self.path / "predictions"
        self.results = self.path / "results.json"
        self.data = self.path / "data.json"
        self.report = self.path / REPORT
        self.plots = self.path / PLOTS
        self.artifacts = self.path / "artifacts"
        self.lock = self.path / LOCK

    @property
    def notes(self) -> Path:
        """The part of the artifacts that is JSON."""
        return self.artifacts / "artifacts.json"

    @property
    def arrays(self) -> Path:
        """The part of the artifacts that is arrays."""
        return self.artifacts / "artifacts.npz"

    def tracker(self, name: str) -> Path:
        """Return where a tracker keeps the run's events."""
        return inside(self.path / "trackers", name)

    def answers(self, task: str, split: str) -> Path:
        """Return the predictions of a task for a split."""
        return inside(self.predictions, f"{task}-{split}.csv")


class ModelPaths:
    """A model: a Hugging Face encoder at its root, and beside it what makes it answer tasks.

        config.json model.safetensors tokenizer.json …   opens with transformers.AutoModel
        heads/<task>/{config.json, model.safetensors}    shared/<name>/   adapters/<task>/
        tasks.json                                       README.md (the model card)
        onnx/{model, model_qint8}.onnx                   where it was exported
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.tasks = self.path / TASKS
        self.card = self.path / "README.md"
        self.encoder = self.path / "config.json"
        self.tokenizer = self.path / "tokenizer.json"
        self.graphs = self.path / "onnx"
        self.adapters = self.path / "adapters"

    def graph(self, int8: bool = False) -> Path:
        """Return the exported graph, in float32 or in int8."""
        return self.graphs / ("model_qint8.onnx" if int8 else "model.onnx")

    def head(self, task: str) -> PartPaths:
        return PartPaths(inside(self.path / "heads", task))

    def shared(self, layer: str) -> PartPaths:
        return PartPaths(inside(self.path / "shared", layer))

    def adapter(self, task: str) -> PartPaths:
        return PartPaths(inside(self.adapters, task))


class PartPaths:
    """A part of a model with weights of its own: a head, a shared layer, a task's adapter."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"
        self.weights = path / "model.safetensors"


class CheckpointPaths:
    """The exact state of a training."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.tensors = self.path / "tensors.safetensors"
        self.state = self.path / "state.json"


class ManyRunsPaths:
    """What a study and a sweep have in common: results, configs of their runs, a page and its plots."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.configs = self.path / "configs"
        self.report = self.path / REPORT
        self.plots = self.path / PLOTS
        self.results = self.path / "results.json"
        self.lock = self.path / LOCK

    def mark(self, noun: str) -> Path:
        """Return the file that makes a folder that of a "study" or a "sweep"."""
        return self.path / f"{noun}.json"

    def written(self) -> tuple[Path, ...]:
        """Return the folders and files that are written into; a link among them would lead elsewhere."""
        return (*(self.path / name for name in ("runs", "trials", "journal.log")), self.configs, self.plots)

    def table(self, ending: str) -> Path:
        """Return the results in another form: "md" or "csv"."""
        return self.path / f"results.{ending}"


class StudyPaths(ManyRunsPaths):
    """A study: runs/<row>/<seed>/ and configs/<row>-<seed>.toml."""

    def run(self, row: str, seed: int | str) -> Path:
        return inside(inside(self.path / "runs", row), str(seed))

    def run_config(self, row: str, seed: int | str) -> Path:
        return inside(self.configs, f"{row}-{seed}.toml")

    def all_runs(self) -> list[Path]:
        """Return the runs that have been begun."""
        return sorted(path.parent for path in (self.path / "runs").glob(f"*/*/{CONFIG}"))


class SweepPaths(ManyRunsPaths):
    """A sweep: trials/<number>/, configs/<number>.toml and the best configs."""

    @property
    def journal(self) -> Path:
        """What the search remembers."""
        return self.path / "journal.log"

    def trial(self, number: int) -> Path:
        return self.path / "trials" / f"{number:04d}"

    def trial_config(self, number: int) -> Path:
        return self.configs / f"{number:04d}.toml"

    def best(self, number: int | None = None) -> Path:
        """Return the config of the best trial, or of one of several best."""
        return self.path / ("best.toml" if number is None else f"best-{number:04d}.toml")

    def every_best(self) -> list[Path]:
        return sorted(path for path in self.path.glob("best*.toml")
                      if re.fullmatch(r"best(-\d{4,})?\.toml", path.name))

    def all_trials(self) -> list[Path]:
        """Return the runs that have been begun."""
        return sorted((self.path / "trials").glob("*"))


class PredictionPaths:
    """Predictions of large files.

        plan.json           what is read, and where it is cut
        .shards/00000.json  a shard that is finished
        <task>/part-00000.csv, …, in the order of the rows      refused.csv   records without an answer
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.plan = self.path / "plan.json"
        self.refused = self.path / "refused.csv"
        self.lock = self.path / ".lock"
        self.shards = self.path / ".shards"

    def task(self, name: str) -> Path:
        """Return the folder of a task's parts."""
        return inside(self.path, name)

    def part(self, task: str, number: int, format: str) -> Path:
        return self.task(task) / f"part-{number:05d}.{format}"

    def finished(self, number: int) -> Path:
        """Return the file that says what a finished shard holds."""
        return self.shards / f"{number:05d}.json"

    def worker_log(self, worker: int) -> Path:
        """Return what a worker writes on its standard error."""
        return self.shards / f"worker-{worker}.log"


# Beside configs that `polytask init` wrote.
SCHEMA = "polytask.schema.json"


def is_study(path: str | Path) -> bool:
    """Return whether a folder is that of a study."""
    return ManyRunsPaths(path).mark("study").is_file()


def cache_folder(folder: str | Path | None = None) -> Path:
    """Return the folder of the cache: the one given, $POLYTASK_CACHE, or polytask's in the user's cache."""
    if chosen := folder or os.environ.get("POLYTASK_CACHE"):
        return expanded(chosen, "POLYTASK_CACHE" if folder is None else "data.cache")
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "polytask"
    return expanded("~/.cache", "the user's cache") / "polytask"


def expanded(path: str | Path, where: str) -> Path:
    """Return a path with `~` and `~user` filled in; raise `RunError` where there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise RunError(f"{where}: {path} names a home folder that cannot be found; "
                       "write the path in full") from None


def name_problem(name: str) -> str | None:
    """Return why a name cannot be that of a task or layer, which are folders too, or None."""
    if len(name) > LONGEST_NAME:
        return f"is {len(name):,} characters long, expected at most {LONGEST_NAME}"
    if not name.replace("-", "_").isidentifier():
        return 'is not made of letters, digits, "_" and "-", starting with a letter or "_"'
    return None


def inside(folder: Path, name: str, error: type[PolytaskError] = RunError) -> Path:
    """Return `folder / name`; raise `error` for a name that would lead out of the folder."""
    if name in ("", ".", "..") or len(name.encode("utf-8", "surrogatepass")) > 255 or any(
            separator in name for separator in ("/", "\\", "\0")):
        shown = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…"
        raise error(f"{folder}: {shown!r} is not the name of a file in this folder")
    return folder / name


def require_folder(path: str | Path, expected: str) -> None:
    """Raise `RunError` where no folder is at `path`, with the folder beside it that was probably meant."""
    place = Path(path)
    if place.is_file():
        raise RunError(f"{path}: is a file, expected the folder of {expected}"
                       + f"; to make one: polytask train {path} --out FOLDER" * (place.suffix == ".toml"))
    if not place.is_dir():
        beside = sorted(each.name for each in place.absolute().parent.glob("*/"))
        raise RunError(f"{path}: there is no such folder; expected {expected}"
                       f"{nearest(place.name, beside)}")


def refuse_special(path: Path, error: type[PolytaskError] = RunError) -> None:
    """Raise `error` for a device, pipe or socket: reading one may never end. What is missing passes.

    What can be no path is refused too: a name that is too long, a zero byte, links in a circle.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as refused:
        if isinstance(refused, ValueError) or refused.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            shown = str(path)
            shown = shown if len(shown) <= 2 * LONGEST_NAME else f"{shown[:LONGEST_NAME]}…"
            why = getattr(refused, "strerror", None) or str(refused)
            raise error(f"{shown!r}: cannot be read ({why})") from None
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise error(f"{path}: is a device or a pipe, expected a file")


def leads_outside(path: Path, folder: Path) -> bool:
    """Return whether a path in a folder is, by links, a place outside of it.

    The hub's cache, whose snapshots are links to the blobs beside them, counts as one folder.
    """
    home = folder.resolve()
    if home.parent.name == "snapshots":
        home = home.parent.parent
    return not path.resolve().is_relative_to(home)


def refuse_link(path: Path) -> None:
    """Raise `RunError` for a link: what is written there would end up somewhere else."""
    if path.is_symlink():
        raise RunError(f"{path}: is a link to {os.readlink(path)}, and nothing is written through links; "
                       "remove it")
