"""From settings to what trains: data read, tasks resolved, encoder loaded, network built."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from polytask import sample
from polytask.config import Run
from polytask.core.errors import ConfigError
from polytask.core.paths import expanded
from polytask.core.progress import progress
from polytask.data.cache import Cache
from polytask.data.collate import InputLayout
from polytask.data.data_notes import left_out_notes, too_little_notes
from polytask.data.dataset import DatasetStore, TaskData, load_task_data
from polytask.data.labels import Labels
from polytask.data.prediction_columns import PredictionColumns
from polytask.data.tokenization import Tokenizer
from polytask.evaluation.card import card
from polytask.evaluation.evaluate import Evaluation
from polytask.learn.gradients import operated, trained_by_several
from polytask.learn.phase_plan import never_drawn, phases_of
from polytask.learn.training_set import TrainingSet
from polytask.metrics import check_formula
from polytask.model.encoders import load_any
from polytask.model.multitask import MultiTask
from polytask.model.poolings.contract import Pooling, pooling
from polytask.model.pretrained import checkpoint_folder, default_pooling
from polytask.model.trainable import apart_problem, set_trainable
from polytask.tasks.model_folder import ModelFolder, load_model, model_folder_of, new_model, warm_start
from polytask.tasks.task import ResolvedTask, resolve


@dataclass
class Built:
    """Everything that a training or a check of a run needs."""

    run: Run
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

    def training_notes(self) -> list[str]:
        """Return what is worth saying before a training: the notes, and which rows it does without."""
        left_out = left_out_notes(self.data, self.layouts())
        columns = [said for task in self.tasks.values()
                   for said in PredictionColumns.beside(task.text).notes()]
        return [*left_out, *self.notes, *dict.fromkeys(columns)]

    def layouts(self) -> dict[str, InputLayout]:
        """Return how each task's texts become sequences."""
        return {name: InputLayout.of(task.pairing, task.max_length) for name, task in self.tasks.items()}

    def adapter_notes(self) -> list[str]:
        adapter = self.run.encoder.adapter
        return [] if adapter is None else [adapter.about()]


def device() -> torch.device:
    """Return where to compute: the first CUDA device, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def read_data(run: Run, tokenizer: Path, quiet: bool = False, only: Collection[str] | None = None,
              library: DatasetStore | None = None,
              known: Mapping[str, Labels] | None = None) -> dict[str, TaskData]:
    """Read the data of all tasks, or some; a file that several tasks name is read once.

    library: what other runs with the same tokenizer and root have read; it is added to.
    known: the labels of a trained model, by task; the files then have to fit them.
    """
    with progress("tokenizing", quiet=quiet) as bar:
        done: dict[str, int] = {}

        def tell(what: str, texts: int, total: int) -> None:
            bar.total(total)
            bar.advance(texts - done.get(what, 0), what)
            done[what] = texts

        library = library or dataset_store(run, tokenizer)
        library.progress = tell
        labels = known or {}
        return {name: load_task_data(name, task, library, run.seed, run.data.dev_seed, labels.get(name))
                for name, task in run.tasks.items() if only is None or name in only}


def dataset_store(run: Run, tokenizer: Path) -> DatasetStore:
    """Return where a run's files are read from and kept."""
    cache = Cache(run.data.cache) if run.data.cache else Cache()
    return DatasetStore(Tokenizer(tokenizer), data_root(run), cache)


def data_root(run: Run) -> Path:
    """Return the folder of the data; "sample" is the one that comes with polytask."""
    return sample.root() if run.data.root == "sample" else expanded(run.data.root, "data.root")


def resolve_tasks(run: Run, data: Mapping[str, TaskData]) -> dict[str, ResolvedTask]:
    """Complete the tasks with their labels; all their mistakes are told at once."""
    made, problems = {}, []
    for name, task in run.tasks.items():
        try:
            made[name] = resolve(name, task, data[name].labels, data[name].counts,
                                 run.data.max_length)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return made


