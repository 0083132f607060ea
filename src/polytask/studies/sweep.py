"""A sweep: which keys of a run config are searched, over which values, for what.

`recipes/README.md` has the file format. Reading a sweep checks the sweep itself; whether a trial's config
can work is checked where runs are known.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polytask.core.errors import ConfigError, nearest
from polytask.core.json_files import as_written
from polytask.core.settings import in_toml
from polytask.core.toml import (
    TomlTable,
    assigned,
    key_parts,
    override,
    place,
    read_toml,
    refuse_other_kind,
    value_of,
)
from polytask.core.user_modules import add_search_path
from polytask.metrics import METRICS
from polytask.studies.study import COMMON_KEYS, Scale, changed, digest, key_problems, titled

SAMPLERS = ("grid", "tpe")
PRUNERS = ("median", "asha", "hyperband", "none")
OVERALL = "overall"
_KEYS = {**COMMON_KEYS, "sampler": (str, "grid or tpe"), "trials": (int, "a whole number"),
         "metrics": (list, "a list"), "pruner": (str, "median, asha, hyperband or none"),
         "parameters": (dict, "a table"), "pilot_parameters": (dict, "a table")}
_RANGE = {"low", "high", "log"}


@dataclass(frozen=True)
class Parameter:
    """What is searched: dotted keys that take one value together, from a list or a range.

    A trial draws a place in the list (which may hold any TOML values) or a number of the range; a range
    of two whole numbers gives whole numbers.
    """

    name: str
    keys: tuple[str, ...]
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def value(self, drawn: Any) -> Any:
        """Return what the keys are set to: a place in the list, or the number itself."""
        return self.values[drawn] if self.values else drawn

    @property
    def examples(self) -> tuple[Any, ...]:
        """All values of a list, the ends of a range."""
        return self.values or (self.low, self.high)


@dataclass(frozen=True)
class Sweep:
    """A sweep as it will run."""

    path: Path
    title: str
    base: TomlTable
    parameters: tuple[Parameter, ...]
    sampler: str
    trials: int
    metrics: tuple[str, ...]
    pruner: str
    notes: tuple[str, ...]

    @property
    def digest(self) -> str:
        """What tells one sweep from another, regardless of the number of trials."""
        return digest([self.base, self.sampler, self.metrics,
                       [vars(parameter) for parameter in self.parameters]])

    @property
    def combinations(self) -> int:
        """The size of the grid."""
        return math.prod(len(parameter.values) for parameter in self.parameters)

    def config(self, drawn: Mapping[str, Any]) -> TomlTable:
        """Return the run config of a trial: `drawn` has a number for each parameter."""
        config = copy.deepcopy(self.base)
        for parameter in self.parameters:
            for key in parameter.keys:
                place(config, key, copy.deepcopy(parameter.value(drawn[parameter.name])))
        return config

    def values(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """Return parameter → value."""
        return {parameter.name: parameter.value(drawn[parameter.name]) for parameter in self.parameters}

    def probes(self) -> Iterator[TomlTable]:
        """Yield configs in which every value of every parameter occurs: all of them must be readable."""
        first = {parameter.name: 0 if parameter.values else parameter.low for parameter in self.parameters}
        for parameter in self.parameters:
            places = range(len(parameter.values)) if parameter.values else parameter.examples
            for drawn in places:
                yield self.config(first | {parameter.name: drawn})


def read_sweep(path: str | Path, scale: Scale = "full", assignments: Iterable[str] = (),
               trials: int | None = None) -> Sweep:
    """Read a sweep; raise `ConfigError` with a sentence for every mistake in its own keys."""
    path = Path(path)
    with as_written(path, ConfigError, what="cannot be read as a sweep"):
        return _read(path, scale, list(assignments), trials)


def _read(path: Path, scale: Scale, assignments: Sequence[str], trials: int | None) -> Sweep:
    table = read_toml(path)
    refuse_other_kind(table, path, "sweep")
    problems = [*key_problems(table, _KEYS, str(path), "a sweep", ("base", "parameters"))]
    if not problems and not table["parameters"]:
        problems.append(f"{path}: parameters: is empty, expected at least one parameter to search")
    if problems:
        raise ConfigError(problems)
    searched = table["parameters"] | (table.get("pilot_parameters", {}) if scale == "pilot" else {})
    problems += [f"{path}: pilot_parameters.{key}: is not a parameter{nearest(key, table['parameters'])}"
                 for key in table.get("pilot_parameters", {}) if key not in table["parameters"]]
    parameters = [_parameter(path, name, value, problems) for name, value in searched.items()]
    sampler, pruner = table.get("sampler", "tpe"), table.get("pruner", "median")
    for key, value, known in (("sampler", sampler, SAMPLERS), ("pruner", pruner, PRUNERS)):
        if value not in known:
            expected = f"{', '.join(known[:-1])} or {known[-1]}{nearest(value, known)}"
            problems.append(f'{path}: {key}: found "{value}", expected {expected}')
    if sampler == "grid":
        problems += [f"{path}: parameters.{parameter.name}: is a range; a grid needs a list of values"
                     for parameter in parameters if not parameter.values and parameter.keys]
    add_search_path((path.parent / table["base"]).parent)
    base = changed(read_toml(path.parent / table["base"]), str(path), scale, (table,))
    base = override(base, assignments)
    problems += _lost_values(path, parameters, assignments)
    metrics = tuple(map(str, table.get("metrics", [OVERALL])))
    problems += _metric_problems(path, metrics, base.get("tasks", {}))
    if problems:
        raise ConfigError(problems)
    sweep = Sweep(path, titled(table, path, scale), base, tuple(parameters), sampler, 0, metrics,
                 pruner if len(metrics) == 1 else "none", tuple(map(str, table.get("notes", ()))))
    wanted = trials or table.get("trials", sweep.combinations if sampler == "grid" else 20)
    if wanted < 1:
        raise ConfigError(f"{path}: trials: found {wanted}, expected 1 or more")
    count = min(wanted, sweep.combinations) if sampler == "grid" else wanted
    return Sweep(**{**vars(sweep), "trials": count})


def _parameter(path: Path, name: str, value: Any, problems: list[str]) -> Parameter:
    where = f"{path}: parameters.{name}"
    keys: tuple[str, ...] = (name,)
    if isinstance(value, dict) and "keys" in value:
        keys = tuple(map(str, value["keys"])) if isinstance(value["keys"], list) else ()
        if not keys:
            problems.append(f"{where}.keys: found {value['keys']!r}, expected a list of dotted keys")
        rest = {key: entry for key, entry in value.items() if key != "keys"}
        value = rest["values"] if rest.keys() == {"values"} else rest
    for key in keys:
        try:
            key_parts(key)
        except ConfigError as error:
            problems.append(f"{where}: {str(error).removeprefix('--set ')}")
            return Parameter(name, ())
    if isinstance(value, list) and value:
        return Parameter(name, keys, tuple(value))
    if isinstance(value, dict) and {"low", "high"} <= set(value) <= _RANGE:
        if not (problem := _range_problem(**value)):
            return Parameter(name, keys, (), value["low"], value["high"], value.get("log", False))
        problems.append(f"{where}{problem}")
    else:
        problems.append(f"{where}: found {value!r}, expected a list of values, or a table with low, "
                        "high and optionally log")
    return Parameter(name, ())


def _range_problem(low: Any, high: Any, log: Any = False) -> str:
    """Return what is wrong with a range, after the name of its parameter; '' for nothing."""
    if not isinstance(log, bool):
        return f".log: found {log!r}, expected true or false"
    if not all(isinstance(end, int | float) and not isinstance(end, bool) and math.isfinite(end)
               for end in (low, high)) or not low < high:
        return f": found low {in_toml(low)} and high {in_toml(high)}, expected two numbers, the lower first"
    return f".low: found {low}, expected more than 0 with log = true" if log and low <= 0 else ""


def _lost_values(path: Path, parameters: Sequence[Parameter], assignments: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each value that a later one replaces, so that no trial would be trained with it.

    A key below another one, which is set first, is none: `train.optimizer`, then `train.optimizer.lr`.
    """
    set_first = [(f"--set {key}", key_parts(key), (value_of(text),))
                 for key, text in map(assigned, assignments)]
    for parameter in parameters:
        for key in parameter.keys:
            where, parts = f"parameters.{parameter.name}", key_parts(key)
            for earlier, before, values in set_first:
                below = parts[len(before):] if parts[:len(before)] == before else ()
                if before[:len(parts)] == parts or (below and any(_has(value, below) for value in values)):
                    yield (f"{path}: {where}: sets {key}, which takes the place of what {earlier} sets; "
                           "expected one value for each key")
            set_first.append((where, parts, parameter.examples))


