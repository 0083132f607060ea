"""A trainer over tiny rows, and a record of what it did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from networks import TinyRows, randomize, tiny_model
from polytask.core.settings import from_table
from polytask.learn.train_settings import Train
from polytask.learn.trainer import Score, Trainer
from polytask.model.multitask import MultiTask

ROWS = {"sst": 20, "quora": 12, "sts": 8}


def network() -> MultiTask:
    torch.manual_seed(1)
    model = tiny_model(dropout=0.1)
    randomize(model.task_heads)
    return model


class Bench:
    """A trainer over tiny rows, with evaluations from a list and a record of what was kept."""

    def __init__(self, table: dict[str, Any], scores: list[float] | None = None,
                 rows: TinyRows | None = None, model: MultiTask | None = None,
                 own: Callable[[], dict[str, float]] = dict) -> None:
        train = from_table(Train, {"batch_size": 4, "optimizer": {"lr": 1e-3, "warmup": 0.0}} | table, "")
        self.model, self.kept, self.given = model or network(), [], list(scores or [])
        self.evaluated_in: list[bool] = []
        self.own = own
        self.trainer = Trainer(self.model, rows or TinyRows(ROWS), train, 7, self.evaluate,
                               self.kept.append)

    def evaluate(self) -> Score:
        self.evaluated_in.append(self.model.training)
        value = self.given.pop(0) if self.given else 0.5
        return Score(value, self.own() or {"sst": value}, {"overall": value})

    def run(self, steps: int | None = None) -> list[dict[str, Any]]:
        """Run to the end, or until `steps` updates are done."""
        events = []
        for event in self.trainer.run():
            events.append(event)
            if steps is not None and self.trainer.at.total >= steps and event["event"] == "step":
                break
        return events

    def saved(self) -> list[dict[str, Any]]:
        """Run to the end, and save whenever it is asked for."""
        return [self.trainer.state() for event in self.trainer.run() if event["event"] == "save"]

    def weights(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self.model.named_parameters()}


def named(events: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == name]


def alpha_beta(alpha: float, beta: float) -> dict[str, Any]:
    """Layer 0 is sst's best and layer 1 sts's; all else has alpha (triple-threat §4.5)."""
    return {"sst": {"other": alpha, "embeddings": 1.0, "0": beta},
            "quora": {"other": alpha, "embeddings": 1.0},
            "sts": {"other": alpha, "embeddings": 1.0, "1": beta}}
