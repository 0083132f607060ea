"""The gradients of one update: forward, losses, weighting, surgery, regularizers.

Without surgery the tasks of a step share one forward and one backward (G-2, G-23). With it (or where a
task's own gradient is asked for) each task has its own, which costs what the joint pass costs. The
weighting acts on numbers: with losses l and weighted losses f(l), the gradient of task t is a_t g_t,
where g_t is the gradient of the plain loss and a_t = df/dl_t, so a task's backward need not wait for
the other tasks' losses.

Where several processes share an update, each computes its share of the rows of every draw. The heads'
outputs are gathered, so a loss is that of the whole draw, whatever function of its rows it is (a
mean, a weighted mean, a sum over pairs). It is the same number everywhere; its gradient is that of the
process's own rows, so gradients are summed over the processes: once per update, or under surgery each
task's before the Gramian.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from polytask.core.processes import ALONE, Processes
from polytask.data.batch import on_device
from polytask.data.tables import Integers
from polytask.learn.checkpoint import random_state
from polytask.learn.gradient_combiner import GradientCombiner
from polytask.learn.gradients import Gradients, trained_by_several
from polytask.learn.gramian import Gradient, cosines, values_of
from polytask.learn.layer_shards import is_shard
from polytask.learn.microbatch import Chunk, Microbatch, TaskRows, TrainingRows, chunks, count_by_task
from polytask.learn.randomness import Randomness
from polytask.learn.regularizers.context import RegularizerContext, repeat
from polytask.learn.regularizers.contract import Attached
from polytask.learn.surgery.contract import GradientRule
from polytask.learn.weightings.contract import WeightingModule
from polytask.model.multitask import MultiTask
from polytask.model.output import Output
from polytask.model.precision import exact_products
from polytask.model.trainable import relative_rate

Passed = tuple[Sequence[Output], Tensor | None, Any]
"""The outputs of a pass; where a penalty perturbs it, its word embeddings and the random state before."""


@dataclass
class StepRecord:
    """What one update measured, for the events and for weightings that learn from losses."""

    losses: dict[str, float] = field(default_factory=dict)
    penalties: dict[str, float] = field(default_factory=dict)
    cosines: dict[str, float] = field(default_factory=dict)
    norm: float = 0.0  # of the whole gradient, before clipping; not finite where an entry is not
    tokens: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    raw: dict[str, Tensor] = field(default_factory=dict)
    unread: dict[str, Tensor] = field(default_factory=dict)
    """The penalties, on the device."""

    def penalize(self, name: str, penalty: Tensor, share: float = 1.0) -> None:
        """Add a penalty's value, without waiting for the device."""
        value = penalty.detach().double() * share
        self.unread[name] = self.unread[name] + value if name in self.unread else value

    def read(self, norm: Tensor) -> None:
        """Read the losses, the penalties and the gradient's norm: an update's one wait for the device."""
        values = [*(loss.float() for loss in self.raw.values()), *self.unread.values()]
        numbers = torch.stack([norm.double().to(values[0].device), *(v.double() for v in values)]).tolist()
        self.norm, read = numbers[0], iter(numbers[1:])
        self.losses = dict(zip(self.raw, read, strict=False))
        self.penalties = dict(zip(self.unread, read, strict=True))


