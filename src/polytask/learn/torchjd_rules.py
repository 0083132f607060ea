"""Rules of torchjd: found by name, built from a table of options, remembered exactly.

torchjd keeps what its rules remember in plain attributes (running losses, an optimizer of its own),
which `state_dict` does not see; `hidden` and `reveal` save and restore them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polytask.core.errors import ConfigError, MissingExtra, UnknownName, nearest, with_article

COUNTS = ("shape", "n_tasks")  # options that are the number of tasks: filled in here
OBJECTS = ("projector", "f")   # options that no table can give
ABSTRACT = ("Aggregator", "WeightedAggregator", "GramianWeightedAggregator", "Scalarizer")


@dataclass(frozen=True)
class TorchJDRules:
    """The rules of one module of torchjd; `trial` makes an input for a number of tasks."""

    noun: str
    load: Callable[[], Any]
    trial: Callable[[int], Tensor]

    def rules(self) -> dict[str, Any]:
        """Return the rules by name; raise `MissingExtra` without torchjd."""
        try:
            module = self.load()
        except ModuleNotFoundError:
            raise MissingExtra('"torchjd:…"', "torchjd") from None
        root = getattr(module, self.noun.capitalize())
        exported = {name: getattr(module, name) for name in module.__all__ if name not in ABSTRACT}
        return {name: cls for name, cls in exported.items() if issubclass(cls, root)}

    def find(self, name: str, options: Mapping[str, Any]) -> type[nn.Module]:
        """Return the class called `name`, having checked the names of its options."""
        known = self.rules()
        if name not in known:
            near = nearest(name, known).replace('"', '"torchjd:', 1)
            raise UnknownName(f'"torchjd:{name}" is not {with_article(self.noun)} of torchjd{near}'
                              f" (expected one of {', '.join(sorted(known))})")
        accepted = parameters(known[name])
        for option in options:
            if option not in accepted:
                hint = nearest(option, accepted) or f"; expected {_any_of(accepted)}"
                raise ConfigError(f'"torchjd:{name}": {option} is not an option{hint}')
        for option, parameter in accepted.items():
            if parameter.default is parameter.empty and option not in options:
                raise ConfigError(f'"torchjd:{name}": the option {option} is missing')
        cls: type[nn.Module] = known[name]
        return cls

    def misfit(self, name: str, options: Mapping[str, Any], tasks: Sequence[str],
               min_tasks_per_step: int | None) -> str | None:
        """Return every reason why a rule cannot serve these tasks, in one sentence, or None."""
        cls = self.find(name, options)
        some_missing = min_tasks_per_step is not None and min_tasks_per_step < len(tasks)
        mistakes = list(_options_problems(options, tasks))
        if some_missing and takes_task_values(cls, options):
            mistakes.append("it needs every task in every step, but the schedule may give only "
                            f"{min_tasks_per_step} of {len(tasks)}")
        if mistakes:
            return f'"torchjd:{name}": {"; ".join(mistakes)}'
        try:
            with torch.random.fork_rng(devices=[]):
                build(cls, options, tasks)(self.trial(len(tasks)))
        except (TypeError, ValueError, ImportError, RuntimeError) as error:
            return f'"torchjd:{name}": {" ".join(str(error).split())}'
        return None


def parameters(cls: type) -> dict[str, inspect.Parameter]:
    """Return the parameters of a rule that a table can give."""
    starred = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {name: parameter for name, parameter in inspect.signature(cls).parameters.items()
            if name not in COUNTS + OBJECTS and parameter.kind not in starred}


def _any_of(names: Mapping[str, Any]) -> str:
    return f"one of {', '.join(names)}" if names else "none"


def takes_task_values(cls: type[nn.Module], options: Mapping[str, Any]) -> bool:
    """Return whether a rule is tied to its tasks: by memory, or by values given for each."""
    counted = any(name in COUNTS for name in inspect.signature(cls).parameters)
    nested = any(isinstance(value, Mapping | list | tuple) for value in options.values())
    return counted or nested or hasattr(cls, "reset")  # torchjd's mark of a rule with memory


def _options_problems(options: Mapping[str, Any], tasks: Sequence[str]) -> Iterator[str]:
    for name, value in options.items():
        if not isinstance(value, Mapping):
            continue
        yield from (f'{name} names "{task}", which is not a task here{nearest(task, tasks)}'
                    for task in value if task not in tasks)
        if missing := [f'"{task}"' for task in tasks if task not in value]:
            yield f"{name} lacks {'the task' if len(missing) == 1 else 'the tasks'} {', '.join(missing)}"


def build(cls: type[nn.Module], options: Mapping[str, Any],
          tasks: int | Sequence[str]) -> nn.Module:
    """Build a rule; a list or a table {task = value} becomes a tensor in the order of the tasks."""
    names = [] if isinstance(tasks, int) else list(tasks)
    arguments: dict[str, Any] = {}
    for name, value in options.items():
        values = [value[task] for task in names] if isinstance(value, Mapping) else value
        is_vector = isinstance(values, list | tuple)
        arguments[name] = torch.tensor(values, dtype=torch.float32) if is_vector else values
    for name in COUNTS:
        if name in inspect.signature(cls).parameters:
            arguments[name] = tasks if isinstance(tasks, int) else len(names)
    return cls(**arguments)


def move(rule: nn.Module, device: torch.device) -> None:
    """Move all tensors of a rule to a device, those that it keeps as plain attributes among them."""
    rule.to(device)
    for part in rule.modules():
        for key, value in list(vars(part).items()):
            if isinstance(value, Tensor) and value.device != device:
                object.__setattr__(part, key, value.to(device))


# ---- what a rule remembers


def hidden(module: nn.Module) -> dict[str, Any]:
    """Return everything that a module and its parts keep outside their parameters."""
    rules = {}
    for path, part in module.named_modules():
        for key, value in _attributes(part):
            if (saved := _saved(value)) is not None:
                rules[f"{path}/{key}"] = saved
    return rules


def reveal(module: nn.Module, state: Mapping[str, Any], prime: Callable[[], object]) -> None:
    """Put back what `hidden` returned.

    `prime` uses the module once, which makes what it makes lazily (an optimizer, a solver).
    """
    parameters = {name: value.detach().clone() for name, value in module.named_parameters()}
    with torch.random.fork_rng(devices=[]):
        prime()
    for path, part in module.named_modules():
        for key, value in _attributes(part):
            if (saved := state.get(f"{path}/{key}")) is not None:
                _put(part, key, value, saved)
    with torch.no_grad():
        for name, value in module.named_parameters():
            value.copy_(parameters[name])


def _attributes(part: nn.Module) -> Iterator[tuple[str, Any]]:
    plain = vars(nn.Module())
    yield from [(key, value) for key, value in vars(part).items() if key not in plain]
    yield from list(part._buffers.items())


def _saved(value: Any) -> Any:
    """Return a value as {type: plain data and tensors}; None for what cannot be saved."""
    if isinstance(value, Tensor):
        return {"tensor": value.detach().clone()}
    if value is None or isinstance(value, bool | int | float | str):
        return {"plain": value}
    if isinstance(value, np.ndarray):
        return {"array": torch.from_numpy(value.copy())}
    if isinstance(value, torch.optim.Optimizer):
        return {"optimizer": value.state_dict()}
    if isinstance(value, torch.dtype | torch.device):
        return {type(value).__name__: str(value).removeprefix("torch.")}
    if isinstance(value, list | tuple):
        entries = [_saved(entry) for entry in value]
        return None if None in entries else {type(value).__name__: entries}
    return None


def _put(part: nn.Module, key: str, present: Any, saved: Mapping[str, Any]) -> None:
    if "optimizer" in saved:
        present.load_state_dict(saved["optimizer"])
    elif key in part._buffers:
        part._buffers[key] = _restored(saved)
    else:
        object.__setattr__(part, key, _restored(saved))


def _restored(saved: Mapping[str, Any]) -> Any:
    ((kind, value),) = saved.items()
    if kind == "list":
        return [_restored(entry) for entry in value]
    if kind == "tuple":
        return tuple(_restored(entry) for entry in value)
    if kind == "array":
        return value.numpy().copy()
    if kind == "dtype":
        return getattr(torch, value)
    if kind == "device":
        return torch.device(value)
    return value.clone() if kind == "tensor" else value
