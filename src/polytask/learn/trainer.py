"""The loop: which rows, one update, what comes between updates. It names no method.

`Trainer.run` is a generator of events. It pauses at every event, and its state between two events is
complete: the consumer may save it at any of them and resume later, exactly.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from polytask.core.events import Event
from polytask.core.processes import ALONE, Processes
from polytask.learn.divergence import check_update, check_weights
from polytask.learn.ema import EMA
from polytask.learn.layer_shards import (
    gathered,
    groups_apart,
    is_shard,
    parted_model,
    parted_optimizer,
)
from polytask.learn.lr_schedule import lr_factor
from polytask.learn.microbatch import TaskRows, TrainingRows
from polytask.learn.optimizers import Optimizer
from polytask.learn.phase_plan import PhasePlan, phases_of
from polytask.learn.position import Position
from polytask.learn.randomness import Randomness
from polytask.learn.regularizers.contract import Attached, attach
from polytask.learn.step import Step, StepRecord
from polytask.learn.train_settings import Train
from polytask.learn.weightings.contract import WeightingModule
from polytask.model.flat_encoder import FlatEncoder
from polytask.model.multitask import MultiTask
from polytask.model.precision import matrix_products, training_autocast
from polytask.model.trainable import mixed_rate, rest

# Seconds between checkpoints where the config does not count steps.
SAVE_SECONDS = 300.0


@dataclass
class Score:
    """The result of an evaluation: one number per task and one overall; higher is better."""

    overall: float
    tasks: dict[str, float]
    event: Event = field(default_factory=dict)


class Trainer:
    """Trains a model on several tasks.

    `evaluate()` scores the model as it stands; `keep(where)` saves it ("model", "best/<task>").
    Both are passed in, so learning knows neither metrics nor folders. `processes` share each update.
    """

    def __init__(self, model: MultiTask, training_set: TrainingRows, train: Train, seed: int,
                 evaluate: Callable[[], Score], keep: Callable[[str], None],
                 pooled: Mapping[str, torch.Tensor] | None = None,
                 processes: Processes = ALONE) -> None:
        self.model, self.training_set, self.seed = model, training_set, seed
        self.evaluate, self.keep, self.pooled = evaluate, keep, pooled
        self.processes = processes
        processes.broadcast_([weight.detach() for weight in model.state_dict().values()
                              if not is_shard(weight)])
        self.randomness = Randomness(processes, seed, next(model.parameters()).device)
        self.resting: list[nn.Parameter] = []
        self.phases = phases_of(train, training_set.rows, seed)
        self.at = Position()
        self.saved_at = time.monotonic()
        self._enter(self.phases[0])

    # ---- building a phase

    def _enter(self, phase: PhasePlan, weighting: WeightingModule | None = None) -> None:
        """Build what a phase trains with: samplers, weighting (unless one continues), optimizer, step."""
        self.phase, self.settings = phase, phase.train
        settings, tasks = phase.train, phase.tasks
        self.samplers = phase.samplers()
        kinds = {task: self.training_set.labels[task].kind for task in tasks}
        device = next(self.model.parameters()).device
        self.weighting: WeightingModule = weighting or settings.weighting.build(tasks, kinds).to(device)
        self.model.precision = settings.precision  # of its evaluations as well
        if isinstance(self.model.encoder, FlatEncoder):
            self.model.encoder.compile_layers(settings.compile)
        self.optimizer = self._optimizer(settings.optimizer, settings.weighting.lr, tasks)
        self.penalties: list[Attached] = [attach(one, self.model) for one in settings.regularizers]
        self.surgery_random = torch.Generator().manual_seed(phase.seed)
        self.surgery = settings.surgery.build(tasks) if settings.surgery else None
        self.ema = EMA(self.model, settings.ema) if settings.ema else None
        self.compute = Step(
            self.model, self.training_set, self.weighting, self.surgery, self.penalties,
            settings.accumulate, partial(training_autocast, device.type, settings.precision), self.pooled,
            self._task_rates(), self.surgery_random,
            tasks=tasks, clip=settings.optimizer.clip, processes=self.processes,
            randomness=self.randomness,
        )

    def _optimizer(self, settings: Optimizer, weighting_lr: float | None,
                   tasks: list[str]) -> torch.optim.Optimizer:
        """Return the optimizer of a phase; learned weights of tasks can have their own rate (S-11)."""
        for parameter in self.resting:
            parameter.requires_grad_()
        groups = settings.groups(self.model, tasks)
        self.resting = rest(self.model, groups)
        if self.settings.parallel == "shard":
            groups = groups_apart(groups)
        if learned := [p for p in self.weighting.parameters() if p.requires_grad]:
            groups.append({"params": learned, "lr": weighting_lr or settings.lr, "weight_decay": 0.0})
        optimizer = settings.build(groups)
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
        return optimizer

    def _task_rates(self) -> dict[nn.Parameter, dict[str, float]]:
        """Return the factors of the tasks' rates, of each parameter for which they differ."""
        return {parameter: group["task_rates"] for group in self.optimizer.param_groups
                if len({*group.get("task_rates", {}).values()}) > 1 for parameter in group["params"]}

    @property
    def num_steps(self) -> int:
        """The updates of all phases."""
        return sum(phase.num_steps for phase in self.phases)

    # ---- the loop

    def run(self) -> Iterator[Event]:
        """Train to the end; yield an event after each step, evaluation and need to save."""
        for number in range(self.at.phase, len(self.phases)):
            if number > self.at.phase:
                self._next_phase(number)
            with matrix_products(self.settings.precision):
                yield from self._phase()
        yield {"event": "save", "why": "end"}
        yield {"event": "end", "step": self.at.total, "seconds": self.at.seconds,
               "tokens": self.at.tokens, "best": self.at.best}

    def _next_phase(self, number: int) -> None:
        kept = Position(phase=number, total=self.at.total, evaluated=self.at.evaluated,
                        best=self.at.best, best_of=self.at.best_of, seconds=self.at.seconds,
                        tokens=self.at.tokens)
        self.at = kept
        before, after, optimizer = self.phase, self.phases[number], self.optimizer
        same = after.train.weighting == before.train.weighting and after.tasks == before.tasks
        self._enter(after, self.weighting if after.train.keep_optimizer and same else None)
        if after.train.keep_optimizer:
            for parameter in (p for group in self.optimizer.param_groups for p in group["params"]):
                if parameter in optimizer.state:
                    self.optimizer.state[parameter] = optimizer.state[parameter]

    def _phase(self) -> Iterator[Event]:
        complete = True
        # A checkpoint may lie between an epoch's last update and its end, which is then still to come.
        while complete and self.at.epoch < self.phase.epochs and not (self.at.index == 0 and self._over()):
            complete = yield from self._epoch()
        yield from self._evaluation(due=self.at.evaluated != self.at.total)

    def _epoch(self) -> Generator[Event, None, bool]:
        """Train the rest of an epoch; return whether it was trained to its end."""
        if self.at.index == 0:
            for sampler in self.samplers.values():
                sampler.start(self.at.epoch)
        for step in itertools.islice(self.phase.plan(self.at.epoch), self.at.index, None):
            yield from self._evaluation(due=self._evaluation_due())
            if self._over():
                return False
            yield self._update(step)
            if self._save_due():
                yield {"event": "save", "why": "time"}
        last = self.at.evaluated != self.at.total
        yield from self._evaluation(due=last and self.settings.evaluate_every is None)
        self.weighting.after_epoch()  # an evaluation that is stopped is made anew, this is done once
        self.at.epoch, self.at.index = self.at.epoch + 1, 0
        yield {"event": "save", "why": "epoch"}
        return True

    def _over(self) -> bool:
        patience = self.settings.early_stopping
        return self.at.step >= self.phase.num_steps or (
            patience is not None and self.at.since_best >= patience)

    def _update(self, step: Mapping[str, list[int]]) -> Event:
        began = time.perf_counter()
        self.model.train()
        step_rows = [TaskRows(task, self.samplers[task].draw(size))
                     for task, sizes in step.items() for size in sizes]
        every = self.settings.gradient_cosines
        record = self.compute(step_rows, self.at.step, bool(every and self.at.step % every == 0),
                              self.at.total)
        check_update(record, self.at.total + 1)
        scale = lr_factor(self.settings.optimizer, self.at.step, self.phase.num_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * scale * mixed_rate(group.get("task_rates", {}), record.rows)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.weighting.after_step(self._losses_after(step_rows) or record.raw)
        for penalty in self.penalties:
            penalty.module.after_step()
        if self.ema:
            self.ema.update()
        self.at.index, self.at.step, self.at.total = (
            self.at.index + 1, self.at.step + 1, self.at.total + 1)
        spent = time.perf_counter() - began
        self.at.seconds, self.at.tokens = self.at.seconds + spent, self.at.tokens + record.tokens
        return self._event(record, scale, spent)

    def _losses_after(self, step_rows: list[TaskRows]) -> Mapping[str, torch.Tensor] | None:
        """Return the losses of an update's rows after it, if the weighting learns from them."""
        if not self.weighting.wants_new_losses:
            return None
        return self.compute.losses_again(step_rows)

    def _event(self, record: StepRecord, scale: float, spent: float) -> Event:
        event: Event = {"event": "step", "step": self.at.total, "phase": self.at.phase,
                        "epoch": self.at.epoch, "losses": record.losses, "rows": record.rows,
                        "lr": self.settings.optimizer.lr * scale, "tokens": record.tokens,
                        "seconds": spent}
        event |= self.weighting.report()
        optional = {"penalties": record.penalties, "cosines": record.cosines,
                    "gradient_norm": record.norm if self.settings.optimizer.clip else None}
        return event | {key: value for key, value in optional.items() if value}

    # ---- between updates

    def _evaluation_due(self) -> bool:
        every = self.settings.evaluate_every
        return bool(every and self.at.step and self.at.step % every == 0
                    and self.at.evaluated != self.at.total)

    def _save_due(self) -> bool:
        if self.settings.save_every:
            return self.at.step % self.settings.save_every == 0
        return self.processes.any(time.monotonic() - self.saved_at > SAVE_SECONDS)

    def _evaluation(self, due: bool) -> Iterator[Event]:
        """Evaluate if it is `due`, and keep the model that has the best score on dev so far (M-36)."""
        if not due:
            return
        check_weights(self.model, self.processes, self.at.total)
        self.model.eval()
        with self.ema.applied() if self.ema else nullcontext():
            # What stops training must be one number everywhere, to its last digit.
            score = Score(**self.processes.agreed(asdict(self.evaluate())))
            self.at.since_best += 1
            if self.at.best is None or score.overall > self.at.best:
                self.at.best, self.at.since_best = score.overall, 0
                self.keep("model")
            for task, value in score.tasks.items():
                if value > self.at.best_of.get(task, float("-inf")):
                    self.at.best_of[task] = value
                    if self.settings.best_per_task:
                        self.keep(f"best/{task}")
        self.at.evaluated = self.at.total
        yield {"event": "evaluation", "step": self.at.total, "phase": self.at.phase,
               "epoch": self.at.epoch, **score.event}

    # ---- state

    def state(self) -> dict[str, Any]:
        """Return everything that the rest of the training depends on; the caller saves it.

        Raises `Diverged` where a weight is not finite: such a state is never saved.
        """
        check_weights(self.model, self.processes, self.at.total)
        self.saved_at = time.monotonic()
        return {
            "position": asdict(self.at), **self.randomness.state(),
            "surgery_random": self.surgery_random.get_state(),
            "model": gathered(self.model.state_dict()), "optimizer": gathered(self.optimizer.state_dict()),
            "weighting": dict(self.weighting.state_dict()),
            "surgery": dict(self.surgery.state_dict()) if self.surgery else {},
            "penalties": [dict(penalty.module.state_dict()) for penalty in self.penalties],
            "samplers": {task: sampler.state() for task, sampler in self.samplers.items()},
            "ema": gathered(self.ema.state()) if self.ema else None,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Return to where `state` was taken."""
        self.at = Position(**state["position"])
        self._enter(self.phases[self.at.phase])
        self.model.load_state_dict(parted_model(state["model"], self.model))
        self.optimizer.load_state_dict(parted_optimizer(state["optimizer"], self.optimizer))
        self.weighting.load_state_dict(state["weighting"])
        for penalty, module_state in zip(self.penalties, state["penalties"], strict=True):
            penalty.module.load_state_dict(module_state)
        if self.surgery:
            self.surgery.load_state_dict(state["surgery"])
        for task, place in state["samplers"].items():
            self.samplers[task].restore(place)
        if self.ema and state["ema"] is not None:
            self.ema.restore(state["ema"])
        self.surgery_random.set_state(state["surgery_random"])
        self.randomness.restore(state, self.at.total)
