"""From settings to a network: reads the data, resolves the tasks, loads the encoder, builds the model."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from polytask import sample
from polytask.config import Run
from polytask.core.errors import CheckpointError, ConfigError
from polytask.core.processes import ALONE, Processes
from polytask.core.progress import progress
from polytask.core.safe_paths import expanded, refuse_special
from polytask.data.cache import Cache
from polytask.data.collate import InputLayout
from polytask.data.data_notes import id_notes, left_out_notes, nul_notes, shared_notes, too_little_notes
from polytask.data.dataset import DatasetStore, TaskData, load_task_data
from polytask.data.labels import Labels
from polytask.data.prediction_columns import PredictionColumns
from polytask.data.tokenization import Tokenizer
from polytask.evaluation.card import card
from polytask.evaluation.evaluate import Evaluation
from polytask.inference.kept_states import kept_depth
from polytask.learn.phase_plan import PhasePlan, never_drawn, phases_of
from polytask.learn.training_set import TrainingSet
from polytask.model.encoders import load_any
from polytask.model.hub import commit_of, is_address
from polytask.model.multitask import MultiTask
from polytask.model.poolings.contract import Pooling, pooling
from polytask.model.pretrained import checkpoint_folder, default_pooling
from polytask.model.trainable import quiet_frozen_layers, set_trainable
from polytask.tasks.model_folder import (
    ModelFolder,
    load_model,
    model_folder_of,
    new_model,
    same_weights,
    warm_start,
)
from polytask.tasks.resolved_task import ResolvedTask, resolve
from polytask.training.evaluation_cost import evaluation_note
from polytask.validate import Known, validate


@dataclass
class Built:
    """Everything that a training or a check of a run needs."""

    run: Run
    """Its settings; `encoder.revision` is the commit, where the encoder came from the hub."""
    model: MultiTask
    tasks: dict[str, ResolvedTask]
    data: dict[str, TaskData]
    training_set: TrainingSet
    tokenizer: Path
    notes: list[str] = field(default_factory=list)

    def card(self, evaluation: Evaluation | None) -> str:
        """Return the model card of the model as it stands."""
        return card(self.run.encoder.checkpoint, self.tasks,
                    {name: len(data.train) for name, data in self.data.items()}, evaluation,
                    self.adapter_notes())

    @cached_property
    def training_notes(self) -> list[str]:
        """The notes to show before a training: of rows left out, of rows of dev in train, and `notes`."""
        columns = [note for task in self.tasks.values()
                   for note in PredictionColumns.beside(task.text).notes()]
        return [*left_out_notes(self.data, self.layouts()), *shared_notes(self.data), *self.notes,
                *dict.fromkeys(columns)]

    def layouts(self) -> dict[str, InputLayout]:
        """Return how each task's texts become sequences."""
        return {name: InputLayout.of(task.pairing, task.max_length) for name, task in self.tasks.items()}

    def adapter_notes(self) -> list[str]:
        adapter = self.run.encoder.adapter
        return [] if adapter is None else [adapter.about()]


def device() -> torch.device:
    """Return where to compute: the CUDA device of this process, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def read_data(run: Run, tokenizer: Path, quiet: bool = False, only: Collection[str] | None = None,
              store: DatasetStore | None = None,
              known: Mapping[str, Labels] | None = None) -> dict[str, TaskData]:
    """Read the data of all tasks, or some; a file that several tasks name is read once.

    store: what other runs with the same tokenizer and root have read; it is added to.
    known: the labels of a trained model, by task; the files then have to fit them.
    """
    with progress("tokenizing", quiet=quiet) as bar:
        done: dict[str, int] = {}

        def tell(what: str, texts: int, total: int) -> None:
            bar.total(total)
            bar.advance(texts - done.get(what, 0), what)
            done[what] = texts

        store = store or dataset_store(run, tokenizer)
        store.progress = tell
        labels = known or {}
        return {name: load_task_data(name, task, store, run.seed, run.data.dev_seed, labels.get(name))
                for name, task in run.tasks.items() if only is None or name in only}


def dataset_store(run: Run, tokenizer: Path) -> DatasetStore:
    """Return the store that reads and caches a run's files."""
    return DatasetStore(Tokenizer(tokenizer), data_root(run), run_cache(run))


def run_cache(run: Run) -> Cache:
    """Return the cache that a run's settings name."""
    if run.data.cache:
        refuse_special(Path(run.data.cache), ConfigError)
    return Cache(run.data.cache) if run.data.cache else Cache()


def data_root(run: Run) -> Path:
    """Return the folder of the data; "sample" is the one that comes with polytask."""
    return sample.root() if run.data.root == "sample" else expanded(run.data.root, "data.root")


