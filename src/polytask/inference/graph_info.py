"""What an exported graph says of itself: tasks, labels, thresholds, layouts, outputs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.core.errors import CheckpointError
from polytask.data.collate import InputLayout
from polytask.data.decisions import Decision, Threshold, above, chosen, clipped
from polytask.data.file_format import FileFormat
from polytask.data.labels import Labels
from polytask.data.stored_task import layout_problem, stored_task_problem

SCHEMA = 1
METADATA = "polytask"
EMBEDDING = "sentence_embedding"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True)
class ExportedTask:
    """What a graph's metadata say of a task.

    activated: the output with what the labels are decided by: the probabilities, or the score in the
    labels' own range; `one_number`: the head has one output for two classes.
    """

    name: str
    text: tuple[str, ...]
    label: str | tuple[str, ...]
    labels: Labels
    id: str | None
    layout: InputLayout
    logits: str | None
    activated: str
    one_number: bool
    threshold: Threshold | None
    file_format: FileFormat
    where: dict[str, Any] | None

    @property
    def max_length(self) -> int:
        return self.layout.max_length

    def to_json(self) -> dict[str, Any]:
        """Return what a graph's metadata keep of the task."""
        return {"text": list(self.text), "label": self.label, "labels": self.labels.to_json(),
                "id": self.id, "layout": vars(self.layout), "logits": self.logits,
                "activated": self.activated, "one_number": self.one_number, "threshold": self.threshold,
                "files": self.file_format.to_json(), "where": self.where}

    @classmethod
    def from_json(cls, name: str, table: Mapping[str, Any]) -> ExportedTask:
        """Read a task back from a graph's metadata."""
        label = table["label"]
        return cls(name, tuple(table["text"]), label if isinstance(label, str) else tuple(label),
                   Labels.from_json(table["labels"]),
                   table["id"], InputLayout(**table["layout"]), table["logits"], table["activated"],
                   bool(table["one_number"]), table["threshold"],
                   FileFormat.from_json(table["files"]), table["where"])

    def decide(self, activated: NDArray[np.float32]) -> Decision:
        """Return labels and scores from the task's activated output."""
        values = activated.astype(np.float64)
        if self.labels.is_regression:
            return clipped(values, self.labels)
        if self.logits is None:
            return above(values, self.threshold)
        return chosen(values[:, 1] if self.one_number else values, self.labels, self.threshold)


@dataclass(frozen=True)
class GraphInfo:
    """What a graph says of itself."""

    tasks: dict[str, ExportedTask]
    embedding: InputLayout
    pooling: str
    tokenizer: str
    """Digest of the tokenizer.json that its ids come from."""

    def to_json(self) -> str:
        return json.dumps({"schema": SCHEMA, "pooling": self.pooling, "tokenizer": self.tokenizer,
                           "embedding": vars(self.embedding),
                           "tasks": {name: task.to_json() for name, task in self.tasks.items()}},
                          ensure_ascii=False)

    @classmethod
    def read(cls, metadata: Mapping[str, str], where: Path) -> GraphInfo:
        """Read a graph's metadata; raise `CheckpointError` for a graph that is not polytask's."""
        if METADATA not in metadata:
            raise CheckpointError(f'{where}: is an ONNX graph of another program: its metadata has no '
                                  f'"{METADATA}"; expected one that polytask export wrote')
        try:
            table = json.loads(metadata[METADATA])
            if table["schema"] != SCHEMA:
                found = str(table["schema"])[:40]
                raise CheckpointError(f"{where}: found metadata of schema {found}, expected {SCHEMA}; "
                                      "export the run again")
            info = cls({name: ExportedTask.from_json(name, task) for name, task in table["tasks"].items()},
                       InputLayout(**table["embedding"]), table["pooling"], table["tokenizer"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"{where}: its metadata cannot be read ({repr(error)[:200]}); export the "
                                  "run again") from None
        if (problem := info.problem()) is not None:
            raise CheckpointError(f"{where}: its metadata has {problem}; export the run again")
        return info

    def problem(self) -> str | None:
        """Return what is wrong with what the metadata say, or None."""
        if not self.tasks:
            return "no task"
        embedding = self.embedding
        if (embedding.texts, embedding.sequences) != (1, 1) or layout_problem(embedding) is not None:
            return "an embedding that is not of single texts"
        for name, task in self.tasks.items():
            if not isinstance(task.activated, str) or not isinstance(task.logits, str | None):
                return f'task "{name}" without names of its outputs'
            problem = stored_task_problem(task.text, task.labels, task.layout, task.threshold,
                                          task.logits is None)
            if problem is not None:
                return f'task "{name}": {problem}'
        return None

    def graph_problem(self, inputs: Mapping[str, Sequence[Any]],
                      outputs: Mapping[str, Sequence[Any]]) -> str | None:
        """Return what a graph lacks of what the metadata say, or None; both are {name: shape}."""
        if set(inputs) != set(INPUTS):
            return f"takes {', '.join(inputs)[:80]}, expected {', '.join(INPUTS)}"
        wanted = {EMBEDDING: 2}
        for task in self.tasks.values():
            values = 1 if task.labels.is_regression or task.logits is None else 2
            wanted |= {task.activated: values} | ({} if task.logits is None else {task.logits: 0})
        for name, rank in wanted.items():
            if name not in outputs or (rank and len(outputs[name]) != rank):
                return f'has no output "{name}" as its metadata describe it'
        if not isinstance(outputs[EMBEDDING][-1], int):
            return f'has an output "{EMBEDDING}" of no fixed width'
        for task in self.tasks.values():
            shape, count = outputs[task.activated], task.labels.num_classes
            if len(shape) == 2 and isinstance(shape[1], int) and shape[1] != count:
                return f'has {shape[1]} probabilities for the {count} classes of task "{task.name}"'
        return None
