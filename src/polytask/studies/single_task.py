"""Single-task runs: each task alone, with as many epochs or updates as in the base row."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from polytask.core.toml import TomlTable
from polytask.learn.phase_plan import PhasePlan
from polytask.learn.train_settings import Train
from polytask.studies.study import StudyRow

# Settings that only several tasks have, and settings that may name the others.
_MULTI_TASK = ("schedule", "weighting", "surgery", "gradient_cosines", "score")


def is_limited(train: Train) -> bool:
    """Return whether `max_steps` ends a phase: what a task then has of it depends on the others."""
    return any(phase.max_steps is not None for phase in train.resolved())


def single_rows(base: StudyRow, plans: Sequence[PhasePlan] = ()) -> list[StudyRow]:
    """Return a row for each task of the base row: the task alone, everything else unchanged.

    Rows, batch size, optimizer and encoder are the same, and the number of epochs, each over the task's own
    rows. In a phase that `max_steps` ends, the task has the updates that it has there instead, by the
    `plans` of the base row's phases (needed only where a run `is_limited`). What concerns several tasks is
    left out: schedule, weighting, surgery, and what names other tasks.
    """
    return [StudyRow(f"{task} alone", _alone(base.config, task, plans), single=task)
            for task in base.config["tasks"]]


def _alone(config: TomlTable, task: str, plans: Sequence[PhasePlan]) -> TomlTable:
    alone = copy.deepcopy(config)
    alone["tasks"] = {task: alone["tasks"][task]}
    others = set(config["tasks"]) - {task}
    train = _without_others(alone.get("train", {}), task, others)
    if phases := train.pop("phases", []):
        limits = [_limits(plan, task) for plan in plans] or [{}] * len(phases)
        phases = [_without_others(phase, task, others) | limit for phase, limit
                  in zip(phases, limits, strict=True) if task in phase.get("tasks", [task])]
    elif plans:
        train |= _limits(plans[0], task)
    alone["train"] = train | ({"phases": phases} if phases else {})
    return alone


def _limits(plan: PhasePlan, task: str) -> dict[str, int]:
    """Return the settings that give a task alone its updates in a phase that `max_steps` ends."""
    if plan.train.max_steps is None or task not in plan.tasks:
        return {}
    updates = max(1, plan.counts.updates[task])  # a training has one at least
    alone = replace(plan.train, tasks=(task,), max_steps=None, epochs=1, schedule=Train().schedule)
    epoch = PhasePlan(alone, 0, plan.rows, plan.seed)
    epochs = -(-updates // epoch.num_steps)
    return {"max_steps": updates} | ({"epochs": epochs} if epochs > plan.train.epochs else {})


def _without_others(train: Mapping[str, Any], task: str, others: set[str]) -> TomlTable:
    """Return training settings without those for several tasks or for another one."""
    settings = {key: value for key, value in train.items() if key not in (*_MULTI_TASK, "tasks")}
    if isinstance(settings.get("batch_size"), dict):
        settings["batch_size"] = {task: settings["batch_size"].get(task, 16)}
    if "regularizers" in settings:
        settings["regularizers"] = [_narrowed(regularizer, task) for regularizer in settings["regularizers"]
                                    if _acts_on(regularizer, task)]
    rates = settings.get("optimizer", {}).get("layer_rates")
    if rates:
        settings["optimizer"]["layer_rates"] = {
            key: value for key, value in rates.items() if key not in others}
    return settings


def _acts_on(regularizer: Any, task: str) -> bool:
    named = regularizer.get("tasks") if isinstance(regularizer, dict) else None
    return not named or task in named


def _narrowed(regularizer: Any, task: str) -> Any:
    if isinstance(regularizer, dict) and regularizer.get("tasks"):
        return regularizer | {"tasks": [task]}
    return regularizer
