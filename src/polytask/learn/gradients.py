"""The gradients of one update: taken one task at a time, put back, clipped.

During an update each word table stands for the rows that the update reads
(`polytask.model.sparse_embedding`), so the gradient of a table is a small matrix of those rows, and a
dense one only where a penalty acts on the whole table. `settle` gives the optimizer the gradients that
the plain network would have had.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from polytask.core.processes import ALONE, Processes
from polytask.learn.gramian import Gradient, RowGradient
from polytask.learn.layer_shards import is_shard, local, placed
from polytask.learn.surgery.contract import GradientRule
from polytask.model.multitask import MultiTask
from polytask.model.sparse_embedding import SparseEmbedding


class Gradients:
    """The gradients of all trainable parameters of some modules."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        self._tables = {id(part.weight): part for module in modules for part in module.modules()
                        if isinstance(part, SparseEmbedding) and part.weight.requires_grad}

    def narrow(self, ids: Iterable[Tensor]) -> None:
        """Let the tables stand for the rows of `ids`: the tokens of all the update's batches."""
        if self._tables and (rows_read := [row_ids.flatten() for row_ids in ids]):
            for table in self._tables.values():
                table.narrow(torch.cat(rows_read))

    def of(self, parameter: nn.Parameter) -> list[Tensor]:
        """Return what holds the gradient of a parameter, to be changed in place."""
        table = self._tables.get(id(parameter))
        both = (parameter.grad, table.leaf.grad if table and table.narrowed else None)
        return [local(gradient) for gradient in both if gradient is not None]

    def unsummed(self) -> list[Tensor]:
        """Return the gradients that are not summed over the processes yet: those of whole parameters."""
        return [gradient for p in self.parameters if not is_shard(p) for gradient in self.of(p)]

    def take(self, parameter: nn.Parameter) -> Gradient:
        """Return the gradient of a parameter and leave it without one."""
        table = self._tables.get(id(parameter))
        dense, parameter.grad = parameter.grad, None
        if dense is not None:
            dense = local(dense)
        if table is None or table.rows is None or table.leaf.grad is None:
            return dense
        values, table.leaf.grad = table.leaf.grad, None
        if dense is None:
            return RowGradient(table.rows, values, len(parameter))
        return dense.index_add_(0, table.rows, values)

    def put(self, parameter: nn.Parameter, gradient: Gradient) -> None:
        """Give a parameter a gradient, one that was taken or a sum of such."""
        if isinstance(gradient, RowGradient):
            table = self._tables[id(parameter)]
            assert gradient.rows is table.rows
            table.leaf.grad = gradient.values
        else:
            parameter.grad = None if gradient is None else placed(gradient, parameter)

    def norm(self, processes: Processes = ALONE) -> Tensor:
        """Return the norm of the whole gradient, 0-dim: not finite where an entry is not."""
        for table in self._tables.values():
            if table.weight.grad is not None:  # both parts of one gradient: their sum has the norm
                table.widen()
        pieces = [gradient for p in self.parameters if is_shard(p) for gradient in self.of(p)]
        norm = total_norm([gradient for p in self.parameters if not is_shard(p) for gradient in self.of(p)])
        if not any(is_shard(p) for p in self.parameters):
            return norm
        squared = total_norm(pieces).double().square()
        processes.sum_([squared])
        return (norm.double().square() + squared).sqrt()

    def clip(self, limit: float, norm: Tensor) -> None:
        """Scale all gradients, whose norm is `norm`, to a norm of at most `limit`.

        Formula: the factor limit / (norm + 1e-6), as torch's clipping has it, unless that is 1 or more.
        """
        gradients = [gradient for p in self.parameters for gradient in self.of(p)]
        if norm.device.type != "cpu":  # to look at the factor would wait for the device
            factor_there = (limit / (norm + 1e-6)).clamp(max=1.0)
            for device in {gradient.device for gradient in gradients}:  # torchjd's weights stay on the CPU
                torch._foreach_mul_([gradient for gradient in gradients if gradient.device == device],
                                    factor_there.to(device))
        elif gradients and (factor := limit / (float(norm) + 1e-6)) < 1:
            torch._foreach_mul_(gradients, factor)

    def settle(self) -> None:
        """Let the tables stand for themselves, with the gradient of their rows in `weight.grad`."""
        for table in self._tables.values():
            table.widen()

    def __iter__(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that have a gradient."""
        return (p for p in self.parameters if self.of(p))


def total_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Return the norm of all entries of some tensors, 0-dim."""
    return nn.utils.get_total_norm(tensors, foreach=True) if tensors else torch.zeros(())


def trained_by_several(model: MultiTask, tasks: Sequence[str]) -> list[nn.Parameter]:
    """Return the trained parameters that more than one of the tasks can have a gradient for."""
    return [p for p in model.shared_parameters(list(tasks)) if p.requires_grad]


def operated(surgery: GradientRule | None, model: MultiTask, shared: Sequence[nn.Parameter]) -> list[int]:
    """Return the indices of the shared parameters that surgery acts on; without one, all."""
    if surgery is None or surgery.layers is None:
        return list(range(len(shared)))
    encoder = model.encoder
    layer = {id(p): encoder.layer_of(name) - 1 for name, p in encoder.named_parameters()
             if not name.startswith("adapter")}
    return [i for i, p in enumerate(shared) if layer.get(id(p)) in surgery.layers]