def _has(value: Any, parts: Sequence[str]) -> bool:
    """Return whether a table has an entry at the end of a path."""
    for part in parts:
        if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        else:
            return False
    return True


def _metric_problems(path: Path, metrics: Sequence[str], tasks: Mapping[str, Any]) -> Iterator[str]:
    for key in metrics:
        task, _, metric = key.partition(".")
        if key == OVERALL:
            continue
        if not metric:
            yield (f'{path}: metrics: found "{key}", expected {OVERALL} or TASK.METRIC'
                   f"{nearest(key, [OVERALL])}")
        elif task not in tasks:
            yield f'{path}: metrics: "{task}" is not a task{nearest(task, tasks)}'
        elif metric not in METRICS or not METRICS[metric].scalar:
            known = [name for name, definition in METRICS.items() if definition.scalar]
            yield f'{path}: metrics: "{metric}" is not a metric with a single value{nearest(metric, known)}'
    if len(set(metrics)) < len(metrics) or not metrics:
        yield f"{path}: metrics: found {list(metrics)!r}, expected one or more different ones"


def grid(sweep: Sweep) -> Iterator[dict[str, int]]:
    """Yield every combination of a grid, as places in the lists."""
    places = [range(len(parameter.values)) for parameter in sweep.parameters]
    for drawn in itertools.product(*places):
        yield {parameter.name: place for parameter, place in zip(sweep.parameters, drawn, strict=True)}
