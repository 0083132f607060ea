"""What is predicted in shards: the model, the tasks, the files and where they are cut; kept as a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from polytask.core.atomic_files import write_json
from polytask.core.errors import RunError
from polytask.core.json_files import read_json, typed
from polytask.core.paths import PredictionPaths
from polytask.data.row_filter import RowFilter
from polytask.data.shards import CutFile, Shard
from polytask.inference.contract import AnswerableTask

# Of the plan's own form: one of another version of polytask is not resumed.
_SCHEMA = 1


def shared_filter(tasks: Sequence[AnswerableTask]) -> RowFilter:
    """Return which rows the tasks take; all of them if they do not agree."""
    filters = {RowFilter.of(task.where) for task in tasks}
    return filters.pop() if len(filters) == 1 else RowFilter()


@dataclass(frozen=True)
class PredictionOrder:
    """What the user asked for, as far as the answers depend on it.

    run       an absolute path, or an address on the hub
    model     the digest of its files
    files     path → digest of its content
    """

    run: str
    model: str
    engine: str
    tasks: tuple[str, ...]
    text: tuple[str, ...] | None
    format: str
    safe_csv: bool
    strict: bool
    rows: int
    files: dict[str, str]


@dataclass(frozen=True)
class ShardPlan:
    """An order and its files in shards, which are numbered from 0 through all files."""

    order: PredictionOrder
    files: tuple[CutFile, ...]

    @cached_property
    def shards(self) -> tuple[tuple[CutFile, Shard], ...]:
        return tuple((file, shard) for file in self.files for shard in file.shards)

    @property
    def rows(self) -> int:
        """How many rows there are to answer."""
        return sum(shard.rows for _, shard in self.shards)

    def write(self, paths: PredictionPaths) -> None:
        write_json(paths.plan, {"schema": _SCHEMA, "order": vars(self.order),
                                "files": [file.to_json() for file in self.files]})

    @classmethod
    def read(cls, paths: PredictionPaths) -> ShardPlan:
        """Read a plan back; raise `RunError` for what polytask did not write."""
        table: Any = read_json(paths.plan, most=1 << 40)
        try:
            if table["schema"] != _SCHEMA:
                raise ValueError("of another version")
            plan = cls(typed(PredictionOrder, table["order"]),
                       tuple(map(CutFile.from_json, table["files"])))
            if [file.path for file in plan.files] != [*plan.order.files]:
                raise ValueError("its shards are of other files than its order")
            return plan
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunError(f"{paths.plan}: is not a plan of this version of polytask ({error}); give "
                           "another --out") from None

    def where(self, number: int) -> str:
        """Return what a message calls a shard: its file and lines."""
        file, shard = self.shards[number]
        return f"{Path(file.path)}, {shard.records:,} records from line {shard.line}"
