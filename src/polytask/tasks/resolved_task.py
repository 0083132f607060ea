"""A task with nothing left open: `resolve` completes what the user wrote with what the data say.

It is what a model, an evaluation and `tasks.json` are made of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

from pydantic_core import PydanticCustomError

from polytask.core.errors import ConfigError
from polytask.core.settings import to_table
from polytask.data.collate import InputLayout
from polytask.data.file_format import FileFormat
from polytask.data.labels import Labels
from polytask.losses.contract import Loss, loss
from polytask.metrics import DEFAULT_METRICS
from polytask.model.heads.contract import Head, head
from polytask.model.pairings.contract import Pairing, pairing
from polytask.model.poolings.contract import Pooling, pooling
from polytask.tasks.task import Task, default_loss, wanted_outputs

USUAL_FILES = FileFormat()
MOST_OUTPUTS = 1 << 20


@dataclass(frozen=True)
class ResolvedTask:
    """A task with nothing left open: what a model and an evaluation are built from."""

    name: str
    text: tuple[str, ...]
    label: str | tuple[str, ...]
    labels: Labels
    pairing: Pairing
    pooling: Pooling | None
    head: Head
    losses: tuple[Loss, ...]
    outputs: int
    metrics: tuple[str, ...]
    max_length: int
    id: str | None = None
    file_format: FileFormat = USUAL_FILES
    where: dict[str, Any] | None = None
    threshold: float | Literal["tuned", "accuracy"] | None = None

    @property
    def layout(self) -> InputLayout:
        """How its texts become sequences."""
        return InputLayout.of(self.pairing, self.max_length)

    def to_json(self) -> dict[str, Any]:
        """Return what `tasks.json` keeps of the task."""
        label = self.label if isinstance(self.label, str) else list(self.label)
        return {
            "text": list(self.text), "label": label, "labels": self.labels.to_json(),
            "pairing": to_table(self.pairing),
            "pooling": to_table(self.pooling) if self.pooling else None,
            "head": to_table(self.head), "loss": to_table(self.losses),
            "outputs": self.outputs, "metrics": list(self.metrics), "max_length": self.max_length,
            "id": self.id, "files": self.file_format.to_json(), "where": self.where,
            "threshold": self.threshold,
        }

    @classmethod
    def from_json(cls, name: str, table: Mapping[str, Any]) -> ResolvedTask:
        """Read a task back from `tasks.json`.

        A custom loss that cannot be imported is left out: nothing here needs it.
        """
        outputs = table["outputs"]
        if type(outputs) is not int or not 1 <= outputs <= MOST_OUTPUTS:
            raise ValueError(f"{name}: outputs: found {str(outputs)[:40]!r}, expected 1 to "
                             f"{MOST_OUTPUTS:,}")
        losses = []
        for entry in table["loss"]:
            with suppress(PydanticCustomError):
                losses.append(loss.read(entry))
        return cls(
            name=name, text=tuple(table["text"]),
            label=table["label"] if isinstance(table["label"], str) else tuple(table["label"]),
            labels=Labels.from_json(table["labels"]), pairing=pairing.read(table["pairing"]),
            pooling=pooling.read(table["pooling"]) if table.get("pooling") else None,
            head=head.read(table["head"]),
            losses=tuple(losses),
            outputs=outputs, metrics=tuple(table["metrics"]),
            max_length=table["max_length"], id=table.get("id"),
            file_format=FileFormat.from_json(table.get("files", {})), where=table.get("where"),
            threshold=table.get("threshold"),
        )


def resolve(name: str, task: Task, labels: Labels, counts: Sequence[int] | None,
            max_length: int) -> ResolvedTask:
    """Complete a task with its labels; `counts` are the training rows of each class.

    Raises `ConfigError` with all `problems` of the task, for a loss, head and pairing that do not fit.
    """
    at = f"tasks.{name}"
    if problems := list(task.problems(labels)):
        raise ConfigError(f"{at}.{mistake}" for mistake in problems)
    with _telling(f"{at}.loss"):
        losses = task.ready_losses(labels, counts)
    outputs = wanted_outputs(losses, labels) or wanted_outputs([default_loss(labels.kind)], labels)
    return ResolvedTask(
        name=name, text=task.text, label=task.label, labels=labels, pairing=task.chosen_pairing,
        pooling=task.pooling, head=task.head, losses=losses, outputs=min(outputs, default=1),
        metrics=task.metrics or DEFAULT_METRICS[labels.kind], max_length=max_length, id=task.id,
        file_format=task.file_format, where=task.where, threshold=task.threshold,
    )


@contextmanager
def _telling(where: str) -> Iterator[None]:
    """Put the dotted key before what a component refuses."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{where}: {mistake}" for mistake in error.problems) from None
    except PydanticCustomError as error:
        raise ConfigError(f"{where}: {error.message()}") from None
