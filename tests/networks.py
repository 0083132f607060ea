"""Tiny networks and batches that several test files build on."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from polytask.data.batch import Span, TokenBatch
from polytask.data.labels import Labels
from polytask.model.bert import Bert, BertConfig
from polytask.model.heads.linear import Linear
from polytask.model.multitask import MultiTask, build_task_head
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
