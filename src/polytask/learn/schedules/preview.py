"""A plan made visible before training: counts, the first steps, rows missed and repeated."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

from polytask.learn.sampler import Sampler
from polytask.learn.schedules.contract import Schedule, StepPlan, epoch_random


@dataclass(frozen=True)
class Preview:
    """One epoch of a plan, in numbers by task."""

    steps: int
    batch_sizes: dict[str, int]
    batches: dict[str, int]
    rows: dict[str, int]      # drawn, each as often as it is
    unseen: dict[str, int]    # rows of the set that the epoch never draws
    repeated: dict[str, int]  # rows of the set that it draws twice or more
    strip: str                # the first hundred steps


def preview(schedule: Schedule, rows: Mapping[str, int], batch_size: Mapping[str, int],
            epoch: int = 0, epochs: int = 1, seed: int = 0, most: int | None = None) -> Preview:
    """Walk through one epoch as training would, or its first `most` steps; rows are drawn, none is read."""
    plan = list(islice(schedule.plan(rows, batch_size, epoch, epochs, epoch_random(seed, epoch)), most))
    samplers = {task: Sampler(rows[task], seed, task, schedule.sampler == "continues") for task in rows}
    times = {task: np.zeros(rows[task], dtype=np.int64) for task in rows}
    for sampler in samplers.values():
        sampler.start(epoch)
    for step in plan:
        for task, sizes in step.items():
            for size in sizes:
                np.add.at(times[task], samplers[task].draw(size), 1)
    return Preview(
        steps=len(plan), batch_sizes=schedule.batch_sizes(rows, batch_size),
        batches={task: sum(len(step.get(task, ())) for step in plan) for task in rows},
        rows={task: int(times[task].sum()) for task in rows},
        unseen={task: int((times[task] == 0).sum()) for task in rows},
        repeated={task: int((times[task] > 1).sum()) for task in rows},
        strip=strip(plan, list(rows)),
    )


def strip(plan: Iterable[StepPlan], tasks: Collection[str], width: int = 100) -> str:
    """Return the first `width` steps, one line per task and one column per step: █ where it has a batch.

    Several batches of a task in one step are shown as their number.
    """
    steps = list(islice(plan, width))
    margin = max(map(len, tasks), default=0)
    return "\n".join(
        f"{task:{margin}} " + "".join(_mark(len(step.get(task, ()))) for step in steps)
        for task in tasks)


def _mark(draws: int) -> str:
    return "·█"[draws] if draws < 2 else str(min(draws, 9))
