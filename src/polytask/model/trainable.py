"""What is trained, and how fast: decided from the names of parameters.

Layers are counted from 0, as the reports count them; a number that `encoder.layer_of` gives is one
higher, because there 0 stands for the embeddings. `parameter_groups` makes few groups for
`torch.optim`: parameters of one rate and one decay are together.

A rate of a task's own (T-27) is a rate: an update that steps for several tasks moves a layer at the
mean of their rates, and their gradients meet in the ratio of these. To plain SGD that is each task's
gradient at its own rate, exactly; an optimizer that divides by the size of its gradients, as Adam does,
keeps the rate because it stands outside the gradient. (A factor on the gradients alone would cancel.)
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from polytask.core.errors import ConfigError, nearest
from polytask.model.dropout import Dropout

Trainable = Literal["full", "frozen"] | tuple[int, ...]
Rates = Mapping[str, float]
ParameterGroups = list[dict[str, Any]]

# Keys of a table of rates beside the numbers of layers.
_EMBEDDINGS, _OTHER = "embeddings", "other"


def layers_problem(layers: Iterable[int], num_layers: int) -> str | None:
    """Return why `layers` are not layers of an encoder of `num_layers`, or None."""
    for layer in layers:
        if not 0 <= layer < num_layers:
            return (f"found layer {layer}, expected 0 to {num_layers - 1}: the encoder has "
                    f"{num_layers} layers, counted from 0")
    return None


def apart_problem(encoder: Any) -> str | None:
    """Return why the layers of an encoder cannot be trained differently, or None."""
    if not getattr(encoder, "shared_layers", False):
        return None
    return (f'the {encoder.num_layers} layers of "{encoder.kind}" share their weights, so none can '
            "have a rate of its own; remove layer_decay, layer_rates and lists of layers")


def rates_problem(rates: Mapping[str, float | Rates], num_layers: int | None,
                  tasks: Iterable[str] = ()) -> str | None:
    """Return why a table of layer rates, shared or by task, cannot be used, or None.

    Without `num_layers` (the encoder is not known yet) any layer number passes.
    """
    tables = {key: value for key, value in rates.items() if isinstance(value, Mapping)}
    tasks = tuple(tasks)
    for task, table in tables.items():
        if tasks and task not in tasks:
            return f'found a table for "{task}", expected tasks of this run{nearest(task, tasks)}'
        if mistake := _table_problem(table, num_layers):
            return f"{task}: {mistake}"
    plain = {key: value for key, value in rates.items() if not isinstance(value, Mapping)}
    if tables and plain:
        return ("found both rates and tables of tasks, expected one or the other; write the "
                "layers into each task's table")
    return _table_problem(plain, num_layers)


def _table_problem(table: Rates, num_layers: int | None) -> str | None:
    for key, factor in table.items():
        if key not in (_EMBEDDINGS, _OTHER) and not re.fullmatch(r"-?\d+", key):
            return (f'found "{key}", expected the number of a layer, "{_EMBEDDINGS}" or "{_OTHER}"'
                    f"{nearest(key, (_EMBEDDINGS, _OTHER))}")
        if not 0 <= factor < math.inf:
            return f"{key}: found {factor}, expected a factor of 0 or more"
    numbers = [int(key) for key in table if re.fullmatch(r"-?\d+", key)]
    return None if num_layers is None else layers_problem(numbers, num_layers)


def factor_of(rates: Rates, layer: int, num_layers: int) -> float:
    """Return the factor of what `layer_of` calls `layer`; what comes after the layers has 1."""
    if layer > num_layers:
        return 1.0
    key = str(layer - 1) if layer else _EMBEDDINGS
    return rates.get(key, rates.get(_OTHER, 1.0))


def trains(name: str, encoder: Trainable, layer: int, low_rank: bool = False) -> bool:
    """Return whether a parameter of the encoder is trained, told by its name and `layer_of`.

    `encoder`: everything, nothing (M-4, S-6), or only the layers listed (T-25: with the heads, no more).
    `low_rank`: the encoder carries LoRA, so its own weights stay as they are. Task adapters are
    trained whenever the encoder runs at all.
    """
    if name.startswith("adapter."):
        return encoder != "frozen"
    if low_rank and ".lora_" not in name:
        return False
    return encoder == "full" if isinstance(encoder, str) else layer - 1 in encoder


def set_trainable(model: Any, encoder: Trainable = "full") -> None:
    """Let gradients reach what is trained and nothing else; heads are always trained."""
    if not isinstance(encoder, str):
        mistake = layers_problem(encoder, model.encoder.num_layers) or apart_problem(model.encoder)
        if mistake:
            raise ConfigError(f"encoder.trainable: {mistake}")
    named = dict(model.encoder.named_parameters())
    low_rank = any(".lora_" in name for name in named)
    for name, parameter in named.items():
        parameter.requires_grad_(trains(name, encoder, model.encoder.layer_of(name), low_rank))


def frozen_depth(encoder: Any) -> int:
    """Return how many of the first layers, with the embeddings, no gradient reaches or passes through."""
    trained = [0 if name.startswith("adapter.") else encoder.layer_of(name)
               for name, parameter in encoder.named_parameters() if parameter.requires_grad]
    return min(max(min(trained, default=encoder.num_layers + 1) - 1, 0), int(encoder.num_layers))


def quiet_frozen_layers(encoder: Any, depth: int) -> None:
    """Switch off the dropout of the first `depth` layers and the embeddings; with none, of nothing."""
    if depth == 0:
        return
    for part in [encoder.embeddings, *(encoder.layer(k) for k in range(depth))]:
        for module in part.modules():
            if isinstance(module, Dropout):
                module.p = 0.0


def layer_rates(encoder: Any, layer_decay: float, rates: Rates) -> dict[str, float]:
    """Return the factor of every parameter of the encoder.

    Layer-wise decay is η^(k-1) = ξ η^k (Sun et al. 2019; T-23): the last layer has the full rate,
    the embeddings ξ to the number of layers. The pooler and adapters have the full rate.
    """
    if mistake := rates_problem(rates, encoder.num_layers):
        raise ConfigError(f"train.optimizer.layer_rates: {mistake}")
    if (rates or layer_decay != 1) and (mistake := apart_problem(encoder)):
        raise ConfigError(f"train.optimizer: {mistake}")
    factors = {}
    for name, _ in encoder.named_parameters():
        layer = encoder.num_layers + 1 if name.startswith("adapter.") else encoder.layer_of(name)
        below = max(encoder.num_layers - layer, 0)
        factors[name] = layer_decay**below * factor_of(rates, layer, encoder.num_layers)
    return factors


def parameter_groups(
    model: Any,
    lr: float,
    weight_decay: float = 0.0,
    *,
    layer_decay: float = 1.0,
    rates: Rates | None = None,
    head_lr: float | None = None,
    decay_norms_and_biases: bool = False,
    by_task: Mapping[str, Rates] | None = None,
) -> ParameterGroups:
    """Return what is trained as groups for `torch.optim`, each with its `names`.

    Heads, shared layers and task adapters have `head_lr` where it is given; what the layer rates
    set to 0 is in no group. Without `decay_norms_and_biases` vectors are not decayed. `by_task` is
    task → factor of every parameter of the encoder (`task_factors`); a group of which a factor is not
    1 has them as `task_rates`, for `mixed_rate`.
    """
    factors = layer_rates(model.encoder, layer_decay, rates or {})
    by_task = by_task or {}
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        inner = name.removeprefix("encoder.")
        own = inner == name or inner.startswith("adapter.")
        rate = (head_lr or lr) if own else lr * factors[inner]
        if not parameter.requires_grad or rate == 0:
            continue
        decay = weight_decay if decay_norms_and_biases or parameter.dim() > 1 else 0.0
        own_rates = {} if own else {task: table[inner] for task, table in by_task.items()}
        group = groups.setdefault((rate, decay, *own_rates.values()), {
            "params": [], "names": [], "lr": rate, "weight_decay": decay})
        if any(factor != 1.0 for factor in own_rates.values()):
            group["task_rates"] = own_rates
        group["params"].append(parameter)
        group["names"].append(name)
    return list(groups.values())


def rest(model: Any, groups: ParameterGroups) -> list[Any]:
    """Let no gradient reach what is in no group, and return it.

    A gradient that no step clears would grow, count in the norm and meet the gradients of the tasks.
    """
    stepped = {id(parameter) for group in groups for parameter in group["params"]}
    resting = [parameter for parameter in model.parameters()
               if parameter.requires_grad and id(parameter) not in stepped]
    for parameter in resting:
        parameter.requires_grad_(False)
    return resting


def task_factors(model: Any, rates: Mapping[str, Rates],
                 tasks: Iterable[str]) -> dict[str, dict[str, float]]:
    """Return task → the factor of every parameter of the encoder; empty where no task has a table."""
    if mistake := rates_problem(rates, model.encoder.num_layers, tasks := tuple(tasks)):
        raise ConfigError(f"train.optimizer.layer_rates: {mistake}")
    if not any(task in rates for task in tasks):
        return {}
    return {task: layer_rates(model.encoder, 1.0, rates.get(task, {})) for task in tasks}


def mixed_rate(rates: Mapping[str, float], tasks: Iterable[str]) -> float:
    """Return the factor of a rate in an update of `tasks`: the mean of theirs, 1 for one not named."""
    factors = [rates.get(task, 1.0) for task in tasks]
    return factors[0] if len(set(factors)) == 1 else sum(factors) / len(factors)


def relative_rate(rates: Mapping[str, float], task: str, tasks: Iterable[str]) -> float:
    """Return a task's factor over the mixed one of the update: what its gradient is multiplied by."""
    mixed = mixed_rate(rates, tasks)
    return rates.get(task, 1.0) / mixed if mixed else 1.0
