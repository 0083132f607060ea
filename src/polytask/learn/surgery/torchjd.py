"""torchjd's aggregators as surgery: `"torchjd:UPGrad"`, `{ type = "torchjd:CAGrad", c = 0.4 }`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Generator, Tensor

from polytask.learn import torchjd_rules
from polytask.learn.surgery.contract import GradientRule, Surgery, surgery


def _load() -> Any:
    import torchjd.aggregation

    return torchjd.aggregation


RULES = torchjd_rules.TorchJDRules("aggregator", _load, torch.eye)


class Aggregation(GradientRule):
    """An aggregator of torchjd at work on the gradients of some tasks, with what it remembers."""

    def __init__(self, settings: TorchJDAggregator, tasks: Sequence[str]) -> None:
        cls = RULES.find(settings.rule, settings.options)
        self.every, self.layers = settings.every, settings.layers
        self.uses_gramian = issubclass(cls, _load().GramianWeightedAggregator)
        self._aggregator: Any = torchjd_rules.build(cls, settings.options, tasks)
        self._num_tasks = len(tasks)

    def weights(self, gramian: Tensor, generator: Generator) -> Tensor:
        torchjd_rules.move(self._aggregator, gramian.device)
        return _drawing_from(generator, gramian.device, lambda: self._aggregator.gramian_weighting(gramian))

    def combine(self, matrix: Tensor, generator: Generator) -> Tensor:
        torchjd_rules.move(self._aggregator, matrix.device)
        return _drawing_from(generator, matrix.device, lambda: self._aggregator(matrix))

    def state_dict(self) -> dict[str, Any]:
        return torchjd_rules.hidden(self._aggregator)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state:
            eye = torch.eye(self._num_tasks)
            torchjd_rules.reveal(self._aggregator, state, lambda: self._aggregator(eye))


@surgery
class TorchJDAggregator(Surgery):
    """Any aggregator of torchjd, named "torchjd:NAME", with its options beside the type.

    Formula: the aggregator's; one that weighs by the Gramian is given ours, so that no matrix of
    all gradients is formed.

    Inputs: the Gramian (T, T) where the aggregator needs no more, else the gradients (T, P). An
    option with a value for each task is a list or a table {task = value}; the number of tasks is
    filled in.

    Source: torchjd 0.18, `torchjd.aggregation`.
    """

    rule: str
    """The aggregator: UPGrad, CAGrad, MGDA, NashMTL, IMTLG, AlignedMTL, GradVac, …"""
    options: dict[str, Any] = field(default_factory=dict)
    """Its options by name."""

    name = "torchjd"

    def __post_init__(self) -> None:
        RULES.find(self.rule, self.options)

    def table(self) -> dict[str, Any]:
        """Return the component as it stands in a config."""
        own = {"every": self.every, "layers": None if self.layers is None else list(self.layers)}
        return {"type": f"torchjd:{self.rule}", **self.options} | {
            key: value for key, value in own.items() if value is not None}

    def build(self, tasks: Sequence[str]) -> GradientRule:
        return Aggregation(self, tasks)

    def problem(self, tasks: Sequence[str], min_tasks_per_step: int | None = None) -> str | None:
        return RULES.misfit(self.rule, self.options, tasks, min_tasks_per_step)


def _drawing_from(generator: Generator, device: torch.device, compute: Callable[[], Tensor]) -> Tensor:
    """Compute with torch's global randomness, here and on `device`, seeded by a draw from `generator`."""
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.default_generators[device.index].manual_seed(seed)
        return compute()


def read(name: str, fields: Mapping[str, Any]) -> TorchJDAggregator:
    """Return "torchjd:name" with the fields of its table."""
    own = {key: fields[key] for key in ("every", "layers") if key in fields}
    options = {key: value for key, value in fields.items() if key not in own}
    RULES.find(name, options)
    return TypeAdapter(TorchJDAggregator).validate_python({"rule": name, "options": options, **own})


surgery.reads("torchjd", read)
