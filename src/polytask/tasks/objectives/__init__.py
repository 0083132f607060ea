"""Objectives: a task's loss. A list of them is their weighted sum.

Every objective is computed in fp32, also under autocast.
"""

from polytask.tasks.objectives.contract import Objective, objective, total
from polytask.tasks.objectives.contrastive import CosineEmbedding, MultipleNegatives, SimCSE
from polytask.tasks.objectives.pointwise import (
    BinaryCrossEntropy,
    CrossEntropy,
    MeanSquaredError,
    OrdinalLogLoss,
)

__all__ = [
    "BinaryCrossEntropy", "CosineEmbedding", "CrossEntropy", "MeanSquaredError",
    "MultipleNegatives", "Objective", "OrdinalLogLoss", "SimCSE", "objective", "total",
]
