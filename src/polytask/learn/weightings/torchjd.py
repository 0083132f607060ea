"""torchjd's scalarizers as weightings: `"torchjd:DWA"`, `{ type = "torchjd:STCH", mu = 0.5 }`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from polytask.learn import torchjd_rules
from polytask.learn.weightings.contract import Weighting, WeightingModule, weighting


def _load() -> Any:
    import torchjd.scalarization

    return torchjd.scalarization


RULES = torchjd_rules.TorchJDRules("scalarizer", _load, torch.ones)


class ScalarizedWeights(WeightingModule):
    """A scalar function of the losses, taken apart into one term a task.

    With v the scalarizer's value and a_t = ∂v/∂l_t, task t is given a_t l_t plus an equal part of
    what is left of v. The terms add up to v, and the gradient of each is what v owes to that task,
    so surgery can act between them.
    """

    affine = False

    def __init__(self, tasks: Sequence[str], scalarizer: nn.Module) -> None:
        super().__init__(tasks)
        self.scalarizer = scalarizer
        self.wants_new_losses = hasattr(scalarizer, "update")  # FAMO learns from before and after
        self.factors: dict[str, float] = {}

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        present = [task for task in self.tasks if task in losses]
        leaves = torch.stack([losses[task].detach().float().cpu() for task in present])
        value = self.scalarizer(leaves.requires_grad_())
        (factors,) = torch.autograd.grad(value, leaves, retain_graph=True)
        rest = (value - (factors * leaves).sum()).detach() / len(present)
        self.factors = dict(zip(present, factors.tolist(), strict=True))
        weighted = {task: losses[task].float() * self.factors[task] + rest.to(losses[task].device)
                    for task in present}
        if any(p.requires_grad for p in self.scalarizer.parameters()):
            # Zero, with the gradient of the scalarizer's own parameters.
            first = weighted[present[0]]
            weighted[present[0]] = first + (value - value.detach()).to(first.device)
        return weighted

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ScalarizedWeights:
        return self  # T numbers, some in plain attributes that `to` would miss: kept on the CPU

    def after_step(self, losses: Mapping[str, Tensor]) -> None:
        if self.wants_new_losses:
            values = torch.stack([losses[task].detach().float().cpu() for task in self.tasks])
            self.scalarizer.update(values)  # type: ignore[operator]

    def after_epoch(self) -> None:
        if hasattr(self.scalarizer, "step"):  # DWA compares the losses of epochs
            self.scalarizer.step()  # type: ignore[operator]

    def report(self) -> dict[str, dict[str, float]]:
        return {"weight": dict(self.factors)}

    def get_extra_state(self) -> dict[str, Any]:
        return torchjd_rules.hidden(self.scalarizer)

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        torchjd_rules.reveal(self.scalarizer, state, self._prime)

    def _prime(self) -> None:
        ones = torch.ones(len(self.tasks))
        self.scalarizer(ones)
        if self.wants_new_losses:
            self.scalarizer.update(ones)  # type: ignore[operator]


@weighting
class TorchJDScalarizer(Weighting):
    """Any scalarizer of torchjd, named "torchjd:NAME", with its options beside the type.

    Formula: the scalarizer's; the losses are its values, in the order of the tasks.

    Inputs: 0-dim losses. An option with a value for each task is a list or a table {task = value};
    the number of tasks is filled in.

    Source: torchjd 0.18, `torchjd.scalarization`.

    Departs: FAMO's `update` is given the losses of the same rows after the step, DWA's `step` is
    called at the end of an epoch.
    """

    rule: str
    """The scalarizer: DWA, FAMO, UW, IMTLL, STCH, GeometricMean, …"""
    options: dict[str, Any] = field(default_factory=dict)
    """Its options by name."""

    name = "torchjd"

    def __post_init__(self) -> None:
        RULES.find(self.rule, self.options)

    def table(self) -> dict[str, Any]:
        """Return the component as it stands in a config."""
        own = {"type": f"torchjd:{self.rule}", **self.options}
        return own if self.lr is None else own | {"lr": self.lr}

    def build(self, tasks: Sequence[str], kinds: Mapping[str, str]) -> WeightingModule:
        cls = RULES.find(self.rule, self.options)
        return ScalarizedWeights(tasks, torchjd_rules.build(cls, self._options(cls), tasks))

    def _options(self, cls: type[nn.Module]) -> dict[str, Any]:
        """Return the options; `lr` is also that of a scalarizer which steps by itself."""
        if self.lr is None or "lr" not in torchjd_rules.parameters(cls):
            return self.options
        return {**self.options, "lr": self.lr}

    def problem(self, tasks: Sequence[str], min_tasks_per_step: int | None = None) -> str | None:
        return RULES.misfit(self.rule, self.options, tasks, min_tasks_per_step)


def read(name: str, fields: Mapping[str, Any]) -> TorchJDScalarizer:
    """Return "torchjd:name" with the fields of its table."""
    options = {key: value for key, value in fields.items() if key != "lr"}
    RULES.find(name, options)
    own = {"lr": fields["lr"]} if "lr" in fields else {}
    return TypeAdapter(TorchJDScalarizer).validate_python({"rule": name, "options": options, **own})


weighting.reads("torchjd", read)
