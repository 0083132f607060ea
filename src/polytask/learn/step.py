"""The gradients of one update: forward, objectives, weighting, surgery, regularizers.

Without surgery the tasks of a step share one forward and one backward. With it (or where a task's
own gradient is asked for) each task has its own, which costs what the joint pass costs. The
weighting acts on numbers: with losses l and weighted losses f(l), the gradient of task t is
a_t g_t, where g_t is the gradient of the plain loss and a_t = df/dl_t, so a task's backward need not
wait for the other tasks' losses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from polytask.learn.conflict import Gradient, RowGradient, cosines, gramian, recombine
from polytask.learn.draws import Draw, Draws, Load, Material, Part, counted, parts
from polytask.learn.gradients import Gradients, operated, trained_by_several
from polytask.learn.moment import Moment, repeat
from polytask.learn.penalty import Attached
from polytask.learn.state import random_state
from polytask.learn.surgery import Surgery
from polytask.learn.weightings import WeightingModule
from polytask.model.batch import TokenBatch
from polytask.model.multitask import MultiTask
from polytask.model.output import Output


@dataclass
class Record:
    """What one update saw: for the events, and for what learns from losses."""

    losses: dict[str, float] = field(default_factory=dict)
    penalties: dict[str, float] = field(default_factory=dict)
    cosines: dict[str, float] = field(default_factory=dict)
    norm: float | None = None
    tokens: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    raw: dict[str, Tensor] = field(default_factory=dict)


class Step:
    """Fills the gradients of all trainable parameters for the draws of one update."""

    def __init__(
        self,
        model: MultiTask,
        material: Material,
        weighting: WeightingModule,
        surgery: Surgery | None = None,
        regularizers: Sequence[Attached] = (),
        accumulate: int = 1,
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
        pooled: Mapping[str, Tensor] | None = None,
        scales: Mapping[str, Mapping[nn.Parameter, float]] | None = None,
        generator: torch.Generator | None = None,
        tasks: Sequence[str] | None = None,
        clip: float | None = None,
    ) -> None:
        self.model, self.material, self.weighting = model, material, weighting
        self.surgery, self.accumulate, self.pooled = surgery, accumulate, pooled
        self.autocast, self.clip = autocast, clip
        self.scales = scales or {}
        self.generator = generator or torch.Generator().manual_seed(0)
        self.task_penalties = [each for each in regularizers if each.scope == "task"]
        self.step_penalties = [each for each in regularizers if each.scope == "step"]
        self.shared = trained_by_several(model, tasks or list(material.rows))
        self._shared_ids = {id(p) for p in self.shared}
        self.gradients = Gradients([model, weighting])
        self._operated = operated(surgery, model, self.shared)
        self.device = next(model.parameters()).device

    def __call__(self, draws: Draws, number: int, want_cosines: bool = False) -> Record:
        """Compute the gradients of one update; `number` counts updates from 0."""
        record = Record(rows=counted(draws))
        operate = self.surgery is not None and number % self.surgery.every == 0
        several = len(record.rows) > 1
        # Parts of an accumulated step add up only where the weighting is affine in the losses.
        whole = self.accumulate > 1 and not self.weighting.affine
        apart = whole or (several and (operate or want_cosines or bool(self.scales)))
        groups = {task: [draw for draw in draws if draw.task == task] for task in record.rows}
        work = {task: self._work(own) for task, own in (groups if apart else {"": draws}).items()}
        try:
            self.gradients.narrow(load.batch.ids for own in work.values() for part in own for load in part)
            if apart:
                self._task_by_task(work, record, operate)
            else:
                self._jointly(work[""], record)
            for each in self.step_penalties:  # once an update, and no task of the surgery
                penalty = each.weight * each.module.penalty(self._moment(None))
                _backward(penalty)
                record.penalties[each.name] = float(penalty.detach())
            if self.clip is not None:
                record.norm = self.gradients.clip(self.clip)
        finally:
            self.gradients.settle()
        return record

    def _work(self, draws: Draws) -> list[Part]:
        """Return the parts that the draws are cut into, each with the batches of its passes."""
        return [self._loads(part) for part in parts(draws, self.accumulate)]

    def _loads(self, draws: Draws) -> Part:
        perturbed = {draw.task for draw in draws if self._perturbs(draw.task)}
        groups = [[draw for draw in draws if draw.task not in perturbed]]
        groups += [[draw] for draw in draws if draw.task in perturbed]
        made = []
        for group in filter(None, groups):
            batch, targets = self.material.batch([(draw.task, draw.rows) for draw in group])
            made.append(Load(group, batch.to(self.device), targets))
        return made

    # ---- one pass for all tasks

    def _jointly(self, work: Sequence[Part], record: Record) -> None:
        for part in work:
            losses = self._losses(part, record)
            # The weighting is affine in the losses: f(M l / n) / M summed over the M parts is f(l).
            scaled = {task: loss * len(work) for task, loss in losses.items()}
            weighted = self.weighting(scaled)
            _backward(_summed(weighted) / len(work))
        self._note(record)
        if self.scales and len(record.rows) == 1:
            self._scale(next(iter(record.rows)))

    # ---- a pass for each task

    def _task_by_task(self, work: Mapping[str, Sequence[Part]], record: Record, operate: bool) -> None:
        tasks = list(work)
        gradients: list[list[Gradient]] = []
        private: dict[str, list[Tensor]] = {}
        seen: set[int] = set(self._shared_ids)
        for task, own_work in work.items():
            for part in own_work:
                _backward(_summed(self._losses(part, record)))
            own = [p for p in self.gradients if id(p) not in seen]
            seen.update(id(p) for p in own)
            private[task] = [held for p in own for held in self.gradients.of(p)]
            self._scale(task)
            gradients.append([self.gradients.take(p) for p in self.shared])
        self._note(record)
        factors = self._factors(record)
        for task, factor in zip(tasks, factors.tolist(), strict=True):
            for held in private[task]:
                held.mul_(factor)
        self._combine(tasks, gradients, factors, record, operate)

    def _factors(self, record: Record) -> Tensor:
        """Return a_t = df/dl_t, and leave the weighting's own gradients behind."""
        leaves = {task: loss.detach().float().requires_grad_() for task, loss in record.raw.items()}
        weighted = self.weighting(leaves)
        _backward(_summed(weighted))
        return torch.stack([torch.zeros(()) if x.grad is None else x.grad.cpu() for x in leaves.values()])

    def _combine(self, tasks: list[str], gradients: list[list[Gradient]], factors: Tensor,
                 record: Record, operate: bool) -> None:
        inner = gramian([[g[i] for i in self._operated] for g in gradients])
        record.cosines = _pairs(tasks, cosines(inner))
        weights = factors
        combined: list[Gradient] | None = None
        if operate and self.surgery is not None:
            if self.surgery.uses_gramian:
                scaled = factors[:, None].double() * inner * factors[None, :].double()
                weights = factors * self.surgery.weights(scaled, self.generator).to(factors)
            else:
                combined = self._through_matrix(gradients, factors)
        operated = set(self._operated)
        chosen = [[g if i in operated else None for i, g in enumerate(each)] for each in gradients]
        others = [[None if i in operated else g for i, g in enumerate(each)] for each in gradients]
        if combined is None:
            combined = recombine(weights, chosen)
        rest = recombine(factors, others) if len(operated) < len(self.shared) else []
        for index, p in enumerate(self.shared):
            self.gradients.put(p, combined[index] if index in operated else rest[index])

    def _through_matrix(self, gradients: list[list[Gradient]], factors: Tensor) -> list[Gradient]:
        """Combine by a rule that needs the gradients themselves: (T, P) -> (P,)."""
        assert self.surgery is not None
        shapes = [self.shared[i] for i in self._operated]
        rows = [a * torch.cat([_dense(g[i], p).flatten()
                               for i, p in zip(self._operated, shapes, strict=True)])
                for g, a in zip(gradients, factors.tolist(), strict=True)]
        flat = self.surgery.combine(torch.stack(rows), self.generator)
        pieces = torch.split(flat, [p.numel() for p in shapes])
        made: list[Gradient] = [None] * len(self.shared)
        for index, p, piece in zip(self._operated, shapes, pieces, strict=True):
            made[index] = piece.view_as(p)
        return made

    # ---- losses

    @torch.no_grad()
    def losses_again(self, draws: Draws) -> dict[str, Tensor]:
        """Return the losses of the same rows under the weights as they are now."""
        return self._losses(self._loads(draws), Record())

    def _losses(self, part: Part, record: Record) -> dict[str, Tensor]:
        """Return the loss of each task: its draws' objectives summed, and its own penalties."""
        losses: dict[str, Tensor] = {}
        for load in part:
            for task, loss in self._forward(load, record):
                losses[task] = losses[task] + loss if task in losses else loss
        for task, loss in losses.items():
            value = loss.detach()
            record.raw[task] = record.raw[task] + value if task in record.raw else value
        return losses

    def _forward(self, load: Load, record: Record) -> list[tuple[str, Tensor]]:
        group, batch = load.draws, load.batch
        record.tokens += batch.num_tokens
        with self.autocast():
            outputs, embeddings, before = self._outputs(group, batch)
        made = []
        for draw, output, target, span in zip(group, outputs, load.targets, batch.spans, strict=True):
            task, target = draw.task, target.to(self.device)
            loss = self.material.loss(task, output, target)
            for each in self.task_penalties:
                if each.acts_on(task):
                    moment = self._moment(task, batch.narrow(span) if len(group) > 1 else batch,
                                          embeddings, output, target, before)
                    penalty = each.weight * each.module.penalty(moment)
                    key = f"{each.name}/{task}"
                    value = draw.share * float(penalty.detach())
                    record.penalties[key] = record.penalties.get(key, 0.0) + value
                    loss = loss + penalty
            made.append((task, loss if draw.share == 1.0 else loss * draw.share))
        return made

    def _outputs(self, group: Draws, batch: TokenBatch) -> tuple[Sequence[Output], Tensor | None, Any]:
        if self.pooled is not None:
            made = [self.model.from_pooled(draw.task, self._cached(draw)) for draw in group]
            return made, None, None
        if not self._perturbs(group[0].task):
            return self.model(batch), None, None
        before = random_state()
        embeddings = self.model.encoder.embed(batch)
        return self.model(batch, embeddings), embeddings, before

    def _perturbs(self, task: str) -> bool:
        return any(each.perturbs and each.acts_on(task) for each in self.task_penalties)

    def _cached(self, draw: Draw) -> Tensor:
        assert self.pooled is not None
        vectors = self.pooled[draw.task]  # (rows, sequences, width)
        return vectors[torch.from_numpy(draw.rows)].flatten(0, 1).to(self.device)

    def _moment(self, task: str | None, batch: TokenBatch | None = None, embeddings: Tensor | None = None,
                output: Output | None = None, target: Tensor | None = None, before: Any = None) -> Moment:
        again = None if batch is None or before is None else repeat(
            self.model, batch, before, self.autocast)
        return Moment(task=task, labels=self.material.labels[task] if task else None, batch=batch,
                      embeddings=embeddings, output=output, target=target, forward=again,
                      model=self.model)

    # ---- small things

    def _note(self, record: Record) -> None:
        values = torch.stack([loss.float() for loss in record.raw.values()]).tolist()
        record.losses = dict(zip(record.raw, values, strict=True))

    def _scale(self, task: str) -> None:
        """Apply the task's own layer rates to the shared gradients that it has just given."""
        factors = self.scales.get(task, {})
        for p in self.shared:
            if factors.get(p, 1.0) != 1.0:
                for held in self.gradients.of(p):
                    held.mul_(factors[p])


def _dense(gradient: Gradient, like: Tensor) -> Tensor:
    if gradient is None:
        return torch.zeros_like(like)
    return gradient.dense() if isinstance(gradient, RowGradient) else gradient


def _summed(losses: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([loss.float() for loss in losses.values()]).sum()


def _backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]


def _pairs(tasks: Sequence[str], matrix: Tensor) -> dict[str, float]:
    """Return the entries above the diagonal as {"a/b": value}."""
    values = matrix.tolist()
    return {f"{a}/{b}": values[i][j] for i, a in enumerate(tasks)
            for j, b in enumerate(tasks) if i < j}