class Step:
    """Fills the gradients of all trainable parameters for the draws of one update."""

    def __init__(
        self,
        model: MultiTask,
        training_set: TrainingRows,
        weighting: WeightingModule,
        surgery: GradientRule | None = None,
        regularizers: Sequence[Attached] = (),
        accumulate: int = 1,
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
        pooled: Mapping[str, Tensor] | None = None,
        task_rates: Mapping[nn.Parameter, Mapping[str, float]] | None = None,
        generator: torch.Generator | None = None,
        tasks: Sequence[str] | None = None,
        clip: float | None = None,
        processes: Processes = ALONE,
        randomness: Randomness | None = None,
    ) -> None:
        self.model, self.training_set, self.weighting = model, training_set, weighting
        self.device = next(model.parameters()).device
        self.processes, self.randomness = processes, randomness or Randomness(processes, 0, self.device)
        self.surgery, self.accumulate, self.pooled = surgery, accumulate, pooled
        self.autocast, self.clip = autocast, clip
        self.task_rates, self.total = task_rates or {}, 0
        self.task_penalties = [penalty for penalty in regularizers if penalty.scope == "task"]
        self.step_penalties = [penalty for penalty in regularizers if penalty.scope == "step"]
        self.shared = trained_by_several(model, tasks or list(training_set.rows))
        self._shared_ids = {id(p) for p in self.shared}
        self.gradients, self.model_gradients = Gradients([model, weighting]), Gradients([model])
        self.combiner = GradientCombiner(surgery, model, self.shared, processes,
                                         generator or torch.Generator().manual_seed(0))

    def __call__(self, step_rows: list[TaskRows], number: int, want_cosines: bool = False,
                 total: int | None = None) -> StepRecord:
        """Compute the gradients of one update.

        `number` counts the updates of the phase from 0, `total` those of the training (absent: the same),
        by which a weighting draws: so two phases draw different numbers.
        """
        self.total, record = number if total is None else total, StepRecord(rows=count_by_task(step_rows))
        operate = self.surgery is not None and number % self.surgery.every == 0
        several = len(record.rows) > 1
        # Parts of an accumulated step add up only where the weighting is affine in the losses.
        whole = self.accumulate > 1 and not self.weighting.affine
        apart = whole or (several and (operate or want_cosines or bool(self.task_rates)))
        groups = {task: [rows for rows in step_rows if rows.task == task] for task in record.rows}
        work = {task: self._work(own) for task, own in (groups if apart else {"": step_rows}).items()}
        try:
            self.gradients.narrow(microbatch.ids for own in work.values()
                                  for chunk in own for microbatch in chunk)
            if apart:
                self._task_by_task(work, record, operate)
            else:
                self._jointly(work[""], record)
            for each in self.step_penalties:  # once an update, and no task of the surgery
                penalty = each.weight * each.module.penalty(RegularizerContext(model=self.model))
                _backward(penalty)
                record.penalize(each.name, penalty)
            norm = self.gradients.norm(self.processes)
            if self.clip is not None:
                self.gradients.clip(self.clip, norm)
            record.read(norm)
        finally:
            self.gradients.settle()
        return record

    def _work(self, step_rows: list[TaskRows]) -> list[Chunk]:
        """Return the chunks that the draws are cut into, each with the batches of its passes."""
        return [self._microbatches(chunk) for chunk in chunks(step_rows, self.accumulate)]

    def _microbatches(self, step_rows: list[TaskRows]) -> Chunk:
        perturbed = {task_rows.task for task_rows in step_rows if self._perturbs(task_rows.task)}
        groups = [[task_rows for task_rows in step_rows if task_rows.task not in perturbed]]
        groups += [[task_rows] for task_rows in step_rows if task_rows.task in perturbed]
        microbatches = []
        for group in filter(None, groups):
            batch, targets = self.training_set.batch([(part.task, part.rows) for part in group])
            microbatches.append(Microbatch.shared(group, batch, targets, self.processes, self.device))
        return microbatches

    # ---- one pass for all tasks

    def _jointly(self, work: Sequence[Chunk], record: StepRecord) -> None:
        for chunk in work:
            losses = self._losses(chunk, record)
            # The weighting is affine in the losses: f(M l / n) / M summed over the M chunks is f(l). A
            # task without rows in this chunk takes part with a loss of 0, or its constant would be cut.
            scaled = {task: loss * len(work) for task, loss in losses.items()}
            scaled |= {task: torch.zeros((), device=self.device) for task in record.rows
                       if task not in losses}
            _backward(_summed(self._weighted(scaled)) / len(work))
        self.processes.sum_(self.model_gradients.unsummed())

    # ---- a pass for each task

    def _task_by_task(self, work: Mapping[str, Sequence[Chunk]], record: StepRecord, operate: bool) -> None:
        tasks = list(work)
        gradients: list[list[Gradient]] = []
        private: dict[str, list[Tensor]] = {}
        seen: set[int] = set(self._shared_ids)
        for task, own_work in work.items():
            for chunk in own_work:
                _backward(_summed(self._losses(chunk, record)))
            own = [p for p in self.gradients if id(p) not in seen]
            seen.update(id(p) for p in own)
            private[task] = [gradient for p in own for gradient in self.gradients.of(p)]
            self._scale(task, tasks)
            gradients.append([self.gradients.take(p) for p in self.shared])
        whole = [[g for g, p in zip(row, self.shared, strict=True) if not is_shard(p)] for row in gradients]
        self.processes.sum_([*values_of(whole), *self.model_gradients.unsummed()])
        combined = self.combiner(gradients, self._factors(record), operate, list(private.values()))
        record.cosines = _pairs(tasks, cosines(combined.inner))
        for p, gradient in zip(self.shared, combined.gradients, strict=True):
            self.gradients.put(p, gradient)
        for task, factor in zip(tasks, combined.factors.tolist(), strict=True):
            for gradient in private[task]:
                gradient.mul_(factor)

    def _factors(self, record: StepRecord) -> Tensor:
        """Return a_t = df/dl_t, and leave the weighting's own gradients behind."""
        leaves = {task: loss.detach().float().requires_grad_() for task, loss in record.raw.items()}
        _backward(_summed(self._weighted(leaves)))
        return torch.stack([torch.zeros(()) if x.grad is None else x.grad.cpu() for x in leaves.values()])

    def _weighted(self, losses: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        with self.randomness.alike(self.total):
            return self.weighting(losses)  # type: ignore[no-any-return]

    # ---- losses

    @torch.no_grad()
    def losses_again(self, step_rows: list[TaskRows]) -> dict[str, Tensor]:
        """Return the losses of the same rows under the weights as they are now."""
        return self._losses(self._microbatches(step_rows), StepRecord())

    def _losses(self, chunk: Chunk, record: StepRecord) -> dict[str, Tensor]:
        """Return the loss of each task: its draws' losses summed, and its own penalties."""
        losses: dict[str, Tensor] = {}
        for microbatch in chunk:
            for task, loss in self._forward(microbatch, record):
                losses[task] = losses[task] + loss if task in losses else loss
        for task, loss in losses.items():
            value = loss.detach()
            record.raw[task] = record.raw[task] + value if task in record.raw else value
        return losses

    def _forward(self, microbatch: Microbatch, record: StepRecord) -> list[tuple[str, Tensor]]:
        record.tokens += len(microbatch.ids)
        if self._perturbs(microbatch.step_rows[0].task):
            with exact_products(self.device.type):  # rounding would hide what small noise changes
                return self._losses_of(microbatch, record)
        with self.autocast():
            passed = self._outputs(microbatch)
        return self._losses_of(microbatch, record, passed)

    def _losses_of(self, microbatch: Microbatch, record: StepRecord,
                   passed: Passed | None = None) -> list[tuple[str, Tensor]]:
        group, losses = microbatch.step_rows, []
        outputs, embeddings, before = passed or self._outputs(microbatch)
        for number, (task_rows, output, whole, target) in enumerate(zip(
                group, outputs, self._whole(outputs, group), microbatch.targets, strict=True)):
            task, target = task_rows.task, on_device(target, self.device)
            loss = self.training_set.loss(task_rows, whole, target)
            for each in self.task_penalties:
                if each.acts_on(task):
                    context = self._context(microbatch, number, embeddings, output, target, before)
                    own = each.weight * each.module.penalty(context)
                    penalty = self.processes.total(own * microbatch.parts[number])
                    record.penalize(f"{each.name}/{task}", penalty, task_rows.share)
                    loss = loss + (penalty if task_rows.draw is None else penalty * task_rows.share)
            losses.append((task, loss))
        return losses

    def _outputs(self, microbatch: Microbatch) -> Passed:
        group, batch = microbatch.step_rows, microbatch.batch
        if self.pooled is not None:
            outputs = [self.model.from_pooled(draw.task, self._cached(draw.task, draw.rows[own]))
                       for draw, own in zip(group, microbatch.mine, strict=True)]
            return outputs, None, None
        if not self._perturbs(group[0].task):
            return self.model(batch), None, None
        before = random_state()
        embeddings = self.model.encoder.embed(batch)
        return self.model(batch, embeddings), embeddings, before

    def _whole(self, outputs: Sequence[Output], group: Sequence[TaskRows]) -> list[Output]:
        """Return the outputs of whole draws, of which this process has computed its rows."""
        places = [(number, name, value) for number, output in enumerate(outputs)
                  for name, value in output.filled().items()]
        gathered = self.processes.whole([value for _, _, value in places],
                                        [len(group[number].rows) for number, _, _ in places])
        whole = [Output() for _ in outputs]
        for (number, name, _), value in zip(places, gathered, strict=True):
            whole[number] = whole[number].with_values(name, value)
        return whole

    def _perturbs(self, task: str) -> bool:
        return any(penalty.perturbs and penalty.acts_on(task) for penalty in self.task_penalties)

    def _cached(self, task: str, rows: Integers) -> Tensor:
        assert self.pooled is not None
        vectors = self.pooled[task]  # (rows, sequences, width)
        return vectors[torch.from_numpy(rows)].flatten(0, 1).to(self.device)

    def _context(self, microbatch: Microbatch, number: int, embeddings: Tensor | None, output: Output,
                 target: Tensor, before: Any) -> RegularizerContext:
        """Return what a penalty sees: this process's rows of draw `number` of a microbatch."""
        task_rows, batch = microbatch.step_rows[number], microbatch.batch
        if len(microbatch.step_rows) > 1:
            batch = batch.narrow(batch.spans[number])
        part = microbatch.parts[number]
        return RegularizerContext(
            task=task_rows.task, labels=self.training_set.labels[task_rows.task], batch=batch,
            embeddings=embeddings, output=output,
            target=target if part == 1.0 else target[microbatch.mine[number]],
            forward=None if before is None else repeat(self.model, batch, before),
            normal=lambda like: self.randomness.normal(like, len(microbatch.ids), microbatch.tokens),
            model=self.model, share=task_rows.share * (part or 1.0))

    # ---- details

    def _scale(self, task: str, tasks: Sequence[str]) -> None:
        """Scale a task's gradients by its own layer rates, relative to those of the step's other tasks."""
        for p, rates in self.task_rates.items():
            if (factor := relative_rate(rates, task, tasks)) != 1.0:
                for gradient in self.gradients.of(p):
                    gradient.mul_(factor)


def _summed(losses: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([loss.float() for loss in losses.values()]).sum()


def _backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]


def _pairs(tasks: Sequence[str], matrix: Tensor) -> dict[str, float]:
    """Return the entries above the diagonal as {"a/b": value}."""
    values = matrix.tolist()
    return {f"{a}/{b}": values[i][j] for i, a in enumerate(tasks)
            for j, b in enumerate(tasks) if i < j}
