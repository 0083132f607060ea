"""Can this run work? The one stage that says so, asked of the settings alone and again with what is known.

`problems` walks over a whole run and yields every mistake with its dotted key. When a config is read
nothing but its settings is known; before a training the data and the encoder are known too, and last the
network. The same rules are asked each time, so nothing that a later stage refuses is accepted here, and no
folder exists before all have passed. A component judges itself in its `problem`; what stands here are the
rules between components.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from polytask.core.errors import ConfigError, nearest
from polytask.data.dataset import TaskData
from polytask.learn.gradients import operated, trained_by_several
from polytask.learn.layer_shards import OPTIMIZERS
from polytask.learn.train_settings import Train
from polytask.losses.contract import LossContext
from polytask.metrics import check_formula
from polytask.model.adapters.contract import Adapter
from polytask.model.flat_encoder import FlatEncoder
from polytask.model.heads.contract import layer_problem
from polytask.model.multitask import MultiTask
from polytask.model.names import task_name_problem
from polytask.model.poolings.contract import Pooling
from polytask.model.trainable import Trainable, apart_problem, layers_problem
from polytask.tasks.task import Task

# Stands for the width of an encoder that is not known yet: enough to see that two features differ.
_SOME_WIDTH = 1000


class EncoderSettings(Protocol):
    """The part of `config.Encoder` that is judged."""

    @property
    def checkpoint(self) -> str: ...
    @property
    def pooling(self) -> Pooling | None: ...
    @property
    def trainable(self) -> Trainable: ...
    @property
    def adapter(self) -> Adapter | None: ...


class DataSettings(Protocol):
    """The part of `config.Data` that is judged."""

    @property
    def max_length(self) -> int: ...


class RunSettings(Protocol):
    """The part of `config.Run` that is judged; a protocol, because `config` imports this module."""

    @property
    def data(self) -> DataSettings: ...
    @property
    def encoder(self) -> EncoderSettings: ...
    @property
    def tasks(self) -> Mapping[str, Task]: ...
    @property
    def train(self) -> Train: ...


@dataclass(frozen=True)
class Known:
    """What is known about a run besides its settings; None: not yet."""

    data: Mapping[str, TaskData] | None = None
    encoder: Any = None
    model: MultiTask | None = None
    processes: int = 1


NOTHING = Known()


def validate(run: RunSettings, known: Known = NOTHING, where: str = "") -> None:
    """Raise `ConfigError` with a sentence for each mistake of a run, or return if there is none."""
    if mistakes := list(problems(run, known)):
        raise ConfigError(f"{where}: {mistake}" if where else mistake for mistake in mistakes)


def problems(run: RunSettings, known: Known = NOTHING) -> Iterator[str]:
    """Yield a sentence, with its dotted key, for everything that cannot work."""
    for name in run.tasks:
        if mistake := task_name_problem(name):
            yield f"tasks.{name!r} {mistake}"
    yield from _tasks(run, known)
    yield from _shared_layers(run, known)
    yield from _encoder(run, known)
    try:
        phases = run.train.placed()
    except ConfigError as error:
        yield from error.problems
        phases = ()
    for number, (at, phase) in enumerate(phases):
        yield from _phase(run, known, at, phase)
        yield from _continued(at, phase, phases[max(0, number - 1)][1])
    metrics = {name: task.metrics_with(known.data[name].labels if known.data else None)
               for name, task in run.tasks.items()}
    if mistake := check_formula(run.train.score, metrics):
        yield f"train.score: {mistake}"


# ---- tasks

def _tasks(run: RunSettings, known: Known) -> Iterator[str]:
    for name, task in run.tasks.items():
        data = known.data[name] if known.data else None
        mistakes = list(task.problems(data.labels if data else None))
        if data is not None and not mistakes:
            mistakes = list(_rows(run, name, known.data or {}))
        if known.encoder is not None and task.pooling and (mistake := task.pooling.problem(known.encoder)):
            mistakes.append(f"pooling: {mistake}")
        if run.encoder.trainable == "frozen" and task.chosen_pairing.name == "twin":
            mistakes.append('pairing: "twin" needs the dropout of a trained encoder, but '
                            'encoder.trainable is "frozen"')
        yield from (f"tasks.{name}.{mistake}" for mistake in mistakes)


def _rows(run: RunSettings, name: str, known: Mapping[str, TaskData]) -> Iterator[str]:
    """Yield what a task's losses find wrong with its training rows, in the smallest batches they get."""
    try:
        phases = run.train.resolved()
    except ConfigError:
        return
    data, task = known[name], run.tasks[name]
    sizes = [_smallest_batch(phase, name, {other: len(known[other].train) for other in
                                           phase.tasks or run.tasks if other in known})
             for phase in phases if name in (phase.tasks or run.tasks)]
    if data.train.targets is None or not sizes:
        return
    labels = task.head.target_labels(data.labels)
    context = LossContext(labels, labels.rescaled(data.train.targets, data.labels), min(sizes))
    for loss in task.ready_losses(data.labels, data.counts):
        if mistake := loss.problem(context):
            yield f"loss: {mistake}"


