"""Which task when: schedules are pure functions from sizes to steps.

`python -m polytask.learn.schedules` prints the first steps of each.
"""

from polytask.learn.schedules.contract import Schedule, Step, epoch_random, schedule
from polytask.learn.schedules.drawn import Annealed, Biased, Proportional
from polytask.learn.schedules.preview import Preview, preview, strip
from polytask.learn.schedules.rounds import (
    Balanced,
    BatchRoundRobin,
    EpochRoundRobin,
    FullData,
    Merged,
    Sequential,
)

__all__ = [
    "Annealed", "Balanced", "BatchRoundRobin", "Biased", "EpochRoundRobin", "FullData", "Merged",
    "Preview", "Proportional", "Schedule", "Sequential", "Step", "epoch_random", "preview",
    "schedule", "strip",
]
