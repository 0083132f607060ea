"""Stops a training at NaN or infinity, before it reaches the weights, a score or a checkpoint."""

from __future__ import annotations

import math

from polytask.core.errors import Diverged
from polytask.core.processes import Processes
from polytask.learn.gradients import total_norm
from polytask.learn.layer_shards import local
from polytask.learn.step import StepRecord
from polytask.model.multitask import MultiTask


def check_update(record: StepRecord, step: int) -> None:
    """Raise `Diverged` if a loss, a penalty or the gradient of the next update, `step`, is not finite."""
    for what, values in (("loss of task", record.losses), ("penalty", record.penalties)):
        for name, value in values.items():
            if not math.isfinite(value):
                raise _diverged(f'the {what} "{name}" is {value}', step)
    if not math.isfinite(record.norm):
        raise _diverged(f"the norm of the gradient is {record.norm}", step)


def check_weights(model: MultiTask, processes: Processes, step: int) -> None:
    """Raise `Diverged` if a weight is not finite after update `step`: one reduction over all of them."""
    norm = float(total_norm([local(p.detach()) for p in model.parameters() if p.requires_grad]))
    if processes.any(not math.isfinite(norm)):
        raise _diverged(f"the norm of the weights is {norm} after it", step)


def _diverged(what: str, step: int) -> Diverged:
    return Diverged(f"step {step}: {what}, so training stopped; "
                    "a lower train.optimizer.lr or train.optimizer.clip = 1.0 often helps")
