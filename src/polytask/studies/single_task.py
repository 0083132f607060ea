"""Single-task runs: what each task reaches alone, on the budget that it has in the base row."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from polytask.core.toml import TomlTable
from polytask.studies.study import StudyRow

# What only several tasks have, and what may name the others.
_OF_SEVERAL = ("schedule", "weighting", "surgery", "gradient_cosines", "score")


def single_rows(base: StudyRow) -> list[StudyRow]:
    """Return a row for each task of the base row: the task alone, everything else as it is there.

    The budget is the same: the task's rows, batch size, number of epochs, optimizer and encoder. Left
    out is what concerns several tasks: schedule, weighting, surgery, and what names other tasks.
    """
    return [StudyRow(f"{task} alone", _alone(base.config, task), single=task)
            for task in base.config["tasks"]]


def _alone(config: TomlTable, task: str) -> TomlTable:
    made = copy.deepcopy(config)
    made["tasks"] = {task: made["tasks"][task]}
    others = set(config["tasks"]) - {task}
    train = _own(made.get("train", {}), task, others)
    phases = [_own(phase, task, others) for phase in train.pop("phases", [])
              if task in phase.get("tasks", [task])]
    made["train"] = train | ({"phases": phases} if phases else {})
    return made


def _own(train: Mapping[str, Any], task: str, others: set[str]) -> TomlTable:
    """Return training settings without what concerns several tasks, or another one."""
    made = {key: value for key, value in train.items() if key not in (*_OF_SEVERAL, "tasks")}
    if isinstance(made.get("batch_size"), dict):
        made["batch_size"] = {task: made["batch_size"].get(task, 16)}
    if "regularizers" in made:
        made["regularizers"] = [_narrowed(each, task) for each in made["regularizers"] if _acts(each, task)]
    rates = made.get("optimizer", {}).get("layer_rates")
    if rates:
        made["optimizer"]["layer_rates"] = {key: value for key, value in rates.items() if key not in others}
    return made


def _acts(regularizer: Any, task: str) -> bool:
    named = regularizer.get("tasks") if isinstance(regularizer, dict) else None
    return not named or task in named


def _narrowed(regularizer: Any, task: str) -> Any:
    if isinstance(regularizer, dict) and regularizer.get("tasks"):
        return regularizer | {"tasks": [task]}
    return regularizer
