"""Outputs for many rows: batched by length, without gradients, one encoder pass per text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polytask.core.prefetch import prefetch
from polytask.core.processes import ALONE, Processes
from polytask.core.progress import Progress, Silent
from polytask.data.batch import TokenBatch
from polytask.data.collate import InputLayout, by_length, collate
from polytask.data.dataset import Split
from polytask.data.decisions import Decision, Threshold
from polytask.data.tables import Integers
from polytask.model.multitask import MultiTask
from polytask.model.output import Output
from polytask.model.precision import inference_autocast
from polytask.tasks.resolved_task import ResolvedTask

# Tokens of a batch: enough for the matrix products to be at full speed, little enough for the
# activations to stay in a CPU's cache.
BATCH_TOKENS = {"cpu": 2048, "cuda": 65536}


@dataclass(frozen=True)
class RowOutputs:
    """The outputs of all rows of a split in the split's order, on the CPU in float32."""

    output: Output

    def decide(self, task: ResolvedTask, threshold: Threshold | None) -> Decision:
        """Return labels and scores."""
        return task.head.decide(self.output, task.labels, threshold)


def forward_rows(model: MultiTask, task: ResolvedTask, split: Split, rows: Integers | None = None,
                 progress: Progress | None = None, processes: Processes = ALONE) -> RowOutputs:
    """Return the output of a task for rows of a split (absent: all of them)."""
    return forward_tasks(model, [task], split, rows, progress, processes)[task.name]


def forward_tasks(model: MultiTask, tasks: Sequence[ResolvedTask], split: Split,
                  rows: Integers | None = None, progress: Progress | None = None,
                  processes: Processes = ALONE) -> dict[str, RowOutputs]:
    """Return the outputs of several tasks for the same rows: one encoder pass where they share inputs.

    Tasks share inputs if they lay out their sentences in the same way and the encoder has no
    task-specific adapter. Several processes share the batches, and each has the outputs of all rows.
    """
    rows = np.arange(len(split)) if rows is None else rows
    outputs: dict[str, RowOutputs] = {}
    for group in _read_alike(model, tasks):
        parts: dict[str, list[Output]] = {task.name: [] for task in group}
        order = []
        for places, pooled in _pooled(model, group, split, rows, progress or Silent(), processes):
            with _no_graph(model), autocast_of(model):
                for name, vectors in pooled.items():
                    parts[name].append(_on_cpu(model.from_pooled(name, vectors)))
            order.append(places)
        back = _undo(_everywhere(order, processes))
        outputs |= {name: RowOutputs(_gathered(_joined(chunks), processes)[back])
                    for name, chunks in parts.items()}
    return {task.name: outputs[task.name] for task in tasks}


def _read_alike(model: MultiTask, tasks: Sequence[ResolvedTask]) -> list[list[ResolvedTask]]:
    if len(tasks) == 1:
        return [list(tasks)]
    own = any(name.startswith("encoder.adapter.tasks.") for name, _ in model.named_parameters())
    groups: dict[object, list[ResolvedTask]] = {}
    for task in tasks:
        key = task.name if own else InputLayout.of(task.pairing, task.max_length)
        groups.setdefault(key, []).append(task)
    return list(groups.values())


def encode_once(model: MultiTask, task: ResolvedTask, split: Split,
                progress: Progress | None = None, processes: Processes = ALONE) -> Tensor:
    """Return the pooled vectors of every row: (rows, sequences, width) float32 on the CPU."""
    return encode_some(model, task, split, np.arange(len(split)), progress, processes)


def encode_some(model: MultiTask, task: ResolvedTask, split: Split, rows: Integers,
                progress: Progress | None = None, processes: Processes = ALONE) -> Tensor:
    """Return the pooled vectors of some rows: (rows, sequences, width) float32 on the CPU."""
    # Filled in place, outside inference mode: training saves the vectors for its backward.
    vectors_by_row = torch.empty(len(rows), task.pairing.sequences, model.encoder.width)
    order = []
    for places, pooled in _pooled(model, [task], split, rows, progress or Silent(), processes):
        vectors = pooled[task.name].float().cpu().view(len(places), task.pairing.sequences, -1)
        vectors_by_row[torch.from_numpy(places)] = vectors
        order.append(places)
    own = torch.from_numpy(_flat(order))
    for filled, computed in zip(processes.gather(own), processes.gather(vectors_by_row[own]), strict=True):
        vectors_by_row[filled] = computed
    return vectors_by_row


