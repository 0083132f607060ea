"""A sweep: which keys of a run config are searched, over which values, for what.

The file format is in `recipes/README.md`. Reading one checks the sweep itself; whether a trial's
config can work is for whoever knows what a run is.
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
from polytask.core.toml import TomlTable, override, place, read_toml
from polytask.core.user_modules import add_search_path
from polytask.metrics import METRICS
from polytask.studies.study import COMMON_KEYS, Scale, changed, digest, key_problems, titled

SAMPLERS = ("grid", "tpe")
PRUNERS = ("median", "none")
OVERALL = "overall"
_KEYS = {**COMMON_KEYS, "sampler": (str, "grid or tpe"), "trials": (int, "a whole number"),
         "metrics": (list, "a list"), "pruner": (str, "median or none"),
         "parameters": (dict, "a table"), "pilot_parameters": (dict, "a table")}
_RANGE = {"low", "high", "log"}


@dataclass(frozen=True)
class Parameter:
    """What is searched: dotted keys that take one value together, from a list or a range.

    Of a list, places are drawn (any TOML value may stand in it); a range of two whole numbers gives
    whole numbers.
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
    """A sweep as it will be run."""

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
        """What tells one sweep from another, whatever the number of trials."""
        return digest([self.base, self.sampler, self.metrics, [vars(each) for each in self.parameters]])

    @property
    def combinations(self) -> int:
        return math.prod(len(each.values) for each in self.parameters)

    def config(self, drawn: Mapping[str, Any]) -> TomlTable:
        """Return the run config of a trial: `drawn` is a number for each parameter."""
        made = copy.deepcopy(self.base)
        for parameter in self.parameters:
            for key in parameter.keys:
                place(made, key, copy.deepcopy(parameter.value(drawn[parameter.name])))
        return made

    def told(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """Return parameter → value."""
        return {each.name: each.value(drawn[each.name]) for each in self.parameters}

    def probes(self) -> Iterator[TomlTable]:
        """Yield configs in which every value of every parameter comes up: what must be readable."""
        first = {each.name: 0 if each.values else each.low for each in self.parameters}
        for parameter in self.parameters:
            places = range(len(parameter.values)) if parameter.values else parameter.examples
            for drawn in places:
                yield self.config(first | {parameter.name: drawn})


def read_sweep(path: str | Path, scale: Scale = "full", assignments: Iterable[str] = (),
               trials: int | None = None) -> Sweep:
    """Read a sweep; raise `ConfigError` with a sentence for every mistake in its own keys."""
    path = Path(path)
    table = read_toml(path)
    problems = [*key_problems(table, _KEYS, str(path), "a sweep", ("base", "parameters"))]
    if problems:
        raise ConfigError(problems)
    given = table["parameters"] | (table.get("pilot_parameters", {}) if scale == "pilot" else {})
    problems += [f"{path}: pilot_parameters.{key}: is no parameter{nearest(key, table['parameters'])}"
                 for key in table.get("pilot_parameters", {}) if key not in table["parameters"]]
    parameters = [_parameter(path, name, value, problems) for name, value in given.items()]
    sampler, pruner = table.get("sampler", "tpe"), table.get("pruner", "median")
    for key, value, known in (("sampler", sampler, SAMPLERS), ("pruner", pruner, PRUNERS)):
        if value not in known:
            expected = f"{' or '.join(known)}{nearest(value, known)}"
            problems.append(f'{path}: {key}: found "{value}", expected {expected}')
    if sampler == "grid":
        problems += [f"{path}: parameters.{each.name}: is a range; a grid needs a list of values"
                     for each in parameters if not each.values and each.keys]
    add_search_path((path.parent / table["base"]).parent)
    base = changed(read_toml(path.parent / table["base"]), str(path), scale, (table,))
    base = override(base, assignments)
    metrics = tuple(map(str, table.get("metrics", [OVERALL])))
    problems += _metric_problems(path, metrics, base.get("tasks", {}))
    if problems:
        raise ConfigError(problems)
    made = Sweep(path, titled(table, path, scale), base, tuple(parameters), sampler, 0, metrics,
                 pruner if len(metrics) == 1 else "none", tuple(map(str, table.get("notes", ()))))
    wanted = trials or table.get("trials", made.combinations if sampler == "grid" else 20)
    if wanted < 1:
        raise ConfigError(f"{path}: trials: found {wanted}, expected 1 or more")
    count = min(wanted, made.combinations) if sampler == "grid" else wanted
    return Sweep(**{**vars(made), "trials": count})


def _parameter(path: Path, name: str, value: Any, problems: list[str]) -> Parameter:
    where = f"{path}: parameters.{name}"
    keys: tuple[str, ...] = (name,)
    if isinstance(value, dict) and "keys" in value:
        keys = tuple(map(str, value["keys"])) if isinstance(value["keys"], list) else ()
        if not keys:
            problems.append(f"{where}.keys: found {value['keys']!r}, expected a list of dotted keys")
        value = value.get("values", {key: each for key, each in value.items() if key != "keys"})
    if isinstance(value, list) and value:
        return Parameter(name, keys, tuple(value))
    if isinstance(value, dict) and {"low", "high"} <= set(value) <= _RANGE:
        low, high, log = value["low"], value["high"], bool(value.get("log", False))
        if not all(isinstance(each, int | float) for each in (low, high)) or not low < high:
            problems.append(f"{where}: found low {low!r} and high {high!r}, expected two numbers, the "
                            "lower first")
        elif log and low <= 0:
            problems.append(f"{where}.low: found {low}, expected more than 0 with log = true")
        else:
            return Parameter(name, keys, (), low, high, log)
    else:
        problems.append(f"{where}: found {value!r}, expected a list of values, or a table of low, high "
                        "and perhaps log")
    return Parameter(name, ())


def _metric_problems(path: Path, metrics: Sequence[str], tasks: Mapping[str, Any]) -> Iterator[str]:
    for each in metrics:
        task, _, metric = each.partition(".")
        if each == OVERALL:
            continue
        if task not in tasks:
            yield f'{path}: metrics: "{task}" is no task{nearest(task, [*tasks, OVERALL])}'
        elif metric not in METRICS or not METRICS[metric].scalar:
            known = [name for name, found in METRICS.items() if found.scalar]
            yield f'{path}: metrics: "{metric}" is no metric of one number{nearest(metric, known)}'
    if len(set(metrics)) < len(metrics) or not metrics:
        yield f"{path}: metrics: found {list(metrics)!r}, expected different ones, at least one"


def grid(sweep: Sweep) -> Iterator[dict[str, int]]:
    """Yield every combination of a grid, as places in the lists."""
    places = [range(len(each.values)) for each in sweep.parameters]
    for drawn in itertools.product(*places):
        yield {each.name: place for each, place in zip(sweep.parameters, drawn, strict=True)}