def _smallest_batch(phase: Train, task: str, rows: Mapping[str, int]) -> int:
    """Return the rows of the smallest part that a task's whole batches are cut into; 0 if one has none."""
    sizes = {name: min(size, rows[name]) for name, size in phase.batch_sizes(rows).items()}
    return phase.schedule.batch_sizes(rows, sizes)[task] // phase.accumulate


def _shared_layers(run: RunSettings, known: Known) -> Iterator[str]:
    """Yield layers that tasks share but want in different sizes."""
    width = known.encoder.width if known.encoder is not None else _SOME_WIDTH
    sizes: dict[str, tuple[int, ...]] = {}
    for name, task in run.tasks.items():
        for layer, size in task.head.shared_layers(task.chosen_pairing.width(width)).items():
            if mistake := layer_problem(layer, sizes.setdefault(layer, size), size):
                yield f"tasks.{name}.head: {mistake}"


# ---- the encoder

def _encoder(run: RunSettings, known: Known) -> Iterator[str]:
    settings, encoder = run.encoder, known.encoder
    if settings.trainable == "frozen" and settings.adapter is not None:
        yield 'encoder.adapter: an adapter needs a trained encoder; set trainable = "full"'
    if encoder is None:
        return
    longest = getattr(encoder, "max_length", None)
    if longest is not None and run.data.max_length > longest:
        yield (f"data.max_length: found {run.data.max_length:,}, expected at most {longest:,}, the tokens "
               f'that "{settings.checkpoint}" has positions for')
    if settings.adapter is not None and (mistake := settings.adapter.problem(encoder)):
        yield f"encoder.adapter: {mistake}"
    if settings.pooling is not None and (mistake := settings.pooling.problem(encoder)):
        yield f"encoder.pooling: {mistake}"
    if not isinstance(settings.trainable, str):
        mistake = layers_problem(settings.trainable, encoder.num_layers) or apart_problem(encoder)
        if mistake:
            yield f"encoder.trainable: {mistake}"


# ---- phases

def _phase(run: RunSettings, known: Known, at: str, phase: Train) -> Iterator[str]:
    yield from (f'{at}.tasks: "{task}" is not a task{nearest(task, run.tasks)}'
                for task in phase.tasks or () if task not in run.tasks)
    if phase.tasks is not None and not phase.tasks:
        yield f"{at}.tasks: the phase has no tasks; expected at least one of {', '.join(run.tasks)}"
    yield from (f'{at}.tasks: "{task}" is named twice'
                for task, times in Counter(phase.tasks or ()).items() if times > 1)
    tasks = [task for task in phase.tasks or run.tasks if task in run.tasks]
    if not tasks:
        return
    named = phase.batch_size if isinstance(phase.batch_size, dict) else {}
    rows = {name: len(known.data[name].train) for name in tasks} if known.data else {}
    if mistake := phase.schedule.problem(tasks, rows, {**phase.batch_sizes(tasks), **named}):
        yield f"{at}: {mistake}"
    yield from _processes(known, at, phase, tasks, rows)
    if phase.compile and (mistake := _compile_problem(known.encoder, phase)):
        yield f"{at}.compile: {mistake}; set compile = false"
    if phase.parallel == "shard":
        yield from _sharded(run, known, at, phase, tasks)
    if mistake := phase.weighting.problem(tasks, phase.schedule.min_tasks_per_step(tasks)):
        yield f"{at}.weighting: {mistake}"
    if mistake := phase.optimizer.problem(tasks, known.encoder):
        yield f"{at}.optimizer.{mistake}"
    for number, regularizer in enumerate(phase.regularizers):
        if run.encoder.trainable == "frozen" and regularizer.perturbs:
            yield (f'{at}.regularizers.{number}: "{regularizer.name}" perturbs the encoder\'s input, but '
                   'encoder.trainable is "frozen"')
        if mistake := regularizer.problem(tasks, known.model, phase.parallel == "shard"):
            joint = "." if mistake.startswith("tasks:") else ": "
            yield f"{at}.regularizers.{number}{joint}{mistake}"
    yield from _surgery(known, at, phase, tasks)
    if known.model is not None:
        yield from _network(known.model, at, phase, tasks)


