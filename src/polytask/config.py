"""`Run`: all settings of one training, read from TOML and written to it; `validate.py` judges them.

    run = pk.Run.from_toml("three.toml")
    result = pk.train(run, "runs/first")
    model = pk.load("runs/first")
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from polytask.core.errors import ConfigError
from polytask.core.settings import from_table, keys_of, readable_part, settings, to_table
from polytask.core.toml import override, read_toml, refuse_other_kind, write_toml
from polytask.core.user_modules import add_search_path
from polytask.learn.train_settings import Train
from polytask.model.adapters.contract import Adapter, adapter
from polytask.tasks.task import OnePooling, Task
from polytask.validate import problems, validate

# Named here, because inside a settings class a field hides the family that it is named after.
OneAdapter = Annotated[Adapter, adapter]
# The seeds that torch and numpy accept, with room for offsets.
Seed = Annotated[int, Field(ge=0, le=2**62)]


@settings
class Data:
    """Where the data is and how it becomes tokens."""

    root: str = "."
    """The folder that the tasks' paths are relative to, itself relative to the current folder;
    "sample" is the one that comes with polytask."""
    max_length: Annotated[int, Field(ge=8, le=1_000_000)] = 128
    """The most tokens in a sequence, with special tokens; longer ones are cut, the longest text first."""
    dev_seed: Seed = 11711
    """Seed for carving or limiting dev rows; separate from `seed`, so that runs with other seeds are
    scored on the same rows."""
    cache: str | None = None
    """Folder of the token cache; absent: POLYTASK_CACHE, or the user's cache folder."""
    baselines: bool | None = None
    """Whether a training ends by scoring TF-IDF with a linear model on the same rows; absent: yes."""


@settings
class Encoder:
    """The shared encoder and which part of it is trained."""

    checkpoint: str
    """A hub name, a folder, a run of polytask, or "minilm" (offline, with polytask[minilm])."""
    revision: str | None = None
    """The revision of a hub name; overrides one in an hf:// address. A run records the commit."""
    pooling: OnePooling | None = None
    """How hidden states become a vector; absent: what the checkpoint was trained with."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Dropout in the encoder; absent: the checkpoint's own."""
    trainable: Literal["full", "frozen"] | tuple[int, ...] = "full"
    """Which part of the encoder is trained: all, nothing, or the layers listed (counted from 0)."""
    keep_frozen: Literal["fp32", "fp16", "no"] = "fp32"
    """How the layers below the lowest trained one run. "fp32", "fp16": once per text, without dropout,
    their states kept on disk in that precision; "no": in every pass, with dropout."""
    keep_frozen_gb: Annotated[float, Field(ge=0)] = 8.0
    """Gigabytes of disk that kept states may take; if they need more, those layers run in every pass."""
    adapter: OneAdapter | None = None
    """Task-specific or low-rank pieces inside the encoder."""


@settings
class Run:
    """All settings of one training."""

    seed: Seed = 11711
    """Seeds the initialisation, the order of rows, dropout and sampling."""
    data: Data = Data()
    """The data."""
    encoder: Encoder
    """The encoder that all tasks share."""
    tasks: Annotated[dict[str, Task], Field(min_length=1)]
    """The tasks by their names."""
    train: Train = Train()
    """How the tasks are trained."""

    @classmethod
    def from_table(cls, table: Mapping[str, Any], where: str = "config") -> Run:
        """Read a table; raise `ConfigError` with a sentence for every mistake in it."""
        try:
            run = from_table(cls, table, where)
        except ConfigError as error:
            raise ConfigError([*error.problems, *_further_mistakes(cls, table, where)]) from None
        validate(run, where=where)
        return run

    @classmethod
    def from_toml(cls, path: str | Path, assignments: Iterable[str] = ()) -> Run:
        """Read a TOML file, with "dotted.key=value" assignments over it."""
        add_search_path(Path(path).parent)
        table = read_toml(path)
        refuse_other_kind(table, path, "config")
        return cls.from_table(override(table, assignments), str(path))

    def to_toml(self) -> str:
        """Return the run as TOML, every default written out."""
        return write_toml(to_table(self))


def _further_mistakes(cls: type[Run], table: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield what is wrong between the settings of a table that has mistakes of its own.

    A table with a mistake is judged once that is fixed: the placeholder for its wrong value proves nothing.
    """
    run, left_out = readable_part(cls, table)
    tables_lost = any(len(path) == 1 and (path[0] in keys_of(cls) or isinstance(table[path[0]], Mapping))
                      for path in left_out)
    if run is None or tables_lost:
        return
    unjudged = [".".join(path[:2] if path[0] == "tasks" else path[:1]) for path in left_out]
    task_paths = [path for path in left_out if path[0] == "tasks"]
    if any(len(path) == 2 for path in task_paths):
        unjudged.append("train")  # which may name the task that could not be read
    elif task_paths:
        unjudged.append("train.score")
    for mistake in problems(run):
        if not any(mistake.startswith((f"{part}.", f"{part}:")) for part in unjudged):
            yield f"{where}: {mistake}"
