"""Estimates the share of a training that its evaluations take; warned of before it starts, if large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polytask.data.collate import InputLayout
from polytask.data.dataset import TaskData
from polytask.learn.phase_plan import PhasePlan

# A share above which the remedy is told; passes an update takes of a token, where an evaluation takes one.
MUCH, PASSES = 1 / 3, 3


def evaluation_note(phases: Sequence[PhasePlan], data: Mapping[str, TaskData],
                    layouts: Mapping[str, InputLayout]) -> list[str]:
    """Return a sentence if evaluations take more than a third of a training, by tokens.

    A token trained costs three passes (forward, and twice that backward), one evaluated costs one.
    """
    dev = {name: int(split.lengths(layouts[name]).kept.sum())
           for name, task in data.items() if (split := task.splits.get("dev")) is not None}
    trained = {name: float(task.train.lengths(layouts[name]).kept.sum(axis=1).mean())
               for name, task in data.items()}
    evaluated = updates = 0.0
    for phase in phases:
        counts, every = phase.counts, phase.train.evaluate_every
        evaluated += sum(dev.values()) * (-(-counts.steps // every) if every else counts.epochs)
        updates += PASSES * sum(trained[task] * rows for task, rows in counts.drawn.items())
    share = evaluated / max(1.0, evaluated + updates)
    if share <= MUCH:
        return []
    largest = max(dev, key=lambda name: dev[name])
    rows = len(data[largest].splits["dev"])
    return [f"evaluations take about {share:.0%} of this training, most of it the {rows:,} dev rows of "
            f"{largest}; tasks.{largest}.dev_limit or train.evaluate_every lowers that"]
