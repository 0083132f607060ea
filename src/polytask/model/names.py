"""Names of tasks and shared layers: each becomes a folder, and a module in one of torch's `ModuleDict`s."""

from __future__ import annotations

from torch import nn

from polytask.core.safe_paths import name_problem

# The attributes of an empty `ModuleDict`: it refuses a module of such a name, or is hidden behind it.
_TAKEN = frozenset(dir(nn.ModuleDict()))
# What commands, requests and results call the tasks of a model together.
_TOGETHER = {"all": "predict --task and the server's requests", "overall": "the results"}


def module_name_problem(name: str) -> str | None:
    """Return why a task or a shared layer cannot be called so, or None."""
    if mistake := name_problem(name):
        return mistake
    return "is a name that torch reserves; choose another" if name in _TAKEN else None


def task_name_problem(name: str) -> str | None:
    """Return why a new task cannot be called so, or None; earlier versions may have trained one."""
    if name in _TOGETHER:
        return f"is what {_TOGETHER[name]} call all tasks together; choose another name"
    return module_name_problem(name)
