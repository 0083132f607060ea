"""A request in the micro-batcher: its inputs, its places in the queue, its answer, and how it can fail."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from polytask.serve.engine import EncodedText, ServedModel, TaskAnswer


class Overloaded(Exception):
    """The queue has no room for the request; it should have some in about `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


class BatcherStopped(Exception):
    """The thread that answers has ended; no request will be answered."""

    def __init__(self) -> None:
        super().__init__("the thread that answers has stopped; restart the server")


class DeadlinePassed(Exception):
    """The request was not answered before its deadline."""


class InputFailed(Exception):
    """The model failed on one input; the others of the batch were answered."""


@dataclass
class InputAnswer:
    """The answer to one input: that of each task asked, and the vector where it was asked for."""

    tasks: dict[str, TaskAnswer]
    vector: NDArray[np.float32] | None


@dataclass(frozen=True)
class WantedInput:
    """One input of a request: what is to be computed for it, by the model that tokenized it."""

    model: ServedModel
    text: EncodedText
    layout: Hashable
    tasks: tuple[str, ...]
    embed: bool
    tokens: int


@dataclass(eq=False)
class PendingRequest:
    """The inputs of a request, and where its answer goes."""

    inputs: Sequence[WantedInput]
    deadline: float
    finish: Callable[[list[InputAnswer] | Exception], None]
    since: float
    answers: dict[int, InputAnswer] = field(default_factory=dict)
    cancelled: bool = False
    ended: bool = False


@dataclass(eq=False)
class ReservedPlaces:
    """Places in the queue, reserved for a request before its inputs are tokenized."""

    count: int
    given_back: bool = False


QueuedInput = tuple[PendingRequest, int]
