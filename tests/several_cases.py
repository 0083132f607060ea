"""What tests of several processes run in each of them, and alone for comparison."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from networks import KINDS, TinyRows, randomize, tiny_bert
from polytask.core.errors import PeerLost, RunError
from polytask.core.processes import ALONE, Processes
from polytask.core.settings import from_table
from polytask.data.batch import Span, TokenBatch
from polytask.data.tables import Integers
from polytask.learn import heartbeat, torch_processes
from polytask.learn.checkpoint import load_checkpoint, save_checkpoint
from polytask.learn.layer_shards import gathered, local, shard
from polytask.learn.microbatch import TaskRows
from polytask.learn.train_settings import Train
from polytask.learn.trainer import Score, Trainer
from polytask.losses.contract import Loss, share_of
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
# Adam divides by the size of a gradient: where that is zero but for rounding (keys' biases), a small
# epsilon makes a step of the rounding.
TABLE: dict[str, Any] = {"batch_size": 9, "epochs": 12, "max_steps": 12,
         "optimizer": {"lr": 2e-3, "warmup": 0.1, "options": {"eps": 1e-4}}}


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

    def loss(self, task_rows: TaskRows, output: Output, target: Tensor) -> Tensor:
        if (loss := self.losses.get(task_rows.task)) is None:
            return super().loss(task_rows, output, target)
        draw = task_rows.rows if task_rows.draw is None else task_rows.draw
        return loss(output, target) * share_of(loss, target, self.targets[task_rows.task][draw])


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
    model = network(pairs, dropout)
    if train.parallel == "shard" and processes.world > 1:
        shard(model, processes)
    return Trainer(model, Rows(rows, losses, pairs), train, 7,
                   lambda: Score(0.5, {"sst": 0.5}), lambda where: None, processes=processes)


def weights(trained: Trainer) -> dict[str, Tensor]:
    """Return what a training has made: weights, averages, what the weighting learned."""
    made = {name: gathered(p.detach().clone()) for name, p in trained.model.named_parameters()}
    made |= {f"weighting.{name}": value.detach().clone()
             for name, value in trained.weighting.named_parameters()}
    return made | {f"average.{number}": gathered(value).clone()
                   for number, value in enumerate(trained.ema.state() if trained.ema else ())}


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


# ---- stopping and resuming


def until(processes: Processes, table: Mapping[str, Any], updates: int, folder: str,
          dropout: float = 0.0) -> None:
    """Train for some updates and save."""
    begun = trainer(processes, table, dropout=dropout)
    for event in begun.run():
        if event["event"] == "step" and begun.at.total == updates:
            break
    state = begun.state()
    if processes.writes:
        save_checkpoint(folder, state)
    processes.barrier()


def resumed(processes: Processes, table: Mapping[str, Any], folder: str,
            dropout: float = 0.0) -> dict[str, Tensor]:
    """Go on from what was saved, to the end."""
    going_on = trainer(processes, table, dropout=dropout)
    going_on.load(load_checkpoint(folder))
    for _ in going_on.run():
        pass
    return weights(going_on)


# ---- what processes say to one another


def disagreement(processes: Processes, tables: Sequence[dict[str, Any]]) -> str:
    try:
        processes.refuse_differences("the config", tables[processes.rank])
    except RunError as error:
        return str(error)
    return ""


def unshared(processes: Processes, files: Sequence[str]) -> str:
    torch_processes.SHARED_SECONDS = 0.3
    try:
        processes.refuse_unshared(Path(files[processes.rank]))
    except RunError as error:
        return str(error)
    return ""


def in_turn(processes: Processes, file: str) -> bool:
    """Return whether the file was there when it was this process's turn."""
    with processes.one_first():
        there = Path(file).is_file()
        Path(file).touch()
    return there


def losing(processes: Processes, rank: int) -> str:
    """Let one process die; return what the others hear."""
    if processes.rank == rank:
        os._exit(9)
    began = time.monotonic()
    try:
        processes.sum_([torch.ones(10)])
    except PeerLost as error:
        return f"{error} after {time.monotonic() - began:.0f} s"
    return "nothing"


def falling_silent(processes: Processes, rank: int, errors: str) -> None:
    """Stop one process, its connections open, while the others wait for it; they say so in a file.

    Their standard error is that of whatever test came first: the server that forks them was started in it.
    """
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    assert isinstance(processes, torch_processes.TorchProcesses)
    processes._store = dist.distributed_c10d._get_default_store()
    heartbeat.BEAT_SECONDS, heartbeat.SILENT_SECONDS = 0.1, 1.0
    processes.watch()
    processes.barrier()
    if processes.rank == rank:
        os.kill(os.getpid(), signal.SIGSTOP)
    processes.sum_([torch.ones(10)])


def exchanged(processes: Processes) -> dict[str, Any]:
    rank, world = processes.rank, processes.world
    value = torch.tensor(float(rank + 1), requires_grad=True)
    total = processes.total(value)
    total.backward()  # type: ignore[no-untyped-call]
    whole = torch.arange(15.0).view(5, 3)
    own = whole[list(processes.share(5))].requires_grad_()
    few = torch.full((1, 2), float(rank), requires_grad=True)  # of two rows, when there are more processes
    first, second = processes.whole([own, few], [5, min(2, world)])
    (first.square().sum() + second.sum()).backward()
    return {"total": float(total.detach()), "slope": value.grad, "whole": first.detach(),
            "own": torch.equal(own.grad, 2 * own.detach()) if own.grad is not None else None,
            "few": second.detach(), "few_slope": few.grad, "any": processes.any(rank == world - 1),
            "none": processes.any(False), "agreed": processes.agreed({"rank": rank, "π": 0.1}),
            "parts": [len(part) for part in processes.gather(torch.zeros(rank, 2))]}


def held_weights(processes: Processes) -> int:
    """Return how many weights of the layers this process holds."""
    model = network()
    if processes.world > 1:
        shard(model, processes)
    return sum(local(p).numel() for p in model.encoder.layers.parameters())


def whole_run(processes: Processes, table: dict[str, Any], out: str, resume: bool = False) -> str:
    """Train a run in a folder, as the command does; return what it prints, or why it stops."""
    from polytask.commands.train import train
    from polytask.config import Run

    try:
        return str(train(Run.from_table(table), out, resume, quiet=True))
    except PeerLost as error:
        return str(error)


def command(processes: Processes, config: str, out: str, resume: bool = False) -> str:
    """Train a config file, as the command does; return what it prints, or why it stops."""
    from polytask.commands.train import train_config

    try:
        return str(train_config(Path(config), Path(out), resume=resume, quiet=True))
    except PeerLost as error:
        return str(error)


def on_machines(processes: Processes, table: dict[str, Any], disks: Sequence[str]) -> str:
    """Begin a run with the files of this process's own disk; return what is refused."""
    from polytask.config import Run
    from polytask.training.build import build
    from polytask.training.data_summary import agreed_summary

    before = Path.cwd()
    os.chdir(disks[processes.rank])
    try:
        agreed_summary(build(Run.from_table(table), True, processes), processes)
    except RunError as error:
        return str(error)
    finally:
        os.chdir(before)
    return ""
