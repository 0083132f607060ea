"""`train.optimizer`: which of torch's optimizers, with which rates, and how the rates run.

Source: the reports' AdamW, in surgery with decay (G-7); surgery §7 names Adagrad, RMSProp and SGD as not
tried (G-24).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn

from polytask.core.errors import listed, nearest
from polytask.core.settings import problem, settings
from polytask.model.trainable import (
    ParameterGroups,
    apart_problem,
    parameter_groups,
    rates_problem,
    task_factors,
)

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]

# What the settings below give, and what would change how the loop calls the optimizer.
_OURS = {"self", "params", "lr", "weight_decay"}
# Need a closure, a sparse gradient or matrices only: the loop cannot drive them.
_UNUSABLE = {"Optimizer", "LBFGS", "SparseAdam", "Muon"}
# Have a form in which one kernel updates everything, on every device.
_FUSED = ("adamw", "adam", "sgd")


@settings
class Optimizer:
    """The optimizer, its learning rates and their schedule."""

    type: str = "adamw"
    """adamw, or any other of torch.optim in small letters: adam, sgd, adagrad, rmsprop, nadam, …"""
    lr: Rate = 2e-5
    """The peak learning rate of the encoder's last layer, and of the heads without `head_lr`."""
    head_lr: Rate | None = None
    """The peak learning rate of heads, shared layers and task adapters; absent: `lr`."""
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
    """Weight decay, in the form the optimizer has (rprop has none)."""
    decay_norms_and_biases: bool = False
    """Whether vectors (biases, the weights of norms) decay as matrices do."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Each layer's rate over that of the layer above it."""
    layer_rates: dict[str, float | dict[str, float]] = Field(default_factory=dict)
    """Factor of a layer's rate by its number (or "embeddings", or "other": all not named). A table
    for each task gives it rates of its own: an update moves a layer at the mean of its tasks' rates, and
    their gradients are added up in the ratio of these (T-27)."""
    warmup: Share = 0.1
    """Share of the updates over which the rates rise from 0."""
    lr_schedule: Literal["constant", "linear", "cosine"] = "linear"
    """What the rates do after the warmup: stay constant, or fall to 0 along a line or half a cosine."""
    clip: Rate | None = None
    """The largest norm of the whole gradient; absent: unlimited."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of the torch optimizer: { momentum = 0.9 }, { betas = [0.9, 0.98] }."""

    def __post_init__(self) -> None:
        if mistake := _type_problem(self.type) or _options_problem(self.type, self.options):
            raise problem(mistake)
        if mistake := rates_problem(self.layer_rates, None):
            raise problem(f"layer_rates: {mistake}")

    @property
    def per_task(self) -> dict[str, Mapping[str, float]]:
        """The tables of `layer_rates` that belong to tasks."""
        return {key: value for key, value in self.layer_rates.items() if isinstance(value, Mapping)}

    def problem(self, tasks: Iterable[str], encoder: Any = None) -> str | None:
        """Return why these settings cannot serve these tasks, on this encoder once it is known, or None."""
        layers = None if encoder is None else encoder.num_layers
        if mistake := rates_problem(self.layer_rates, layers, tasks):
            return f"layer_rates: {mistake}"
        if self.layer_rates or self.layer_decay != 1:
            key = "layer_rates" if self.layer_rates else "layer_decay"
            return f"{key}: {mistake}" if (mistake := apart_problem(encoder)) else None
        return None

    def groups(self, model: Any, tasks: Iterable[str] = ()) -> ParameterGroups:
        """Return the trained parameters in groups of one rate and one decay, with their `names`.

        A group whose rate depends on the tasks of an update has each task's factor in `task_rates`.
        """
        plain = {key: value for key, value in self.layer_rates.items()
                 if not isinstance(value, Mapping)}
        return parameter_groups(
            model, self.lr, self.weight_decay, layer_decay=self.layer_decay, rates=plain,
            head_lr=self.head_lr, decay_norms_and_biases=self.decay_norms_and_biases,
            by_task=task_factors(model, self.per_task, tasks),
        )

    def build(self, groups: ParameterGroups) -> torch.optim.Optimizer:
        """Return torch's optimizer over the groups, in its fused form where it has one."""
        cls = _classes()[self.type]
        options = _values(self.options)
        if self.type in _FUSED and not options.keys() & {"fused", "foreach", "differentiable"}:
            options["fused"] = True
        return cls(groups, lr=self.lr, **options)  # type: ignore[no-any-return]


def _classes() -> dict[str, Any]:
    """Return torch's optimizers by our names: AdamW is "adamw", RMSprop "rmsprop"."""
    return {name.lower(): optimizer for name in dir(torch.optim)
            if inspect.isclass(optimizer := getattr(torch.optim, name))
            and issubclass(optimizer, torch.optim.Optimizer) and name not in _UNUSABLE}


def _type_problem(name: str) -> str | None:
    known = _classes()
    if name in known:
        return None
    return (f'type: "{name}" is not an optimizer{nearest(name, known)} '
            f"(expected one of {', '.join(sorted(known))})")


def _options_problem(name: str, options: Mapping[str, Any]) -> str | None:
    known = [key for key in inspect.signature(_classes()[name]).parameters if key not in _OURS]
    for key in options:
        if key in ("lr", "weight_decay"):
            return f'options.{key}: belongs beside "options", not in it'
        if key not in known:
            hint = nearest(key, known) or f"; expected one of {listed(known)}"
            return f"options.{key}: is not an argument of torch's {name}{hint}"
    if not options:  # building one imports torch's compiler, which takes a second
        return None
    try:
        _classes()[name]([nn.Parameter(torch.zeros(1))], lr=1.0, **_values(options))
    except (TypeError, ValueError, RuntimeError) as error:
        return f"options: torch's {name} refuses them ({str(error).splitlines()[0]})"
    return None


def _values(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as torch wants them: what is a list in TOML is a tuple there."""
    return {key: tuple(value) if isinstance(value, list) else value
            for key, value in options.items()}
