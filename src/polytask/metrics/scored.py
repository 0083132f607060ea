"""Metrics of the scores behind the labels: how well they rank, whatever is decided from them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from polytask.data.labels import Labels
from polytask.metrics.registry import Array, metric


def _memberships(true: Array, classes: int) -> Array:
    """Return (rows, classes): 1 where a row is of a class."""
    return true if true.ndim > 1 else (true[:, None] == np.arange(classes)).astype(np.int64)


def _mean_over_classes(true: Array, scores: Array, score: Callable[[Array, Array], float],
                       negatives: bool = True) -> float:
    """Return a score's mean over the classes that have rows, and rows of others; of two, the second's."""
    belongs = _memberships(true, scores.shape[1])
    columns = [1] if true.ndim == 1 and scores.shape[1] == 2 else range(scores.shape[1])
    scores_of_columns = [score(belongs[:, column], scores[:, column]) for column in columns
                         if belongs[:, column].any() and not (negatives and belongs[:, column].all())]
    return float(np.mean(scores_of_columns)) if scores_of_columns else float("nan")


def _one_label(predicted: Array, true: Array) -> str | None:
    rows = true if true.ndim > 1 else true[:, None]
    return "all rows have the same labels" if (rows == rows[0]).all() else None


@metric("binary", "classes", "ordinal", "multi-label", undefined=_one_label, positive=True,
        aliases=("auc", "auroc", "area under the curve"))
def roc_auc(predicted: Array, true: Array, scores: Array) -> float:
    """Area under the ROC curve: how often a row of a class has a higher score for it than one that is not
    of it; of two classes that of the positive one, else the mean over the classes that occur."""
    from sklearn.metrics import roc_auc_score

    return _mean_over_classes(true, scores, roc_auc_score)


def _no_positives(predicted: Array, true: Array, labels: Labels) -> str | None:
    # Of more than two classes one always has rows; of two, only the rows of the second are positive.
    can_lack = true.ndim > 1 or labels.num_classes == 2
    return "there are no positive rows" if can_lack and not true.any() else None


@metric("binary", "classes", "ordinal", "multi-label", undefined=_no_positives, positive=True,
        aliases=("ap", "pr_auc", "auprc", "map"))
def average_precision(predicted: Array, true: Array, scores: Array) -> float:
    """Area under the curve of precision over recall; of two classes that of the positive one, else the mean
    over the classes that occur."""
    from sklearn.metrics import average_precision_score

    return _mean_over_classes(true, scores, average_precision_score, negatives=False)


@metric("classes", "ordinal", aliases=("top3", "top_k", "hits_at_3"))
def top_3_accuracy(predicted: Array, true: Array, scores: Array) -> float:
    """Share of the rows whose class is among the three with the highest scores."""
    return _among_best(true, scores, 3)


@metric("classes", "ordinal", aliases=("top5", "hits_at_5"))
def top_5_accuracy(predicted: Array, true: Array, scores: Array) -> float:
    """Share of the rows whose class is among the five with the highest scores."""
    return _among_best(true, scores, 5)


def _among_best(true: Array, scores: Array, most: int) -> float:
    best = np.argsort(-scores, axis=1, kind="stable")[:, :most]
    return float((best == true[:, None]).any(axis=1).mean())
