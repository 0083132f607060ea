"""Single-task runs: the score of each task alone, on its budget in the base row."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from polytask.core.toml import TomlTable
from polytask.studies.study import StudyRow

# Settings that only several tasks have, and settings that may name the others.
_MULTI_TASK = ("schedule", "weighting", "surgery", "gradient_cosines", "score")


def single_rows(base: StudyRow) -> list[StudyRow]:
    """Return a row for each task of the base row: the task alone, everything else unchanged.

    The budget is the same: the task's rows, batch size, number of epochs, optimizer and encoder. What
    concerns several tasks is left out: schedule, weighting, surgery, and what names other tasks.
    """
    return [StudyRow(f"{task} alone", _alone(base.config, task), single=task)
            for task in base.config["tasks"]]


def _alone(config: TomlTable, task: str) -> TomlTable:
    alone = copy.deepcopy(config)
    alone["tasks"] = {task: alone["tasks"][task]}
    others = set(config["tasks"]) - {task}
    train = _without_others(alone.get("train", {}), task, others)
    phases = [_without_others(phase, task, others) for phase in train.pop("phases", [])
              if task in phase.get("tasks", [task])]
    alone["train"] = train | ({"phases": phases} if phases else {})
    return alone


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
