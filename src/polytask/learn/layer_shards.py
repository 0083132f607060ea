"""Encoders too large for one process: FSDP2 spreads each layer's weights over the processes.

A layer's weights, gradients and optimizer state are cut along their first dimension; FSDP2 gathers a layer
for its forward and its backward and sums gradients piece by piece. Embeddings, pooler and heads stay whole
in every process (so the word table can still stand for its rows), and their gradients are summed with the
others of `polytask.learn.step`. What is saved is whole, so any number of processes resumes it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from polytask.core.processes import Processes
from polytask.model.flat_encoder import SelfAttention
from polytask.model.multitask import MultiTask
from polytask.model.trainable import ParameterGroups

# Their updates are one element at a time, so that a piece of a weight is updated like the whole.
OPTIMIZERS = ("adamw", "adam", "sgd")


def shard(model: MultiTask, processes: Processes) -> MultiTask | None:
    """Spread a model's layers over the processes; return a whole copy to the process that writes models."""
    # Here, for FSDP takes a while to import.
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    processes.broadcast_([weight.detach() for weight in model.state_dict().values()])
    whole = copy.deepcopy(model) if processes.writes else None
    mesh = init_device_mesh(next(model.parameters()).device.type, (processes.world,))
    for layer in model.encoder.layers:
        for part in layer.modules():
            if isinstance(part, SelfAttention):
                part.apart = True
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
        # Losses are already means over the rows of all processes: their gradients are summed.
        layer.set_gradient_divide_factor(1.0)
        layer.set_force_sum_reduction_for_comms(True)
    model.sharded = True
    return whole


def is_shard(tensor: Tensor) -> bool:
    """Return whether a tensor is spread over the processes."""
    return hasattr(tensor, "to_local")


def local(tensor: Tensor) -> Tensor:
    """Return this process's piece of a tensor, to be read and changed in place; of a whole one, itself."""
    spread: Any = tensor
    return spread.to_local().detach() if is_shard(tensor) else tensor


def placed(piece: Tensor, like: Tensor) -> Tensor:
    """Return this process's piece of a tensor that is spread as `like` is; `piece` if that is whole."""
    if not is_shard(like) or is_shard(piece):
        return piece
    from torch.distributed.tensor import DTensor

    assert isinstance(like, DTensor)
    return DTensor.from_local(piece, like.device_mesh, like.placements, run_check=False, shape=like.shape,
                              stride=like.stride())


def gathered(value: Any) -> Any:
    """Return a nested state with every tensor whole; all processes call this."""
    if isinstance(value, Tensor) and is_shard(value):
        spread: Any = value
        return spread.full_tensor().detach().cpu()
    if isinstance(value, Mapping):
        return {key: gathered(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(gathered(entry) for entry in value)
    return value


def parted(whole: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor spread as `like` is, each process taking its piece of what it has."""
    if not is_shard(like) or whole.shape != like.shape:
        return whole
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    return distribute_tensor(whole.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def groups_apart(groups: ParameterGroups) -> ParameterGroups:
    """Return an optimizer's groups with the layers' weights in groups of their own.

    No fused kernel takes spread and whole weights together; and the groups, by whose order a checkpoint
    knows the optimizer's state, are the same whatever the number of processes.
    """
    apart: ParameterGroups = []
    for group in groups:
        pairs = list(zip(group["names"], group["params"], strict=True))
        for of_layers in (False, True):
            if chosen := [pair for pair in pairs if pair[0].startswith("encoder.layers.") == of_layers]:
                names, parameters = zip(*chosen, strict=True)
                apart.append(group | {"names": list(names), "params": list(parameters)})
    return apart


def parted_model(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return a model's whole state as the model has it."""
    own = model.state_dict()
    return {name: parted(value, own[name]) if name in own else value for name, value in state.items()}


def parted_optimizer(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return an optimizer's whole state as its parameters are spread."""
    parameters: Sequence[Tensor] = [p for group in optimizer.param_groups for p in group["params"]]
    return {**state, "state": {
        number: {key: parted(value, parameters[int(number)]) if isinstance(value, Tensor) else value
                 for key, value in entry.items()}
        for number, entry in state["state"].items()}}