def _processes(known: Known, at: str, phase: Train, tasks: Sequence[str],
               rows: Mapping[str, int]) -> Iterator[str]:
    """Yield batches that are too small for the processes that share them."""
    sizes = {task: min(size, rows.get(task, size)) for task, size in phase.batch_sizes(tasks).items()}
    task = min(sizes, key=lambda name: sizes[name])
    size = sizes[task]
    if size < known.processes:
        few = f"at most {size} processes" if size > 1 else "one process"
        yield (f'{at}.batch_size: {known.processes} processes cannot share a batch of "{task}", which has '
               f"{size} row{'s' * (size != 1)}; start {few}, or raise the batch size")
    elif phase.accumulate > size:
        yield (f"{at}.accumulate: {phase.accumulate} is more than the {size} row{'s' * (size != 1)} of a "
               f'batch of "{task}"; expected at most {size // known.processes}')
    elif size // phase.accumulate < known.processes:
        part = size // phase.accumulate
        yield (f'{at}.accumulate: {known.processes} processes cannot share a part of a batch of "{task}", '
               f"which has {part} row{'s' * (part != 1)}; lower it: the processes divide the batch already")


def _compile_problem(encoder: Any, phase: Train) -> str | None:
    """Return why torch.compile cannot serve a phase, or None."""
    if encoder is not None and not isinstance(encoder, FlatEncoder):
        return f'the layers of "{encoder.kind}" are transformers\' own, which polytask does not compile'
    if phase.parallel == "shard":
        return 'parallel = "shard" moves weights in and out between layers'
    if shutil.which("c++") is None and shutil.which("g++") is None and not os.environ.get("CXX"):
        return "torch.compile needs a C++ compiler, and none is on the PATH"
    return None


def _sharded(run: RunSettings, known: Known, at: str, phase: Train, tasks: Sequence[str]) -> Iterator[str]:
    """Yield what cannot work where each process holds a part of every layer."""
    key, remedy = f'{at}.parallel: "shard"', 'take "replicate"'
    if run.encoder.trainable != "full" or run.encoder.adapter is not None:
        yield (f"{key} needs an encoder that is trained whole, but encoder.trainable or encoder.adapter is "
               f"set; {remedy}")
    if known.encoder is not None and not isinstance(known.encoder, FlatEncoder):
        yield f"{key} does not know the layers of an encoder that runs through transformers; {remedy}"
    if phase.optimizer.type not in OPTIMIZERS:
        yield (f'{key} cuts weights into pieces, for which optimizer "{phase.optimizer.type}" is not known '
               f"to work; use one of {', '.join(OPTIMIZERS)}")
    if phase.surgery is not None and not phase.surgery.build(tasks).uses_gramian:
        yield (f'{key} has no whole gradients, which surgery "{phase.surgery.name}" needs; {remedy}, or a '
               "surgery that needs only their inner products, such as pcgrad")


def _surgery(known: Known, at: str, phase: Train, tasks: Sequence[str]) -> Iterator[str]:
    surgery, encoder = phase.surgery, known.encoder
    if len(tasks) > 1 and phase.schedule.max_tasks_per_step(tasks) < 2:
        wanted = {} if phase.gradient_cosines is None else {"gradient_cosines": "it"}
        wanted |= {} if surgery is None else {"surgery": f'"{surgery.name}"'}
        yield from (f"{at}.{key}: {name} compares the gradients of several tasks, but schedule "
                    f'"{phase.schedule.name}" has one task per step; use a joint schedule such as '
                    '"batch_round_robin"' for key, name in wanted.items())
    if surgery is None:
        return
    if mistake := surgery.problem(tasks, phase.schedule.min_tasks_per_step(tasks)):
        yield f"{at}.surgery: {mistake}"
    if encoder is None or not surgery.layers:
        return
    if apart_problem(encoder):
        yield (f'{at}.surgery.layers: the layers of "{encoder.kind}" share their weights, so none can be '
               "chosen; remove layers")
    yield from (f"{at}.surgery.layers: found layer {layer}, expected 0 to {encoder.num_layers - 1} "
                "(-1: the embeddings)"
                for layer in surgery.layers if not -1 <= layer < encoder.num_layers)


def _network(model: MultiTask, at: str, phase: Train, tasks: Sequence[str]) -> Iterator[str]:
    """Yield surgery where no trained weight has several tasks' gradients."""
    shared = trained_by_several(model, tasks)
    wanted = phase.surgery is not None or phase.gradient_cosines is not None
    if wanted and len(tasks) > 1 and not operated(phase.surgery, model, shared):
        key = "gradient_cosines" if phase.surgery is None else "surgery.layers" if shared else "surgery"
        yield (f"{at}.{key}: no weight there is trained by more than one task "
               "(encoder.trainable says which are trained); remove it")


def _continued(at: str, phase: Train, before: Train) -> Iterator[str]:
    now, then = phase.optimizer, before.optimizer
    if phase.keep_optimizer and (now.type, now.options) != (then.type, then.options):
        yield (f'{at}.keep_optimizer: "{now.type}" cannot continue with the state of "{then.type}", '
               "whose type or options differ; use those of the phase before, or keep_optimizer = false")