def build(run: Run, quiet: bool = False) -> Built:
    """Build a run's network with its seed. Raises what reading data and checkpoints raises."""
    source = model_folder_of(run.encoder.checkpoint)
    place = source or checkpoint_folder(run.encoder.checkpoint, run.encoder.revision)
    encoder, tokenizer, notes = load_any(place, run.encoder.dropout, run.encoder.revision)
    data = read_data(run, tokenizer, quiet)
    tasks = resolve_tasks(run, data)
    check_against_data(run, encoder, data, tasks)
    torch.manual_seed(run.seed)
    known = load_model(source, run.encoder.dropout) if source else None
    model = new_model(encoder, tasks, chosen_pooling(run, place, known))
    if run.encoder.adapter is not None:
        run.encoder.adapter.attach(model, list(tasks))
    if known is not None:
        notes = [*notes, *(f"{source}: {said}" for said in warm_start(model, tasks, known))]
    set_trainable(model, run.encoder.trainable)
    check_learning(run, model)
    model.to(device())
    notes += [note for each in data.values() for note in each.notes if note not in notes]
    built = Built(run, model, tasks, data, TrainingSet(tasks, data), tokenizer, notes)
    built.notes += [*too_little_notes(data), *starved_notes(run, built.training_set.rows)]
    return built


def starved_notes(run: Run, rows: Mapping[str, int]) -> list[str]:
    """Say which tasks the plan gives no update."""
    phases = phases_of(run.train, rows, run.seed)
    steps = sum(phase.num_steps for phase in phases)
    return [f"{name} is never drawn in {steps:,} steps, so its head stays as it is at the start; raise "
            "train.max_steps or train.epochs, or take a schedule that draws every task"
            for name in never_drawn(phases)]


def chosen_pooling(run: Run, place: Path, known: ModelFolder | None) -> Pooling:
    """Return the pooling the config says, or what the checkpoint was trained with."""
    if run.encoder.pooling is not None:
        return run.encoder.pooling
    made: Pooling = known.pooling if known else pooling.read(default_pooling(place))
    return made


def check_against_data(run: Run, encoder: Any, data: Mapping[str, TaskData],
                       tasks: Mapping[str, ResolvedTask]) -> None:
    """Refuse what cannot work with this encoder and these rows, all of it at once."""
    problems = []
    metrics = {name: task.metrics for name, task in tasks.items()}
    if said := check_formula(run.train.score, metrics):
        problems.append(f"train.score: {said}")
    adapter = run.encoder.adapter
    if adapter is not None and (said := adapter.problem(encoder)):
        problems.append(f"encoder.adapter: {said}")
    phases = run.train.placed()
    for name, task in tasks.items():
        targets = data[name].train.targets
        least = min((phase.batch_sizes([name])[name] for _, phase in phases
                     if name in (phase.tasks or run.tasks)), default=None)
        problems += [f"tasks.{name}.loss: {said}" for each in task.losses
                     if least and targets is not None
                     and (said := each.rows_problem(task.labels, targets, least))]
    for at, phase in phases:
        rows = {name: len(data[name].train) for name in phase.tasks or run.tasks}
        if said := phase.schedule.problem(list(rows), rows, phase.batch_sizes(rows)):
            problems.append(f"{at}: {said}")
        if said := phase.optimizer.problem(list(rows), encoder.num_layers):
            problems.append(f"{at}.optimizer.{said}")
        layers = (phase.surgery.layers if phase.surgery else None) or ()
        if layers and apart_problem(encoder):
            problems.append(f'{at}.surgery.layers: the layers of "{encoder.kind}" share their weights, so '
                            "none can be chosen; leave layers out")
        problems += [f"{at}.surgery.layers: found layer {layer}, expected 0 to "
                     f"{encoder.num_layers - 1} (-1: the embeddings)"
                     for layer in layers if not -1 <= layer < encoder.num_layers]
    if problems:
        raise ConfigError(problems)


def check_learning(run: Run, model: MultiTask) -> None:
    """Refuse surgery where no trained weight has several tasks' gradients, and penalties on nothing."""
    problems = []
    for at, phase in run.train.placed():
        tasks = list(phase.tasks or run.tasks)
        shared = trained_by_several(model, tasks)
        wanted = phase.surgery is not None or phase.gradient_cosines is not None
        if wanted and len(tasks) > 1 and not operated(phase.surgery, model, shared):
            key = "gradient_cosines" if phase.surgery is None else "surgery.layers" if shared else "surgery"
            problems.append(f"{at}.{key}: no weight there is trained by more than one task "
                            "(encoder.trainable says what is trained); leave it out")
        for place, each in enumerate(phase.regularizers):
            try:
                each.build(model)
            except ConfigError as error:
                problems += [f"{at}.regularizers.{place}: {said}" for said in error.problems]
    if problems:
        raise ConfigError(problems)
