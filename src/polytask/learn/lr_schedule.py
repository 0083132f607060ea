"""The learning rate over the updates: up during the warmup, then constant or down to 0 (S-16)."""

from __future__ import annotations

import math

from polytask.learn.optimizers import Optimizer


def lr_factor(settings: Optimizer, step: int, num_steps: int) -> float:
    """Return the factor of every learning rate at update `step`, counted from 0, of `num_steps`."""
    rising = round(settings.warmup * num_steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    if settings.lr_schedule == "constant":
        return 1.0
    done = (step - rising) / max(num_steps - rising, 1)
    return 1 - done if settings.lr_schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
