"""Tiny networks and batches that several test files build on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from polytask.data.batch import Span, TokenBatch
from polytask.data.labels import Labels
from polytask.data.tables import Integers
from polytask.learn.checkpoint import random_state
from polytask.learn.gramian import PIECE, GradientList, RowGradient
from polytask.learn.microbatch import TaskRows
from polytask.learn.regularizers.context import RegularizerContext, repeat
from polytask.model.bert import Bert, BertConfig
from polytask.model.heads.linear import Linear
from polytask.model.multitask import MultiTask, build_task_head
from polytask.model.output import Output
from polytask.model.pairings.single import Single
from polytask.model.poolings.pooler import Pooler

CLASSES = Labels("classes", ("a", "b", "c"))
BINARY = Labels("binary", ("no", "yes"))
SCORES = Labels("regression")
MANY = Labels("multi-label", ("x", "y", "z", "w"))
KINDS: dict[str, tuple[Labels, int]] = {
    "sst": (CLASSES, 3), "quora": (BINARY, 1), "sts": (SCORES, 1), "topics": (MANY, 4),
}


def tiny_bert(dropout: float = 0.0, **sizes: int) -> Bert:
    """Return a random encoder, 24 wide and of 2 layers unless told otherwise."""
    given = {"vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
             "intermediate_size": 48, "max_position_embeddings": 40, **sizes}
    return Bert(BertConfig(**given, hidden_dropout_prob=dropout,
                           attention_probs_dropout_prob=dropout, initializer_range=0.2))


def tiny_model(tasks: tuple[str, ...] = ("sst", "quora", "sts"), dropout: float = 0.0,
               encoder: nn.Module | None = None) -> MultiTask:
    """Return an encoder with a linear head for each task."""
    made = tiny_bert(dropout) if encoder is None else encoder
    shared = nn.ModuleDict()
    task_heads = {task: build_task_head(made, Pooler(), Single(), Linear(dropout=dropout), *KINDS[task],
                                   shared) for task in tasks}
    return MultiTask(made, task_heads, shared)


def flat_batch(rows: Mapping[str, tuple[int, ...]], vocab: int = 50, seed: int = 0) -> TokenBatch:
    """Return a random batch: for each task the lengths of its sequences, one a row."""
    chance = torch.Generator().manual_seed(seed)
    spans, lengths, at = [], [], 0
    for task, own in rows.items():
        start = len(lengths)
        lengths += own
        spans.append(Span(task, len(own), slice(start, len(lengths)), slice(at, at + sum(own))))
        at += sum(own)
    ids = torch.randint(5, vocab, (at,), generator=chance)
    return TokenBatch(ids, torch.zeros_like(ids), tuple(lengths), tuple(spans))


def randomize(module: nn.Module, names: str = "") -> None:
    """Give every parameter whose name has `names` in it random values."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if names in name:
                parameter.normal_(std=0.3)


class TinyRows:
    """Training rows in memory, as `TrainingSet` gives them: random tokens, labels of each task's kind."""

    def __init__(self, rows: Mapping[str, int], seed: int = 0) -> None:
        chance = np.random.default_rng(seed)
        self.rows = dict(rows)
        self.labels = {task: KINDS[task][0] for task in rows}
        self.ids = {task: [chance.integers(5, 50, chance.integers(2, 7)) for _ in range(count)]
                    for task, count in rows.items()}
        self.targets = {task: self._targets(KINDS[task][0], count, chance) for task, count in rows.items()}
        self.drawn: list[tuple[str, list[int]]] = []

    @staticmethod
    def _targets(labels: Labels, count: int, chance: np.random.Generator) -> Tensor:
        if labels.is_regression:
            return torch.from_numpy(chance.random(count)).float()
        return torch.from_numpy(chance.integers(0, labels.num_classes, count))

    def batch(self, step_rows: Sequence[tuple[str, Integers]]) -> tuple[TokenBatch, list[Tensor]]:
        """Return the flat batch of some rows and their targets."""
        self.drawn += [(task, rows.tolist()) for task, rows in step_rows]
        parts = [self.ids[task][row] for task, rows in step_rows for row in rows.tolist()]
        spans, sequence, token = [], 0, 0
        for task, rows in step_rows:
            size = sum(len(self.ids[task][row]) for row in rows.tolist())
            spans.append(Span(task, len(rows), slice(sequence, sequence + len(rows)),
                              slice(token, token + size)))
            sequence, token = sequence + len(rows), token + size
        ids = torch.from_numpy(np.concatenate(parts))
        return (TokenBatch(ids, torch.zeros_like(ids), tuple(map(len, parts)), tuple(spans)),
                [self.targets[task][torch.from_numpy(rows)] for task, rows in step_rows])

    def loss(self, task_rows: TaskRows, output: Output, target: Tensor) -> Tensor:
        """Return the mean loss of some rows by their task's kind, times their share of their draw."""
        if self.labels[task_rows.task].is_regression:
            return functional.mse_loss(output.field("score").float(), target) * task_rows.share
        logits = output.field("logits").float()
        if logits.ndim == 1:
            value = functional.binary_cross_entropy_with_logits(logits, target.float())
        else:
            value = functional.cross_entropy(logits, target)
        return value * task_rows.share


def gradient_lists(seed: int, tasks: int = 3) -> tuple[list[GradientList], Tensor]:
    """Gradient lists with every kind of entry, and the same as one dense matrix (T, P)."""
    generator = torch.Generator().manual_seed(seed)
    made: list[GradientList] = []
    rows: list[Tensor] = []
    for task in range(tasks):
        long = torch.randn(2 * PIECE + 17, generator=generator)
        square = torch.randn(5, 7, generator=generator)
        ids = torch.randint(0, 12, (9,), generator=generator)
        words = RowGradient.summed(ids, torch.randn(9, 4, generator=generator), 12)
        absent = None if task == 1 else torch.randn(6, generator=generator)
        mixed = words.dense() + 1 if task == 0 else words
        nowhere = None
        made.append([long, square, words, absent, mixed, nowhere])
        dense = [long, square, words.dense(), torch.zeros(6) if absent is None else absent,
                 mixed.dense() if isinstance(mixed, RowGradient) else mixed]
        rows.append(torch.cat([each.flatten() for each in dense]))
    return made, torch.stack(rows).double()


def observe(model: nn.Module, batch: TokenBatch, labels: Labels,
            target: Tensor | None = None) -> RegularizerContext:
    """Run the clean pass of a batch of one span; return what a regularizer sees of it."""
    (span,) = batch.spans
    before = random_state()
    embeddings = model.encoder.embed(batch)  # type: ignore[operator, union-attr]
    (output,) = model(batch, embeddings)
    return RegularizerContext(
        model=model, task=span.task, labels=labels, batch=batch, embeddings=embeddings, output=output,
        target=target, forward=repeat(model, batch, before))