@torch.inference_mode()
def attention(model: MultiTask, task: ResolvedTask, split: Split, row: int) -> tuple[list[int], Tensor]:
    """Return the ids of a row's sequence and its attention in every layer and head (S-25).

    The maps are (layers, heads, length, length) float32 on the CPU, each row of them summing to 1.
    Two texts share one sequence whatever the task's pairing, so that the map shows attention between
    them. The encoder must have `attentions`.
    """
    layout = InputLayout(len(task.text), 1, task.max_length)
    device = next(model.parameters()).device
    batch = collate([split.select(task.name, layout, np.array([row]))], split.special_tokens).to(device)
    maps = torch.stack([layer[0] for layer in model.encoder.attentions(batch)])
    return batch.ids.tolist(), maps.float().cpu()


def _no_graph(model: MultiTask) -> AbstractContextManager[Any]:
    """Return inference mode; not where layers are spread, whose weights are gathered into the same memory
    that the next update records."""
    return torch.no_grad() if model.sharded else torch.inference_mode()


def autocast_of(model: MultiTask) -> AbstractContextManager[Any]:
    """Return bf16 autocast on a GPU that has it, unless the model was trained in float32."""
    return inference_autocast(next(model.parameters()).device.type, model.precision)


def _pooled(model: MultiTask, tasks: Sequence[ResolvedTask], split: Split, rows: Integers,
            progress: Progress, processes: Processes) -> Iterator[tuple[Integers, dict[str, Tensor]]]:
    """Yield places in `rows` and each task's pooled vectors (rows·sequences, width), batch by batch.

    The tasks share inputs; the next batch is collated while the encoder runs. Of several processes each
    yields its share of the batches.
    """
    first = tasks[0]
    layout = InputLayout.of(first.pairing, first.max_length)
    device = next(model.parameters()).device
    was = model.training
    if was:  # both walk through every module: for one short text that is felt
        model.eval()
    lengths = split.lengths(layout).kept[rows].sum(axis=1)

    def batch_of(places: Integers) -> TokenBatch:
        batch = collate([split.select(first.name, layout, rows[places])], split.special_tokens)
        return batch if model.kept is None else model.kept.attach(batch, [(split, layout, rows[places])])

    places_by_batch = list(by_length(lengths, BATCH_TOKENS.get(device.type, 65536)))
    mine = processes.share(len(places_by_batch))
    # Every process makes the same number of passes: one without a batch in the last round repeats the
    # first batch, for the shapes of what it gives.
    spare = -(-len(places_by_batch) // processes.world) - len(mine)
    batches = (places_by_batch[number] for number in [*mine, *[0] * spare])
    collated: Iterable[tuple[Integers, TokenBatch]] = ((places, batch_of(places)) for places in batches)
    for turn, (places, batch) in enumerate(collated if len(places_by_batch) == 1 else prefetch(collated)):
        batch = batch.to(device)
        with _no_graph(model), autocast_of(model):
            hidden = model.encoder(batch)
            pooled = {task.name: model.pooled(hidden, batch, replace(batch.spans[0], task=task.name))
                      for task in tasks}
        if turn >= len(mine):
            places, pooled = places[:0], {name: vectors[:0] for name, vectors in pooled.items()}
        yield places, pooled
        progress.advance(len(places) * processes.world)  # the others are about as far
    if was:
        model.train()


def _flat(order: Sequence[Integers]) -> Integers:
    return np.concatenate(order) if order else np.empty(0, dtype=np.int64)


def _everywhere(order: Sequence[Integers], processes: Processes) -> list[Integers]:
    """Return the places whose outputs each process has, in the order of the processes."""
    return [places.numpy() for places in processes.gather(torch.from_numpy(_flat(order)))]


def _gathered(output: Output, processes: Processes) -> Output:
    """Return the outputs of all processes, one after the other."""
    return Output(**{name: torch.cat(processes.gather(value)) for name, value in output.filled().items()})


def _undo(order: Sequence[Integers]) -> Tensor:
    return torch.from_numpy(np.argsort(_flat(order), kind="stable"))


def _on_cpu(output: Output) -> Output:
    return Output(**{f.name: None if (x := getattr(output, f.name)) is None else x.float().cpu()
                     for f in fields(output)})


def _joined(parts: Sequence[Output]) -> Output:
    """Return the outputs of several batches as one."""
    joined = {}
    for output_field in fields(Output):
        present = [x for part in parts if (x := getattr(part, output_field.name)) is not None]
        joined[output_field.name] = torch.cat(present) if present else None
    return Output(**joined)