def resolve_tasks(run: Run, data: Mapping[str, TaskData]) -> dict[str, ResolvedTask]:
    """Complete the tasks with their labels; all mistakes are reported together."""
    tasks, problems = {}, []
    for name, task in run.tasks.items():
        try:
            tasks[name] = resolve(name, task, data[name].labels, data[name].counts,
                                  run.data.max_length)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return tasks


def build(run: Run, quiet: bool = False, processes: Processes = ALONE) -> Built:
    """Build a run's network with its seed.

    Of several processes on a machine one reads the data first, and the others what it left in the cache.
    Raises `ConfigError` with all that is wrong with its settings, for these data and this encoder, and what
    reading data and checkpoints raises.
    """
    validate(run, Known(processes=processes.world))
    with processes.one_first():
        start = starting_point(run)
        data = read_data(run, start.tokenizer, quiet)
    validate(run, Known(data, start.encoder, processes=processes.world))
    tasks = resolve_tasks(run, data)
    torch.manual_seed(run.seed)
    model = new_model(start.encoder, tasks, run.encoder.pooling or start.pooling)
    if run.encoder.adapter is not None:
        run.encoder.adapter.attach(model, list(tasks))
    notes = list(start.notes)
    if start.known is not None:
        notes += [f"{run.encoder.checkpoint}: {note}" for note in warm_start(model, tasks, start.known)]
    set_trainable(model, run.encoder.trainable)
    quiet_frozen_layers(model.encoder, kept_depth(run.encoder.keep_frozen, model))
    # Not the encoder: it carries the adapter now, and was judged before.
    validate(run, Known(data, model=model, processes=processes.world))
    model.to(device())
    training_set = TrainingSet(tasks, data)
    notes += [note for task_data in data.values() for note in task_data.notes if note not in notes]
    notes += [*nul_notes(data, start.tokenizer), *id_notes(data), *too_little_notes(data)]
    phases = phases_of(run.train, training_set.rows, run.seed)
    notes += _starved_notes(phases)
    notes += _unnamed_notes(model, phases, start.known)
    run = replace(run, encoder=replace(run.encoder, revision=start.commit)) if start.commit else run
    built = Built(run, model, tasks, data, training_set, start.tokenizer, notes)
    if run.encoder.trainable != "frozen":  # whose texts are encoded once
        built.notes += evaluation_note(phases, data, built.layouts())
    return built


def _starved_notes(phases: Sequence[PhasePlan]) -> list[str]:
    """Return a note for the tasks that the plan never updates."""
    steps = sum(phase.num_steps for phase in phases)
    return [f"{name} is never drawn in {steps:,} steps, so its head stays untrained; raise "
            "train.max_steps or train.epochs, or choose a schedule that draws every task"
            for name in never_drawn(phases)]


def _unnamed_notes(model: MultiTask, phases: Sequence[PhasePlan],
                   known: ModelFolder | None) -> Iterator[str]:
    """Yield a note for each task that no phase names, and whose head no training before has left."""
    named = {task for phase in phases for task in phase.tasks}
    for name in model.tasks:
        head = model.task_head(name)
        goes_on = (known is not None and name in known.tasks
                   and same_weights(known.model.task_head(name), head))
        if name not in named and not goes_on and any(True for _ in head.parameters()):
            yield (f"{name} is trained in no phase (train.tasks), so its head stays untrained, and its "
                   "scores say nothing")


@dataclass
class Start:
    """What a training starts from: an encoder, or a whole model that a run has trained."""

    encoder: Any
    tokenizer: Path
    pooling: Pooling
    """What the encoder was trained with."""
    notes: list[str]
    known: ModelFolder | None = None
    commit: str | None = None
    """The commit of the hub that it was downloaded at."""


def starting_point(run: Run) -> Start:
    """Read what `encoder.checkpoint` names, once."""
    settings = run.encoder
    place, commit = settings.checkpoint, None
    if is_address(place):  # training continues from a polytask model there, and starts from a plain encoder
        folder = checkpoint_folder(place, settings.revision)
        place, commit = str(folder), commit_of(folder)
    refuse_special(Path(place), CheckpointError)
    if (source := model_folder_of(place)) is not None:
        known = load_model(source, settings.dropout)
        return Start(known.release_encoder(), known.tokenizer, known.pooling, known.notes, known, commit)
    folder = checkpoint_folder(place, settings.revision)
    encoder, tokenizer, notes = load_any(folder, settings.dropout)
    return Start(encoder, tokenizer, pooling.read(default_pooling(folder)), notes,
                 commit=commit or commit_of(folder))
