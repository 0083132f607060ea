"""Schedules whose counts are fixed: one task after the other, in turns, or all together."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from random import Random
from typing import Literal

from polytask.core.errors import listed, nearest
from polytask.core.settings import problem as refusal
from polytask.learn.schedules.contract import (
    Schedule,
    Step,
    cycled,
    num_batches,
    one_pass,
    schedule,
    sizes_problem,
)

ENDS = ("shortest", "longest", "alternate")


@schedule
class Sequential(Schedule):
    """All epochs of the first task, then all epochs of the second, and so on.

    Formula: with T tasks and E epochs the run has T·E epochs; epoch k (from 0) is one pass over
    task ⌊k / E⌋.

    Inputs: rows and batch size of each task; the order is that of the config.

    Source: triple-threat §4.1, first training order (T-10).
    """

    def plan(self, rows: Mapping[str, int], batch_size: Mapping[str, int],
             epoch: int, epochs: int, rng: Random) -> Iterator[Step]:
        task = list(rows)[epoch // epochs]
        for size in one_pass(rows[task], batch_size[task]):
            yield {task: [size]}

    def num_epochs(self, tasks: Collection[str], epochs: int) -> int:
        return epochs * len(tasks)


@schedule
class EpochRoundRobin(Schedule):
    """One epoch of each task in turn, as many rounds as there are epochs.

    Formula: with T tasks and E epochs the run has T·E epochs; epoch k (from 0) is one pass over
    task k mod T.

    Inputs: rows and batch size of each task; the order is that of the config.

    Source: triple-threat §4.1, second training order (T-11).
    """

    def plan(self, rows: Mapping[str, int], batch_size: Mapping[str, int],
             epoch: int, epochs: int, rng: Random) -> Iterator[Step]:
        task = list(rows)[epoch % len(rows)]
        for size in one_pass(rows[task], batch_size[task]):
            yield {task: [size]}

    def num_epochs(self, tasks: Collection[str], epochs: int) -> int:
        return epochs * len(tasks)


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
    """All tasks in one step; else one task a step, in turns."""
    end: int | str = "longest"
    """What ends the epoch: "shortest", "longest", "alternate", or a number of steps."""
    feed: Literal["fresh", "continues"] = "continues"
    """At a new epoch: a new shuffle, or the pass of each set goes on where it stopped."""

    def __post_init__(self) -> None:
        if isinstance(self.end, str) and self.end not in ENDS:
            raise refusal(f'end: found "{self.end}", expected {listed(ENDS)} or a number of steps'
                          f"{nearest(self.end, ENDS)}")
        if isinstance(self.end, int) and self.end < 1:
            raise refusal(f"end: found {self.end}, expected at least 1 step")

    def plan(self, rows: Mapping[str, int], batch_size: Mapping[str, int],
             epoch: int, epochs: int, rng: Random) -> Iterator[Step]:
        rounds = self._rounds(rows, batch_size, epoch)
        sizes = {task: cycled(rows[task], batch_size[task], rounds) for task in rows}
        steps = self._steps(sizes, rounds)
        count = self.end if isinstance(self.end, int) else rounds * (1 if self.joint else len(rows))
        for _, step in zip(range(count), steps, strict=False):
            yield step

    def _steps(self, sizes: Mapping[str, list[int]], rounds: int) -> Iterator[Step]:
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

    def widest(self, tasks: Collection[str]) -> int:
        return len(tasks) if self.joint else 1


@schedule
class Balanced(Schedule):
    """As many rows of every task as the smallest set has, drawn anew each epoch, all tasks a step.

    Formula: every task gives n = min rows_t rows in B = max ⌈n / batch size_t⌉ batches. A task
    whose batch size would need fewer spreads its n rows evenly over the B batches.

    Inputs: rows and batch size of each task.

    Source: mfrr §4.2.1, "data balancing" (M-14).
    """

    feed = "fresh"

    def plan(self, rows: Mapping[str, int], batch_size: Mapping[str, int],
             epoch: int, epochs: int, rng: Random) -> Iterator[Step]:
        least = min(rows.values())
        batches = max(num_batches(least, batch_size[task]) for task in rows)
        sizes = {task: self._sizes(least, batch_size[task], batches) for task in rows}
        for turn in range(batches):
            yield {task: [sizes[task][turn]] for task in rows}

    @staticmethod
    def _sizes(rows: int, size: int, batches: int) -> list[int]:
        if num_batches(rows, size) == batches:
            return one_pass(rows, size)
        return [rows * (turn + 1) // batches - rows * turn // batches for turn in range(batches)]

    def widest(self, tasks: Collection[str]) -> int:
        return len(tasks)


@schedule
class FullData(Schedule):
    """Every row of the largest set, and the other sets spread over as many batches, all a step.

    Formula: B = ⌈max rows_t / b⌉ with b the largest set's batch size, and
    batch size_t = max(1, round(rows_t / B)) for the others.

    Inputs: rows of each task; the batch size of the largest (those of the others are not used).

    Source: mfrr §4.2.1, "full data", and §6.3 (M-15, M-16).

    Departs: B is rounded up, so that the last rows of the largest set are not lost; a half is
    rounded to the even number.
    """

    feed = "continues"

    def plan(self, rows: Mapping[str, int], batch_size: Mapping[str, int],
             epoch: int, epochs: int, rng: Random) -> Iterator[Step]:
        given = self.batch_sizes(rows, batch_size)
        largest = max(rows, key=lambda task: rows[task])
        batches = num_batches(rows[largest], given[largest])
        sizes = {task: cycled(rows[task], given[task], batches) for task in rows}
        for turn in range(batches):
            yield {task: [sizes[task][turn]] for task in rows}

    def batch_sizes(self, rows: Mapping[str, int], batch_size: Mapping[str, int]) -> dict[str, int]:
        largest = max(rows, key=lambda task: rows[task])
        batches = num_batches(rows[largest], batch_size[largest])
        return {task: batch_size[task] if task == largest else max(1, round(rows[task] / batches))
                for task in rows}

    def problem(self, tasks: Collection[str], rows: Mapping[str, int],
                batch_size: Mapping[str, int]) -> str | None:
        largest = max(rows, key=lambda task: rows[task]) if rows else None
        return sizes_problem(tasks, {task: rows[task] for task in rows if task == largest},
                             batch_size)

    def widest(self, tasks: Collection[str]) -> int:
        return len(tasks)


@schedule
class Merged(Schedule):
    """The batches of all tasks in one shuffled pile, one a step, until a task has none left.

    Formula: the pile holds ⌈rows_t / batch size_t⌉ batches of task t; they are drawn without
    replacement, and the epoch ends with the step that takes the last batch of any task.

    Inputs: rows and batch size of each task.

    Source: swissbert §4.1, the training pipeline (S-3).
    """

    feed = "fresh"

    def plan(self, rows: Mapping[str, int], batch_size: Mapping[str, int],
             epoch: int, epochs: int, rng: Random) -> Iterator[Step]:
        waiting = {task: one_pass(rows[task], batch_size[task])[::-1] for task in rows}
        pile = [task for task in rows for _ in waiting[task]]
        rng.shuffle(pile)
        for task in pile:
            yield {task: [waiting[task].pop()]}
            if not waiting[task]:
                return
