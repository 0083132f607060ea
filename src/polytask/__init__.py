"""polytask: one BERT-family encoder trained jointly on many sentence-level tasks.

    import polytask as pk

    run = pk.Run.from_toml("three.toml")
    result = pk.train(run, "runs/first")
    model = pk.load("runs/first")
    model.predict("quora", [("How old are you?", "What is your age?")])

Each family of components is a namespace with its base class and its decorator: `pk.losses.CrossEntropy`,
`pk.weightings.Kendall`, `pk.losses.Loss`; `@pk.loss` registers one of your own. Names are imported when
they are first used, so that `import polytask` does no work.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polytask import losses, metrics
    from polytask.commands.compare import compare
    from polytask.commands.evaluate import evaluate_run as evaluate
    from polytask.commands.export import export
    from polytask.commands.push import push
    from polytask.commands.report import report
    from polytask.commands.serve import serve
    from polytask.commands.sweep import sweep
    from polytask.commands.train import train
    from polytask.config import Data, Encoder, Run
    from polytask.core.errors import (
        CheckpointError,
        ConfigError,
        DataError,
        Diverged,
        Interrupted,
        PolytaskError,
        RunError,
        UntrustedCode,
    )
    from polytask.data.labels import Labels
    from polytask.inference.answers import Answers, Prediction
    from polytask.inference.engine import load
    from polytask.inference.predictor import Model
    from polytask.learn import regularizers, schedules, weightings
    from polytask.learn import surgery as surgeries
    from polytask.learn.optimizers import Optimizer
    from polytask.learn.regularizers import regularizer
    from polytask.learn.schedules import schedule
    from polytask.learn.surgery import surgery
    from polytask.learn.train_settings import Train
    from polytask.learn.weightings import weighting
    from polytask.losses import loss
    from polytask.metrics import metric
    from polytask.model import adapters, heads, pairings, poolings
    from polytask.model.adapters import adapter
    from polytask.model.heads import head
    from polytask.model.output import Output
    from polytask.model.pairings import pairing
    from polytask.model.poolings import pooling
    from polytask.serve.asynchronous import AsyncModel
    from polytask.tasks.task import Task
    from polytask.training.session import Result

# Each public name and where it is: "module:name", or a module that is a namespace.
_PLACES = {
    **{f"{family}s": place for family, place in {
        "adapter": "model.adapters", "head": "model.heads", "pairing": "model.pairings",
        "pooling": "model.poolings", "regularizer": "learn.regularizers",
        "schedule": "learn.schedules", "weighting": "learn.weightings", "metric": "metrics",
    }.items()},
    "losses": "losses", "surgeries": "learn.surgery",
    "adapter": "model.adapters:adapter", "head": "model.heads:head", "loss": "losses:loss",
    "metric": "metrics:metric", "pairing": "model.pairings:pairing",
    "pooling": "model.poolings:pooling", "regularizer": "learn.regularizers:regularizer",
    "schedule": "learn.schedules:schedule", "surgery": "learn.surgery:surgery",
    "weighting": "learn.weightings:weighting",
    "compare": "commands.compare:compare", "evaluate": "commands.evaluate:evaluate_run",
    "export": "commands.export:export", "push": "commands.push:push",
    "load": "inference.engine:load", "report": "commands.report:report", "serve": "commands.serve:serve",
    "sweep": "commands.sweep:sweep", "train": "commands.train:train",
    "Data": "config:Data", "Encoder": "config:Encoder", "Run": "config:Run",
    "Labels": "data.labels:Labels", "Model": "inference.predictor:Model",
    "Optimizer": "learn.optimizers:Optimizer", "Output": "model.output:Output",
    "Prediction": "inference.answers:Prediction", "Answers": "inference.answers:Answers",
    "AsyncModel": "serve.asynchronous:AsyncModel", "Result": "training.session:Result",
    "Task": "tasks.task:Task", "Train": "learn.train_settings:Train",
    **{error: f"core.errors:{error}" for error in (
        "CheckpointError", "ConfigError", "DataError", "Diverged", "Interrupted", "PolytaskError",
        "RunError", "UntrustedCode")},
}

__all__ = [
    "Answers", "AsyncModel", "CheckpointError", "ConfigError", "Data", "DataError", "Diverged", "Encoder",
    "Interrupted", "Labels", "Model", "Optimizer", "Output", "PolytaskError", "Prediction", "Result", "Run",
    "RunError", "Task", "Train", "UntrustedCode", "adapter", "adapters", "compare", "evaluate", "export",
    "head", "heads", "load", "loss", "losses", "metric", "metrics", "pairing", "pairings", "pooling",
    "poolings", "push", "regularizer", "regularizers", "report", "schedule", "schedules", "serve",
    "surgeries", "surgery", "sweep", "train", "weighting", "weightings",
]


class _Surface(ModuleType):
    """The package as a module on which `pk.report` stays a function once polytask.report is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        place = _PLACES.get(name, "")
        if ":" in place and value is sys.modules.get(f"{__name__}.{name}"):
            return  # importing a subpackage would put it in the place of the verb of the same name
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Surface


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'polytask' has no attribute {name!r}")
    module, _, attribute = _PLACES[name].partition(":")
    module_found = import_module(f"polytask.{module}")
    return getattr(module_found, attribute) if attribute else module_found


def __dir__() -> list[str]:
    return sorted(__all__)
