"""The whole network: one encoder, and a head for every task (M-1, S-2).

    tokens of all tasks of a step ─► encoder, once ─► each task's span ─► pooling ─► pairing ─► head

What two tasks share lies in `encoder` and `shared`; what is a task's own in `task_heads.<task>` and
`encoder.adapter.tasks.<task>`. `shared_parameters` tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from polytask.core.errors import ConfigError
from polytask.data.batch import Span, TokenBatch
from polytask.data.collate import InputLayout
from polytask.data.dataset import Split
from polytask.data.labels import Labels
from polytask.data.tables import Integers
from polytask.model.heads.contract import Head
from polytask.model.output import Output
from polytask.model.pairings.contract import Pairing
from polytask.model.poolings.contract import Pooling
from polytask.model.precision import Precision


def pair_problem(head: Head, pairing: Pairing) -> str | None:
    """Return why a head that compares two vectors cannot stand behind a pairing, or None."""
    if head.input_field != "pair" or pairing.only_two_vectors:
        return None
    remedy = 'pairing = "bi_encoder"' if pairing.texts == 2 else 'head = "linear"'
    gives = "one" if not pairing.two_vectors else "a third, which nothing would see"
    return (f'"{head.name}" compares two vectors, but pairing "{pairing.name}" gives {gives}; '
            f"set {remedy}")


class StateKeeper(Protocol):
    """Knows what the frozen layers made of some rows (`inference.kept_states`)."""

    def attach(self, batch: TokenBatch,
               microbatches: list[tuple[Split, InputLayout, Integers]]) -> TokenBatch: ...


class TaskHead(nn.Module):
    """The part of one task alone: pooled vectors → Output. The head fills its field `output_field`."""

    def __init__(self, pooling: Pooling, pairing: nn.Module, head: nn.Module, output_field: str,
                 shares: Iterable[str] = ()) -> None:
        super().__init__()
        self.pooling, self.pairing, self.head = pooling, pairing, head
        self.output_field, self.shares = output_field, frozenset(shares)

    def forward(self, pooled: Tensor) -> Output:
        output: Output = self.pairing(pooled)  # pooled: (rows·sequences, width)
        return output.with_values(self.output_field, self.head(output))


def build_task_head(encoder: Any, pooling: Pooling, pairing: Pairing, head: Head, labels: Labels,
                    outputs: int, shared: nn.ModuleDict) -> TaskHead:
    """Build the head of a task; a layer that it shares is taken from `shared`, or put there."""
    if mistake := pooling.problem(encoder) or head.problem(labels) or pair_problem(head, pairing):
        raise ConfigError(mistake)
    width, before = pairing.width(encoder.width), set(shared)
    layers = head.shared_layers(width)
    module = head.build(width, outputs, shared)
    if unnamed := [layer for layer in shared if layer not in before and layer not in layers]:
        raise ConfigError(f'head "{head.name}" puts the layer "{unnamed[0]}" into `shared`, but its '
                          "shared_layers(width) does not name it; expected every layer that tasks share")
    return TaskHead(pooling, pairing.build(encoder.width), module, head.output_field(labels.kind), layers)


class MultiTask(nn.Module):
    """The network of a run. `encoder` is a `Bert`, or anything with its surface."""

    def __init__(self, encoder: nn.Module, task_heads: Mapping[str, TaskHead],
                 shared: nn.ModuleDict | None = None) -> None:
        super().__init__()
        self.encoder: Any = encoder
        self.task_heads = nn.ModuleDict(task_heads)
        self.shared = nn.ModuleDict() if shared is None else shared
        self.kept: StateKeeper | None = None  # while a training with frozen layers lasts
        self.sharded = False  # whether the layers are spread over several processes
        self.precision: Precision = "auto"  # of evaluations and predictions; the training sets its own

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(self.task_heads)

    def task_head(self, task: str) -> TaskHead:
        """Return the head of a task."""
        task_head = self.task_heads[task]
        assert isinstance(task_head, TaskHead)
        return task_head

    def forward(self, batch: TokenBatch, embeddings: Tensor | None = None) -> tuple[Output, ...]:
        """Run the encoder once over the batch; return the output of each of `batch.spans`."""
        return self.heads(self.encoder(batch, embeddings), batch)

    def heads(self, hidden: Tensor, batch: TokenBatch) -> tuple[Output, ...]:
        """Return the output of each of `batch.spans` from given hidden states (tokens, width)."""
        return tuple(self.from_pooled(span.task, self.pooled(hidden, batch, span))
                     for span in batch.spans)

    def pooled(self, hidden: Tensor, batch: TokenBatch, span: Span) -> Tensor:
        """Return the pooled vectors of one span: (rows·sequences, width)."""
        pooling = self.task_head(span.task).pooling
        return pooling.pool(hidden[span.tokens], batch.narrow(span), self.encoder)

    def from_pooled(self, task: str, pooled: Tensor) -> Output:
        """Return the output of rows whose pooled vectors are known, as a frozen encoder's are.

        In float32 under autocast, too: scores in half precision would have steps that make ties.
        """
        head, device = self.task_head(task), pooled.device.type
        if not torch.is_autocast_enabled(device):
            return head(pooled)  # type: ignore[no-any-return]
        with torch.autocast(device, enabled=False):
            return head(pooled.float())  # type: ignore[no-any-return]

    def reached_by(self, name: str, tasks: Iterable[str]) -> frozenset[str]:
        """Return those of `tasks` whose output a parameter of this network bears on."""
        place, _, rest = name.partition(".")
        if place == "task_heads":
            return frozenset(tasks) & {rest.partition(".")[0]}
        if place == "shared":
            layer = rest.partition(".")[0]
            return frozenset(task for task in tasks if layer in self.task_head(task).shares)
        if rest.startswith("adapter.tasks."):
            return frozenset(tasks) & {rest.split(".")[2]}
        if rest.startswith("pooler."):
            return frozenset(task for task in tasks if self.task_head(task).pooling.trains_pooler)
        return frozenset(tasks)

    def shared_parameters(self, tasks: Iterable[str]) -> list[nn.Parameter]:
        """Return the parameters that two or more of `tasks` reach, in the network's order."""
        tasks = tuple(tasks)
        return [parameter for name, parameter in self.named_parameters()
                if len(self.reached_by(name, tasks)) > 1]
