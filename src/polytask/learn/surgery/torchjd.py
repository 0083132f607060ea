"""torchjd's aggregators as surgery: `"torchjd:UPGrad"`, `{ type = "torchjd:CAGrad", c = 0.4 }`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Generator, Tensor, nn

from polytask.learn import torchjd_rules
from polytask.learn.surgery.contract import Surgery, surgery


def _load() -> Any:
    import torchjd.aggregation

    return torchjd.aggregation


RULES = torchjd_rules.TorchJDRules("aggregator", _load, torch.eye)


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
        cls = RULES.find(self.rule, self.options)
        object.__setattr__(self, "uses_gramian", issubclass(cls, _load().GramianWeightedAggregator))
        object.__setattr__(self, "needs_every_task", torchjd_rules.takes_task_values(cls, self.options))

    def table(self) -> dict[str, Any]:
        """Return the component as it stands in a config."""
        own = {"every": self.every, "layers": None if self.layers is None else list(self.layers)}
        return {"type": f"torchjd:{self.rule}", **self.options} | {
            key: value for key, value in own.items() if value is not None}

    def build(self, tasks: Sequence[str]) -> TorchJDAggregator:
        made = copy.copy(self)
        cls = RULES.find(self.rule, self.options)
        object.__setattr__(made, "_aggregator", torchjd_rules.build(cls, self.options, tasks))
        object.__setattr__(made, "_num_tasks", len(tasks))
        return made

    def weights(self, gramian: Tensor, generator: Generator) -> Tensor:
        weigh: Any = self._built(len(gramian)).gramian_weighting
        return _drawing_from(generator, lambda: weigh(gramian))

    def combine(self, matrix: Tensor, generator: Generator) -> Tensor:
        aggregator = self._built(len(matrix))
        return _drawing_from(generator, lambda: aggregator(matrix))

    def _built(self, tasks: int) -> nn.Module:
        """Return the aggregator that remembers, or a new one where none was built for the tasks."""
        held: nn.Module | None = getattr(self, "_aggregator", None)
        if held is not None:
            return held
        return torchjd_rules.build(RULES.find(self.rule, self.options), self.options, tasks)

    def problem(self, tasks: Sequence[str], min_tasks_per_step: int | None = None) -> str | None:
        return RULES.misfit(self.rule, self.options, tasks, min_tasks_per_step)

    def state_dict(self) -> dict[str, Any]:
        return torchjd_rules.hidden(self._built(0)) if hasattr(self, "_aggregator") else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state:
            eye = torch.eye(self._num_tasks)  # type: ignore[attr-defined]
            aggregator = self._built(len(eye))
            torchjd_rules.reveal(aggregator, state, lambda: aggregator(eye))


def _drawing_from(generator: Generator, compute: Callable[[], Tensor]) -> Tensor:
    """Compute with torch's global randomness on the CPU seeded by a draw from `generator`."""
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return compute()


def read(name: str, fields: Mapping[str, Any]) -> TorchJDAggregator:
    """Return "torchjd:name" with the fields of its table."""
    own = {key: fields[key] for key in ("every", "layers") if key in fields}
    options = {key: value for key, value in fields.items() if key not in own}
    RULES.find(name, options)
    return TypeAdapter(TorchJDAggregator).validate_python({"rule": name, "options": options, **own})


surgery.reads("torchjd", read)
