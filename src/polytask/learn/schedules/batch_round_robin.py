"""One batch of every task, again and again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from random import Random
from typing import Literal

from polytask.core.errors import listed, nearest
from polytask.core.settings import problem as refusal
from polytask.learn.schedules.contract import (
    Schedule,
    StepPlan,
    cycled,
    num_batches,
    schedule,
)
from polytask.learn.schedules.draws import MOST_STEPS

ENDS = ("shortest", "longest", "alternate")


@schedule
class BatchRoundRobin(Schedule):
    """One batch of every task, again and again, together in a step or in steps of their own.

    Formula: with B_t = ⌈rows_t / batch size_t⌉ the epoch has max B_t rounds ("longest"),
    min B_t ("shortest"), min B_t but max B_t in every fourth epoch ("alternate"), or n steps.

    Inputs: rows and batch size of each task. A set that is used up starts its next pass; one whose
    batches are exactly the rounds ends with its remainder.

    Source: triple-threat §4.1 and §4.3 (T-12 one task a step, T-13 joint), mfrr §4.2.1 (M-13);
    practices §5.3 for "alternate" (P-18).

    Departs: triple-threat does not say which set ends its epoch; here the longest does unless told
    otherwise.
    """

    joint: bool = True
    """All tasks in one step; otherwise one task per step, in turn."""
    end: int | str = "longest"
    """What ends the epoch: "shortest", "longest", "alternate", or a number of steps."""
    sampler: Literal["fresh", "continues"] = "continues"
    """At a new epoch: a new shuffle, or each set continues its pass where it stopped."""

    def __post_init__(self) -> None:
        if isinstance(self.end, str) and self.end not in ENDS:
            raise refusal(f'end: found "{self.end}", expected {listed(ENDS)} or a number of steps'
                          f"{nearest(self.end, ENDS)}")
        if isinstance(self.end, int) and not 1 <= self.end <= MOST_STEPS:
            raise refusal(f"end: found {self.end}, expected 1 to {MOST_STEPS:,} steps")

    def plan(self, rows: Mapping[str, int], batch_size: Mapping[str, int],
             epoch: int, epochs: int, rng: Random) -> Iterator[StepPlan]:
        rounds = self._rounds(rows, batch_size, epoch)
        sizes = {task: cycled(rows[task], batch_size[task], rounds) for task in rows}
        steps = self._steps(sizes, rounds)
        count = self.end if isinstance(self.end, int) else rounds * (1 if self.joint else len(rows))
        for _, step in zip(range(count), steps, strict=False):
            yield step

    def _steps(self, sizes: Mapping[str, list[int]], rounds: int) -> Iterator[StepPlan]:
        for turn in range(rounds):
            step = {task: [sizes[task][turn]] for task in sizes}
            if self.joint:
                yield step
            else:
                yield from ({task: draws} for task, draws in step.items())

    def _rounds(self, rows: Mapping[str, int], batch_size: Mapping[str, int], epoch: int) -> int:
        counts = [num_batches(rows[task], batch_size[task]) for task in rows]
        if isinstance(self.end, int):
            return self.end if self.joint else num_batches(self.end, len(rows))
        longest = self.end == "longest" or (self.end == "alternate" and (epoch + 1) % 4 == 0)
        return max(counts) if longest else min(counts)

    def max_tasks_per_step(self, tasks: Collection[str]) -> int:
        return len(tasks) if self.joint else 1
