"""`polytask check`: what the data are, whether they fit, and the plan of the first epoch."""

from __future__ import annotations

import time
from collections.abc import Iterator

from polytask.building import Built, build
from polytask.learn.schedules.preview import Preview, preview
from polytask.learn.trainer import Score, Trainer
from polytask.run import Run
from polytask.tasks.gate import inspect


def check_run(run: Run, time_steps: int = 5, quiet: bool = False) -> Iterator[str]:
    """Yield the lines of the report on a run's data and plan."""
    built = build(run, quiet=quiet)
    yield from inspect(built.data, built.packings()).lines()
    yield ""
    trainer = Trainer(built.model, built.material, run.training, run.seed,
                      evaluate=lambda: Score(0.0, {}), keep=lambda where: None)
    phase = trainer.phase
    yield from _plan(preview(phase.schedule, trainer.rows, trainer.sizes, 0, phase.epochs,
                             trainer.phase_seed), phase.schedule.name, trainer.epochs)
    for note in built.notes:
        yield f"note: {note}"
    if time_steps:
        yield from _estimate(built, trainer, time_steps)


def _plan(plan: Preview, schedule: str, epochs: int) -> Iterator[str]:
    yield f"plan of the first of {epochs} epochs: {plan.steps:,} steps, schedule {schedule}"
    for task, batches in plan.batches.items():
        yield (f"  {task}: {batches:,} batches of {plan.batch_sizes[task]}, {plan.rows[task]:,} rows "
               f"drawn, {plan.unseen[task]:,} never, {plan.repeated[task]:,} twice or more")
    yield "the first steps, a column each:"
    yield from (f"  {line}" for line in plan.strip.splitlines())


def _estimate(built: Built, trainer: Trainer, time_steps: int) -> Iterator[str]:
    """Time a few real steps; the first, which warms caches up, does not count."""
    began, steps, tokens = 0.0, 0, 0
    for event in trainer.run():
        if event["event"] != "step":
            continue
        if steps == 0:
            began = time.perf_counter()
        else:
            tokens += event["tokens"]
        steps += 1
        if steps > time_steps:
            break
    if steps < 2:
        return
    each = (time.perf_counter() - began) / (steps - 1)
    total = each * trainer.num_steps
    yield (f"time: {each:.2f} s a step, {tokens / each / (steps - 1):,.0f} tokens/s; about "
           f"{_spelled(total)} for {trainer.num_steps:,} steps, evaluations beside it")


def _spelled(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
