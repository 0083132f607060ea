"""What schedules that draw a step's tasks at random share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil
from random import Random

from polytask.core.settings import problem as refusal
from polytask.learn.schedules.contract import (
    StepPlan,
    num_batches,
)

MOST_DRAWS, MOST_STEPS = 10_000, 1_000_000


def drawn(chances: Mapping[str, float], batch_size: Mapping[str, int], draws: int, steps: int,
          rng: Random) -> Iterator[StepPlan]:
    """Yield `steps` steps of `draws` tasks, each drawn with replacement by its chance."""
    tasks = list(chances)
    for _ in range(steps):
        picked = rng.choices(tasks, weights=list(chances.values()), k=draws)
        yield {task: [batch_size[task]] * picked.count(task) for task in tasks if task in picked}


def num_steps(rows: Mapping[str, int], batch_size: Mapping[str, int], draws: int,
              steps: int | None) -> int:
    """Return the steps of an epoch: as given, or enough for as many draws as there are batches."""
    return steps or ceil(sum(num_batches(rows[task], batch_size[task]) for task in rows) / draws)


def refuse_counts(draws: int, steps: int | None) -> None:
    """Raise for counts below 1, or so large that the plan of an epoch would never be made."""
    if not 1 <= draws <= MOST_DRAWS:
        raise refusal(f"draws: found {draws}, expected 1 to {MOST_DRAWS:,}")
    if steps is not None and not 1 <= steps <= MOST_STEPS:
        raise refusal(f"steps: found {steps}, expected 1 to {MOST_STEPS:,}")
