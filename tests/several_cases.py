"""What tests of several processes run in each of them, and alone for comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from networks import KINDS, TinyRows, randomize, tiny_bert
from polytask.core.processes import ALONE, Processes
from polytask.core.settings import from_table
from polytask.data.batch import Span, TokenBatch
from polytask.data.tables import Integers
from polytask.learn.train_settings import Train
from polytask.learn.trainer import Score, Trainer
from polytask.losses.contract import Loss
from polytask.losses.cross_entropy import CrossEntropy
from polytask.losses.sim_cse import SimCSE
from polytask.model.heads.linear import Linear
from polytask.model.multitask import MultiTask, build_task_head
from polytask.model.output import Output
from polytask.model.pairings.bi_encoder import BiEncoder
from polytask.model.pairings.single import Single
from polytask.model.poolings.mean import Mean
from polytask.model.poolings.pooler import Pooler

ROWS = {"sst": 37, "quora": 23, "sts": 13}
# Adam divides by the size of a gradient: where it is zero but for rounding, a small epsilon makes a
# full step of that.
TABLE = {"batch_size": 9, "epochs": 20, "max_steps": 20,
         "optimizer": {"lr": 2e-3, "warmup": 0.1, "options": {"eps": 1e-5}}}


class Rows(TinyRows):
    """Training rows of which `pairs` tasks have two sequences each, with losses of the library."""

    def __init__(self, rows: Mapping[str, int], losses: Mapping[str, Loss], pairs: Sequence[str]) -> None:
        super().__init__(rows)
        self.losses, self.pairs = losses, pairs
        chance = np.random.default_rng(1)
        self.others = {task: [chance.integers(5, 50, chance.integers(2, 7)) for _ in range(count)]
                       for task, count in rows.items()}

    def batch(self, step_rows: Sequence[tuple[str, Integers]]) -> tuple[TokenBatch, list[Tensor]]:
        spans: list[Span] = []
        parts: list[Any] = []
        for task, rows in step_rows:
            before, token = len(parts), sum(map(len, parts))
            for row in rows.tolist():
                parts += [self.ids[task][row], *([self.others[task][row]] if task in self.pairs else [])]
            spans.append(Span(task, len(rows), slice(before, len(parts)),
                              slice(token, sum(map(len, parts)))))
        ids = torch.from_numpy(np.concatenate(parts))
        return (TokenBatch(ids, torch.zeros_like(ids), tuple(map(len, parts)), tuple(spans)),
                [self.targets[task][torch.from_numpy(rows)] for task, rows in step_rows])

    def loss(self, task: str, output: Output, target: Tensor) -> Tensor:
        if task in self.losses:
            return self.losses[task](output, target)
        return super().loss(task, output, target)


def network(pairs: Sequence[str] = (), dropout: float = 0.0) -> MultiTask:
    torch.manual_seed(1)
    encoder = tiny_bert(dropout, hidden_size=12, num_attention_heads=2, intermediate_size=16)
    shared = torch.nn.ModuleDict()
    heads = {task: build_task_head(encoder, Mean() if task in pairs else Pooler(),
                                   BiEncoder() if task in pairs else Single(), Linear(dropout=dropout),
                                   *KINDS[task], shared) for task in ROWS}
    model = MultiTask(encoder, heads, shared)
    randomize(model.task_heads)
    return model


def trainer(processes: Processes, table: Mapping[str, Any], special: bool = False,
            dropout: float = 0.0, rows: Mapping[str, int] = ROWS) -> Trainer:
    """Return a trainer over tiny rows; `special`: one task contrastive, one with class weights."""
    pairs = ["quora"] if special else []
    losses: dict[str, Loss] = {
        "quora": SimCSE(rows="all"), "sst": CrossEntropy(class_weights=(0.3, 1.0, 4.0))} if special else {}
    train = from_table(Train, {**TABLE, **table}, "")
    return Trainer(network(pairs, dropout), Rows(rows, losses, pairs), train, 7,
                   lambda: Score(0.5, {"sst": 0.5}), lambda where: None, processes=processes)


def weights(trained: Trainer) -> dict[str, Tensor]:
    """Return what a training has made: weights, averages, what the weighting learned."""
    made = {name: p.detach().clone() for name, p in trained.model.named_parameters()}
    made |= {f"weighting.{name}": value.detach().clone()
             for name, value in trained.weighting.named_parameters()}
    return made | {f"average.{number}": value.clone()
                   for number, value in enumerate(trained.ema.averages if trained.ema else ())}


def trained(processes: Processes, table: Mapping[str, Any], special: bool = False,
            rows: Mapping[str, int] = ROWS) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Train to the end; return the weights, and the events without their times."""
    made = trainer(processes, table, special, rows=rows)
    events = [{key: value for key, value in event.items() if key != "seconds"} for event in made.run()]
    return weights(made), events


def alone(table: Mapping[str, Any], special: bool = False,
          rows: Mapping[str, int] = ROWS) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Do the same in one process."""
    return trained(ALONE, table, special, rows)
