"""Where things are: every file name of the folders that polytask writes.

Each name is spelled once, so that a writer and its readers cannot disagree: the names that other libraries
define in `encoder_paths`, those of the cache in `cache_paths`, all others here.
"""

from __future__ import annotations

import re
from pathlib import Path

from polytask.core.encoder_paths import (
    ADAPTERS,
    GRAPH,
    GRAPHS,
    HEADS,
    INT8_GRAPH,
    SHARED,
    TASKS,
    EncoderPaths,
    PartPaths,
)
from polytask.core.safe_paths import inside

LOCK = ".lock"
CONFIG, RESULTS, REPORT, PLOTS = "config.toml", "results.json", "report.html", "plots"
# Of a run on a node that does not see its folder, among the node's temporary files.
NODE_RUN = "polytask-run"
RUNS, TRIALS, JOURNAL = "runs", "trials", "journal.log"
# Beside configs that `polytask init` wrote.
SCHEMA = "polytask.schema.json"


# ---- runs and models

class RunPaths:
    """A run.

        config.toml      the resolved settings          model/            best by the overall score
        events.jsonl     what happened                  best/<task>/      best of each task, where asked
        predictions/     <task>-<split>.csv             checkpoints/last/ exact state of the training
        results.json     final scores and costs         data.json         what the data are
        report.html      plots/                         artifacts/        what the report shows besides
        trackers/<name>/ what `polytask log` sent
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / CONFIG
        self.events = self.path / "events.jsonl"
        self.model = self.path / "model"
        self.best = self.path / "best"
        self.checkpoints = self.path / "checkpoints"
        self.checkpoint = self.checkpoints / "last"
        self.predictions = self.path / "predictions"
        self.results = self.path / RESULTS
        self.data = self.path / "data.json"
        self.report = self.path / REPORT
        self.plots = self.path / PLOTS
        self.artifacts = self.path / "artifacts"
        self.trackers = self.path / "trackers"
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
        return inside(self.trackers, name)

    def prediction_file(self, task: str, split: str) -> Path:
        """Return the predictions of a task for a split."""
        return inside(self.predictions, f"{task}-{split}.csv")


class ModelPaths(EncoderPaths):
    """A model: an encoder, which opens with `transformers.AutoModel`, and what makes it answer tasks.

        config.json model.safetensors tokenizer.json …   README.md (the model card)   tasks.json
        heads/<task>/{config.json, model.safetensors}    shared/<name>/   adapters/<task>/
        onnx/{model, model_qint8}.onnx                   where it was exported
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self.tasks = self.path / TASKS
        self.graphs = self.path / GRAPHS
        self.adapters = self.path / ADAPTERS

    def graph(self, int8: bool = False) -> Path:
        """Return the exported graph, in float32 or in int8."""
        return self.graphs / (INT8_GRAPH if int8 else GRAPH)

    def head(self, task: str) -> PartPaths:
        return PartPaths(inside(self.path / HEADS, task))

    def shared(self, layer: str) -> PartPaths:
        return PartPaths(inside(self.path / SHARED, layer))

    def adapter(self, task: str) -> PartPaths:
        return PartPaths(inside(self.adapters, task))


class CheckpointPaths:
    """The exact state of a training."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.tensors = self.path / "tensors.safetensors"
        self.state = self.path / "state.json"


class TrackerPaths:
    """What a tracker keeps beside a run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mlflow_store = path / "mlflow.db"
        self.mlflow_artifacts = path / "mlflow-artifacts"

    def sent(self, run: str) -> Path:
        """Return the record of what a run, known by its id, has sent."""
        return inside(self.path, f"sent-{run}.json")


# ---- studies, sweeps and their jobs

class ManyRunsPaths:
    """What a study and a sweep share: results, configs of their runs, a page and its plots."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.configs = self.path / "configs"
        self.report = self.path / REPORT
        self.plots = self.path / PLOTS
        self.results = self.path / RESULTS
        self.lock = self.path / LOCK

    def mark(self, noun: str) -> Path:
        """Return the file that makes a folder that of a "study" or a "sweep"."""
        return self.path / f"{noun}.json"

    def written(self) -> tuple[Path, ...]:
        """Return the folders and files that are written into; a link among them would lead elsewhere."""
        return (*(self.path / name for name in (RUNS, TRIALS, JOURNAL)), self.configs, self.plots)

    def table(self, ending: str) -> Path:
        """Return the results in another form: "md" or "csv"."""
        return self.path / f"results.{ending}"


class StudyPaths(ManyRunsPaths):
    """A study: runs/<row>/<seed>/ and configs/<row>-<seed>.toml."""

    def run(self, row: str, seed: int | str) -> Path:
        return inside(inside(self.path / RUNS, row), str(seed))

    def run_config(self, row: str, seed: int | str) -> Path:
        return inside(self.configs, f"{row}-{seed}.toml")

    def all_runs(self) -> list[Path]:
        """Return the runs that have been begun."""
        return sorted(path.parent for path in (self.path / RUNS).glob(f"*/*/{CONFIG}"))

    @classmethod
    def around(cls, run: Path) -> StudyPaths | None:
        """Return the study that a run may be a row of, as far as its place tells."""
        parents = run.absolute().parents  # study/runs/row
        return cls(parents[2]) if len(parents) > 2 and parents[1].name == RUNS else None


class SweepPaths(ManyRunsPaths):
    """A sweep: trials/<number>/, configs/<number>.toml and the best configs."""

    @property
    def journal(self) -> Path:
        """The memory of the search."""
        return self.path / JOURNAL

    def trial(self, number: int) -> Path:
        return self.path / TRIALS / f"{number:04d}"

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
        return sorted((self.path / TRIALS).glob("*"))


class JobPaths:
    """A training on another machine that cannot see the study: its config, its run, its log."""

    def __init__(self, path: Path) -> None:
        self.config = path / "job.toml"
        self.run = path / "run"
        self.log = path / "job.log"


def shared_mark(configs: Path, key: str) -> Path:
    """Return a file beside the configs by which a machine knows that it sees the same folders."""
    return configs / f".shared-{key}"


# ---- predictions

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
        self.lock = self.path / LOCK
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


def plot_file(folder: Path, name: str) -> Path:
    """Return the drawing of a figure among the plots."""
    return inside(folder, f"{name}.svg")


def is_study(path: str | Path) -> bool:
    """Return whether a folder is that of a study."""
    return ManyRunsPaths(path).mark("study").is_file()
