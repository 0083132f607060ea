"""Compares the answers of an exported graph with the model's own, on real rows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.core.errors import ConfigError
from polytask.data.dataset import Split
from polytask.data.decisions import Decision
from polytask.evaluation.evaluate import true_labels
from polytask.export.graph import activated, scaled_score
from polytask.inference.forward import forward_rows
from polytask.inference.graph_batches import padded
from polytask.inference.onnx_model import OnnxModel
from polytask.inference.predictor import Model
from polytask.metrics import measure
from polytask.tasks.resolved_task import ResolvedTask

TOLERANCE = 1e-4
"""The largest difference that an export in float32 may have."""
BATCHES = (1, 8, 32)
_ALONE = 16

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class TaskCheck:
    """One task of one graph against the model.

    difference   largest absolute difference of an output; of a score, in parts of the labels' range
    drift        mean absolute difference of the activated outputs
    kept         the share of labels that are the same; None for numbers
    scores       the task's own metric, by the model and by the graph; None without labels
    alone        largest difference between a row alone and the same row among others
    """

    task: str
    rows: int
    difference: float
    drift: float
    kept: float | None
    metric: str
    scores: tuple[float, float] | None
    alone: float

    def __str__(self) -> str:
        scored = "" if self.scores is None else (
            f"{self.metric} {self.scores[0]:.4f} → {self.scores[1]:.4f}, ")
        kept = "" if self.kept is None else f"labels kept {self.kept:.2%}, "
        return (f"{self.task}: {self.rows} rows, {scored}{kept}largest difference "
                f"{self.difference:.1e}, mean {self.drift:.1e}; alone or among others: {self.alone:.1e}")


@dataclass(frozen=True)
class GraphCheck:
    """One graph against the model."""

    name: str
    megabytes: float
    embedding: float
    tasks: tuple[TaskCheck, ...]
    milliseconds: tuple[tuple[int, float], ...]

    @property
    def worst(self) -> float:
        return max([self.embedding, *(check.difference for check in self.tasks)])

    def lines(self) -> list[str]:
        """Return the report, a sentence a line."""
        timed = ", ".join(f"{ms:.1f} ms for {n}" for n, ms in self.milliseconds)
        return [f"{self.name}: {self.megabytes:.1f} MB; {timed} (one thread, this machine)",
                *(f"  {check}" for check in self.tasks),
                f"  {'sentence_embedding'}: largest difference {self.embedding:.1e}"]


def check_graph(name: str, megabytes: float, model: Model, engine: OnnxModel,
                splits: Mapping[str, Split], rows: int) -> GraphCheck:
    """Compare a graph with the model on at most `rows` rows of each task.

    Raises `ConfigError` for a head whose answers do not follow from its probabilities or its score, since
    that is what a graph's labels are decided by.
    """
    checks = [_check_task(task, model, engine, splits[task.name], rows) for task in model.tasks.values()
              if task.name in splits and len(splits[task.name])]
    if not checks:
        columns = ", ".join(next(iter(model.tasks.values())).text)
        raise ConfigError("--check: no task has rows to compare answers on; name a file that "
                          f"has the columns of one, such as {columns}")
    texts = _texts(splits, 64)
    embedding = float(np.abs(model.embed(texts) - engine.embed(texts)).max())
    return GraphCheck(name, megabytes, embedding, tuple(checks), _timed(engine, splits))


def _check_task(task: ResolvedTask, model: Model, engine: OnnxModel, split: Split,
                limit: int) -> TaskCheck:
    rows = np.arange(len(split))[:limit]
    exported = engine.task(task.name)
    output = forward_rows(model.network, task, split, rows)
    field = task.head.output_field(task.labels.kind)
    logits = output.output.field(field)
    by_model = (scaled_score(logits, task) if field == "score" else activated(logits, task.labels)).numpy()
    own = output.decide(task, model.thresholds.get(task.name))
    scale = max(1.0, task.labels.high - task.labels.low) if task.labels.is_regression else 1.0
    slack = 1e-5 * scale if task.labels.is_regression else 0.0
    if not np.allclose(_numbers(exported.decide(by_model)), _numbers(own), rtol=0, atol=slack):
        raise ConfigError(f'tasks.{task.name}.head: "{task.head.name}" decides labels in its own way, '
                          "which a graph cannot express; serve the run with torch")
    names = [exported.activated, *([exported.logits] if exported.logits else [])]
    outputs = engine.run(exported.layout, names, split, rows)
    by_graph = outputs[exported.activated]
    differences = [np.abs(by_graph - by_model) / scale]
    if exported.logits:
        differences.append(np.abs(outputs[exported.logits] - logits.numpy()))
    decision = exported.decide(by_graph)
    kept = None if task.labels.is_regression else float(np.mean(own.labels == decision.labels))
    metric, scores = task.metrics[0] if task.metrics else "", None
    if split.targets is not None and metric:
        true = true_labels(task, split)[rows]
        scores = (_score(task, own, true), _score(task, decision, true))
    return TaskCheck(task.name, len(rows), max(float(difference.max()) for difference in differences),
                     float(differences[0].mean()), kept, metric, scores,
                     _alone(engine, exported, split, rows, by_graph))


def _numbers(decision: Decision) -> Doubles:
    return np.asarray(decision.labels, dtype=np.float64)


def _score(task: ResolvedTask, decision: Decision, true: NDArray[Any]) -> float:
    value = measure(task.metrics[:1], decision.labels, true, task.labels).values[task.metrics[0]]
    return float(value) if isinstance(value, float | int) else float("nan")


def _alone(engine: OnnxModel, task: Any, split: Split, rows: NDArray[Any],
           among: NDArray[np.float32]) -> float:
    """Return the largest difference that a row's neighbours make."""
    name = task.activated
    return max(float(np.abs(engine.run(task.layout, [name], split, rows[k:k + 1])[name][0]
                            - among[k]).max()) for k in range(min(_ALONE, len(rows))))


def _texts(splits: Mapping[str, Split], count: int) -> list[str]:
    return [texts[0] for split in splits.values() for texts in split.texts(np.arange(len(split))[:count])]


def _timed(engine: OnnxModel, splits: Mapping[str, Split]) -> tuple[tuple[int, float], ...]:
    """Return milliseconds of a pass over 1, 8 and 32 sequences: the middle of a few."""
    texts = (_texts(splits, max(BATCHES)) * max(BATCHES))[:max(BATCHES)]
    layout = engine.info.embedding
    split = engine.texts(texts)
    milliseconds = []
    for count in BATCHES:
        fed = padded(split.select("", layout, np.arange(count)), split.special_tokens)
        spent = []
        for _ in range(max(3, 32 // count // 2)):
            began = time.perf_counter()
            engine.session.run(None, fed)
            spent.append(1000 * (time.perf_counter() - began))
        milliseconds.append((count, float(np.median(spent))))
    return tuple(milliseconds)
