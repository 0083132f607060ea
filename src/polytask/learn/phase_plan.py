"""The plan of a phase: which tasks, in which batches, for how many steps.

Numbers only, so that it can be printed before training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from polytask.learn.sampler import Sampler
from polytask.learn.schedules.contract import StepPlan, epoch_random
from polytask.learn.schedules.preview import Preview, preview
from polytask.learn.train_settings import Train


@dataclass
class Counts:
    """The updates of a phase, the epochs that it begins, and of each task the updates and rows."""

    updates: dict[str, int]
    drawn: dict[str, int]
    steps: int = 0
    epochs: int = 0


class PhasePlan:
    """What phase `number` of a training will draw, the same at every call.

    `rows`: of every task of the run; `seed`: of the run, from which each phase has its own.
    """

    def __init__(self, train: Train, number: int, rows: Mapping[str, int], seed: int) -> None:
        self.train = train
        self.tasks = list(train.tasks or rows)
        self.rows = {task: rows[task] for task in self.tasks}
        # The one batch of a set that is smaller than its batch size is the whole set.
        self.sizes = {task: min(size, rows[task]) for task, size in train.batch_sizes(self.rows).items()}
        self.seed = seed + 1_000_003 * number
        self.epochs = train.schedule.num_epochs(self.tasks, train.epochs)

    def plan(self, epoch: int) -> Iterator[StepPlan]:
        """Yield the steps of an epoch."""
        chance = epoch_random(self.seed, epoch)
        return self.train.schedule.plan(self.rows, self.sizes, epoch, self.train.epochs, chance)

    @property
    def num_steps(self) -> int:
        """The updates of all epochs, or `max_steps` if that is fewer."""
        return self.counts.steps

    @cached_property
    def counts(self) -> Counts:
        """What all steps are made of."""
        counts = Counts(updates=dict.fromkeys(self.tasks, 0), drawn=dict.fromkeys(self.tasks, 0))
        every = ((epoch, step) for epoch in range(self.epochs) for step in self.plan(epoch))
        for epoch, step in islice(every, self.train.max_steps):
            counts.steps, counts.epochs = counts.steps + 1, epoch + 1
            for task, sizes in step.items():
                counts.updates[task] += 1
                counts.drawn[task] += sum(sizes)
        return counts

    def samplers(self) -> dict[str, Sampler]:
        """Return what draws the rows of each task."""
        continues = self.train.schedule.sampler == "continues"
        return {task: Sampler(rows, self.seed, task, continues) for task, rows in self.rows.items()}

    def preview(self) -> Preview:
        """Return the first epoch in numbers, as far as `max_steps` lets it go."""
        return preview(self.train.schedule, self.rows, self.sizes, 0, self.train.epochs, self.seed,
                       self.train.max_steps)


def phases_of(train: Train, rows: Mapping[str, int], seed: int) -> list[PhasePlan]:
    """Return the phases of a training, one if none are listed."""
    return [PhasePlan(settings, number, rows, seed) for number, settings in enumerate(train.resolved())]


def never_drawn(phases: Sequence[PhasePlan]) -> list[str]:
    """Return the tasks that a training names and gives no update, in their order."""
    drawn = {task for phase in phases for task, count in phase.counts.updates.items() if count}
    return [task for task in dict.fromkeys(task for phase in phases for task in phase.tasks)
            if task not in drawn]
