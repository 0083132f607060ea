"""The server's interface to a model, whatever computes it: plain data in, plain data out, no torch."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from polytask.data.decisions import Threshold


@dataclass(frozen=True)
class TaskInfo:
    """What clients are told about a task.

    Tasks that read their texts alike have equal layouts, and share a pass of the encoder.
    """

    name: str
    texts: int
    kind: str
    classes: tuple[str, ...]
    range: tuple[float, float] | None
    pairing: str
    layout: Hashable
    metrics: Mapping[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    threshold: Threshold | None = None
    symmetric: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return what `/tasks` says of the task."""
        return {"task": self.name, "texts": self.texts, "kind": self.kind, "pairing": self.pairing,
                "symmetric": self.symmetric, "classes": list(self.classes),
                "range": list(self.range) if self.range else None, "threshold": self.threshold,
                "metrics": dict(self.metrics)}


@dataclass(frozen=True)
class EncodedText:
    """One input, tokenized: the ids of each of its texts, without special tokens."""

    ids: tuple[NDArray[np.int32], ...]

    @property
    def key(self) -> tuple[bytes, ...]:
        """Equal for equal inputs."""
        return tuple(ids.tobytes() for ids in self.ids)


@dataclass(frozen=True)
class TaskAnswer:
    """A task's answer to one input, in JSON values: an `answer_table`, and the head's own numbers."""

    label: Any
    score: Any
    probabilities: dict[str, float] | None
    logits: tuple[float, ...]

    def to_json(self, logits: bool = False) -> dict[str, Any]:
        """Return the answer as clients see it."""
        table: dict[str, Any] = {"label": self.label, "score": self.score}
        if self.probabilities is not None:
            table["probabilities"] = self.probabilities
        return table | ({"logits": list(self.logits)} if logits else {})


@dataclass(frozen=True)
class BatchAnswers:
    """The answers to the inputs of one batch, in their order; `vectors` (inputs, width) where asked."""

    by_task: Mapping[str, Sequence[TaskAnswer]]
    vectors: NDArray[np.float32] | None


class ServedModel(Protocol):
    """A model that answers batches. One thread calls `answer`; any thread calls the rest."""

    name: str
    engine: str
    pooling: str
    tasks: dict[str, TaskInfo]
    embedding_layout: Hashable
    width: int
    max_length: int

    def tokenize(self, inputs: Sequence[tuple[str, ...]]) -> list[EncodedText]:
        """Return the inputs as token ids."""

    def tokens(self, layout: Hashable, text: EncodedText) -> tuple[int, int]:
        """Return the tokens that an input has in this layout: after cutting, and before."""

    def answer(self, layout: Hashable, tasks: Sequence[str], inputs: Sequence[EncodedText],
               embed: bool) -> BatchAnswers:
        """Return every task's answer to every input, from one pass of the encoder."""

    def attention(self, task: str, texts: tuple[str, ...]) -> tuple[list[str], NDArray[np.float32]]:
        """Return the tokens of an input, and what each gets of a layer's attention: (layers, tokens).

        Any thread calls it. Raises `PolytaskError` where the model keeps no attention.
        """
