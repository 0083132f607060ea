"""polytask: one BERT-family encoder trained jointly on many sentence-level tasks.

    import polytask as pk

    run = pk.Run.from_toml("three.toml")
    result = run.train("runs/first")
    model = pk.load("runs/first")
    model.predict("quora", [("How old are you?", "What is your age?")])

Names are imported when they are first used, so that `import polytask` does no work.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polytask.comparing import compare
    from polytask.core.errors import (
        CheckpointError,
        ConfigError,
        DataError,
        Diverged,
        Interrupted,
        PolytaskError,
        RunError,
    )
    from polytask.core.labels import Labels
    from polytask.learn.optimizers import Optimizer
    from polytask.learn.plan import Train
    from polytask.learn.regularizers import SMART, Norm, regularizer
    from polytask.learn.schedules import (
        Annealed,
        Balanced,
        BatchRoundRobin,
        Biased,
        EpochRoundRobin,
        FullData,
        Merged,
        Proportional,
        Sequential,
        schedule,
    )
    from polytask.learn.surgery import PCGrad, surgery
    from polytask.learn.weightings import (
        Automatic,
        Fixed,
        Homoscedastic,
        Kendall,
        Learnable,
        Sum,
        Uncertainty,
        weighting,
    )
    from polytask.model.adapters import PAL, LoRA, adapter
    from polytask.model.heads import MLP, Cosine, Linear, Shared, head
    from polytask.model.output import Output
    from polytask.model.pairing import Packed, Separate, Single, Twin, pairing
    from polytask.model.pooling import Cls, Max, Mean, Pooler, pooling
    from polytask.reporting import report
    from polytask.run import Data, Encoder, Run
    from polytask.ship.predict import Model, Prediction, load
    from polytask.sweeping import sweep
    from polytask.tasks.metrics import metric
    from polytask.tasks.objectives import (
        BinaryCrossEntropy,
        CosineEmbedding,
        CrossEntropy,
        MeanSquaredError,
        MultipleNegatives,
        OrdinalLogLoss,
        SimCSE,
        objective,
    )
    from polytask.tasks.task import Task

_PLACES = {
    "comparing": "compare",
    "core.errors": "CheckpointError ConfigError DataError Diverged Interrupted PolytaskError RunError",
    "core.labels": "Labels",
    "learn.optimizers": "Optimizer",
    "learn.plan": "Train",
    "learn.regularizers": "SMART Norm regularizer",
    "learn.schedules": "Annealed Balanced BatchRoundRobin Biased EpochRoundRobin FullData Merged "
                       "Proportional Sequential schedule",
    "learn.surgery": "PCGrad surgery",
    "learn.weightings": "Automatic Fixed Homoscedastic Kendall Learnable Sum Uncertainty weighting",
    "model.adapters": "PAL LoRA adapter",
    "model.heads": "MLP Cosine Linear Shared head",
    "model.output": "Output",
    "model.pairing": "Packed Separate Single Twin pairing",
    "model.pooling": "Cls Max Mean Pooler pooling",
    "reporting": "report",
    "run": "Data Encoder Run",
    "ship.predict": "Model Prediction load",
    "sweeping": "sweep",
    "tasks.metrics": "metric",
    "tasks.objectives": "BinaryCrossEntropy CosineEmbedding CrossEntropy MeanSquaredError "
                        "MultipleNegatives OrdinalLogLoss SimCSE objective",
    "tasks.task": "Task",
}

__all__ = [  # noqa: RUF022 (sorted as the namespace is, which a test compares)
    "Annealed", "Automatic", "Balanced", "BatchRoundRobin", "Biased", "BinaryCrossEntropy",
    "CheckpointError", "Cls", "ConfigError", "Cosine", "CosineEmbedding", "CrossEntropy", "Data",
    "DataError", "Diverged", "Encoder", "EpochRoundRobin", "Fixed", "FullData", "Homoscedastic",
    "Interrupted", "Kendall", "Labels", "Learnable", "Linear", "LoRA", "MLP", "Max", "Mean",
    "MeanSquaredError", "Merged", "Model", "MultipleNegatives", "Norm", "Optimizer",
    "OrdinalLogLoss", "Output", "PAL", "PCGrad", "Packed", "PolytaskError", "Pooler", "Prediction",
    "Proportional", "Run", "RunError", "SMART", "Separate", "Sequential", "Shared", "SimCSE",
    "Single", "Sum", "Task", "Train", "Twin", "Uncertainty", "adapter", "compare", "head", "load",
    "metric", "objective", "pairing", "pooling", "regularizer", "report", "schedule", "surgery", "sweep",
    "weighting",
]


def __getattr__(name: str) -> Any:
    for place, names in _PLACES.items():
        if name in names.split():
            return getattr(import_module(f"polytask.{place}"), name)
    raise AttributeError(f"module 'polytask' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
