"""Where a training is, as a handful of numbers."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Position:
    """Where training is: enough, with the seed, to find every later step again."""

    phase: int = 0
    epoch: int = 0
    index: int = 0      # steps of this epoch that are done
    step: int = 0       # updates done in this phase
    total: int = 0      # updates done in all phases
    evaluated: int = -1  # `total` at the last evaluation
    since_best: int = 0
    best: float | None = None
    best_of: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    tokens: int = 0
