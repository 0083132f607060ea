"""How the losses of the tasks become one: plain, fixed, learned, or by torchjd's scalarizers."""

from polytask.learn.weightings.contract import Weighting, WeightingModule, weighting
from polytask.learn.weightings.ours import (
    Automatic,
    Fixed,
    Homoscedastic,
    Kendall,
    Learnable,
    Sum,
    Uncertainty,
)
from polytask.learn.weightings.theirs import Torchjd

__all__ = [
    "Automatic", "Fixed", "Homoscedastic", "Kendall", "Learnable", "Sum", "Torchjd", "Uncertainty",
    "Weighting", "WeightingModule", "weighting",
]
