"""`Run`: all settings of one training, read from TOML and written to it, validated as a whole.

    run = pk.Run.from_toml("three.toml")
    result = pk.train(run, "runs/first")
    model = pk.load("runs/first")
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import nn

from polytask.core.errors import ConfigError, nearest
from polytask.core.settings import from_table, problem, settings, to_table
from polytask.core.toml import override, read_toml, write_toml
from polytask.core.user_modules import add_search_path
from polytask.learn.train_settings import Train
from polytask.metrics import check_formula
from polytask.model.adapters.contract import Adapter, adapter
from polytask.tasks.task import OnePooling, Task

# Named here, because inside a settings class a field hides the family that it is named after.
OneAdapter = Annotated[Adapter, adapter]


@settings
class Data:
    """Where the data are and how they become tokens."""

    root: str = "."
    """Folder that the paths of the tasks are relative to, itself relative to the folder you are in;
    "sample" is the one that comes with polytask."""
    max_length: Annotated[int, Field(ge=8)] = 128
    """Tokens of a sequence at most, special ones included; longer ones are cut, longest text first."""
    dev_seed: int = 11711
    """Draws the dev rows that are carved or limited; apart from `seed`, so that runs with other seeds are
    scored on the same rows."""
    cache: str | None = None
    """Folder of the token cache; absent: POLYTASK_CACHE, or the user's cache folder."""


@settings
class Encoder:
    """The shared encoder and what of it is trained."""

    checkpoint: str
    """A hub name, a folder, a run of polytask, or "minilm" (offline, with polytask[minilm])."""
    revision: str | None = None
    """The revision of a hub name."""
    pooling: OnePooling | None = None
    """How hidden states become a vector; absent: what the checkpoint was trained with."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Dropout in the encoder; absent: the checkpoint's own."""
    trainable: Literal["full", "frozen"] | tuple[int, ...] = "full"
    """What of the encoder is trained: all, nothing, or the layers listed (counted from 0)."""
    adapter: OneAdapter | None = None
    """Task-specific or low-rank pieces inside the encoder."""


@settings
class Run:
    """Everything that one training is."""

    seed: int = 11711
    """Seeds the initialisation, the order of rows, dropout, and what is drawn."""
    data: Data = Data()
    """Where the data are."""
    encoder: Encoder
    """The encoder that all tasks share."""
    tasks: Annotated[dict[str, Task], Field(min_length=1)]
    """The tasks by their names."""
    train: Train = Train()
    """How they are trained."""

    def __post_init__(self) -> None:
        for name in self.tasks:
            if not name.replace("-", "_").isidentifier():
                raise problem(f'tasks."{name}": a task is named in letters, digits, "_" and "-"')
            if hasattr(nn.ModuleDict, name):
                raise problem(f'tasks.{name}: torch has its own use of this name; call it otherwise')

    @classmethod
    def from_table(cls, table: Mapping[str, Any], where: str = "config") -> Run:
        """Read a table; raise `ConfigError` with a sentence for every mistake in it."""
        run = from_table(cls, table, where)
        if problems := list(conflicts(run)):
            raise ConfigError(f"{where}: {said}" for said in problems)
        return run

    @classmethod
    def from_toml(cls, path: str | Path, assignments: Iterable[str] = ()) -> Run:
        """Read a TOML file, with "dotted.key=value" assignments over it."""
        add_search_path(Path(path).parent)
        return cls.from_table(override(read_toml(path), assignments), str(path))

    def to_toml(self) -> str:
        """Return the run as TOML, every default written out."""
        return write_toml(to_table(self))


def conflicts(run: Run) -> Iterable[str]:
    """Yield a sentence for each combination of settings that cannot work."""
    try:
        phases = run.train.placed()
    except ConfigError as error:
        yield from error.problems
        phases = ()
    for name, task in run.tasks.items():
        yield from task.conflicts(f"tasks.{name}")
    for number, (at, phase) in enumerate(phases):
        yield from _phase_conflicts(run, phase, at)
        now, before = phase.optimizer, phases[max(0, number - 1)][1].optimizer
        if phase.keep_optimizer and (now.type, now.options) != (before.type, before.options):
            yield (f'{at}.keep_optimizer: "{now.type}" cannot go on with what "{before.type}" remembers, '
                   "whose type or options differ; use those of the phase before, or keep_optimizer = false")
    if said := check_formula(run.train.score, {name: task.metrics for name, task in run.tasks.items()}):
        yield f"train.score: {said}"
    if run.encoder.trainable == "frozen":
        if run.encoder.adapter is not None:
            yield 'encoder.adapter: an adapter needs an encoder that is run; set trainable = "full"'
        for name, task in run.tasks.items():
            if task.chosen_pairing.name == "twin":
                yield (f'tasks.{name}.pairing: "twin" needs the dropout of a trained encoder, but '
                       'encoder.trainable is "frozen"')


def _phase_conflicts(run: Run, phase: Train, at: str) -> Iterable[str]:
    for task in phase.tasks or ():
        if task not in run.tasks:
            yield f'{at}.tasks: "{task}" is no task{nearest(task, run.tasks)}'
    if phase.tasks is not None and not phase.tasks:
        yield f"{at}.tasks: the phase has no tasks; expected at least one of {', '.join(run.tasks)}"
    tasks = list(phase.tasks or run.tasks)
    min_tasks_per_step = phase.schedule.min_tasks_per_step(tasks)
    named = phase.batch_size if isinstance(phase.batch_size, dict) else {}
    if said := phase.schedule.problem(tasks, {}, {**phase.batch_sizes(tasks), **named}):
        yield f"{at}: {said}"
    if phase.surgery is not None and (said := phase.surgery.problem(tasks, min_tasks_per_step)):
        yield f"{at}.surgery: {said}"
    if said := phase.weighting.problem(tasks, min_tasks_per_step):
        yield f"{at}.weighting: {said}"
    widest = phase.schedule.max_tasks_per_step(tasks)
    if phase.surgery is not None and len(tasks) > 1 and widest < 2:
        yield (f'{at}.surgery: "{phase.surgery.name}" compares the gradients of several tasks, but '
               f'schedule "{phase.schedule.name}" gives one task a step; use a joint schedule such as '
               '"batch_round_robin"')
    for number, each in enumerate(phase.regularizers):
        if run.encoder.trainable == "frozen" and each.perturbs:
            yield (f'{at}.regularizers.{number}: "{each.name}" perturbs the encoder\'s input, but '
                   'encoder.trainable is "frozen"')
        if said := each.problem(tasks):
            yield f"{at}.regularizers.{number}.{said}"
