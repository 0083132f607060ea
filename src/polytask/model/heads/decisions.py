"""From logits and scores to labels: what is decided for each row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from polytask.data.labels import Labels

Threshold = float | list[float]
"""From which probability on a label is given; of a multi-label task perhaps one a class."""


@dataclass(frozen=True)
class Decision:
    """What a head decided for some rows.

    labels         (rows,) int64 indices of classes, (rows, classes) int64 of 0 and 1 (multi-label),
                   or (rows,) float64 values clipped to the labels' own range (regression)
    scores         the probability of the positive class (binary), of the chosen class (classes,
                   ordinal), of each class (multi-label); the value before it is clipped (regression,
                   cosine), on which correlations are measured: clipping would move them
    probabilities  (rows, classes), where the head gives a distribution
    """

    labels: NDArray[np.generic]
    scores: NDArray[np.float64]
    probabilities: NDArray[np.float64] | None = None


def _array(values: Tensor) -> NDArray[np.float64]:
    return values.detach().double().cpu().numpy()


def _value(values: NDArray[np.float64], labels: Labels) -> Decision:
    return Decision(np.clip(values, labels.low, labels.high), values)


def _choice(logits: Tensor, labels: Labels, threshold: Threshold | None) -> Decision:
    cut = np.asarray(0.5 if threshold is None else threshold)
    if labels.kind == "multi-label":
        each = _array(logits.sigmoid())
        return Decision((each >= cut).astype(np.int64), each, each)
    if logits.ndim == 1:
        positive = _array(logits.sigmoid())
        both = np.stack([1 - positive, positive], 1)
        return Decision((positive >= cut).astype(np.int64), positive, both)
    probabilities = _array(logits.softmax(-1))
    best = probabilities.argmax(-1)
    if labels.kind == "binary":
        positive = probabilities[:, 1]
        if threshold is not None:
            best = (positive >= cut).astype(np.int64)
        return Decision(best, positive, probabilities)
    return Decision(best, probabilities.max(-1), probabilities)


def fit_threshold(scores: NDArray[np.floating], targets: NDArray[np.generic]) -> float:
    """Return the t for which `scores >= t` agrees best with the 0/1 `targets`.

    It lies in the middle between two neighbouring scores; of several that agree equally, it is the
    one in the widest gap.
    """
    scores = np.asarray(scores, dtype=np.float64)
    targets = np.asarray(targets).astype(bool)
    if not len(scores):
        return 0.5
    values, where = np.unique(scores, return_inverse=True)
    gained = np.bincount(where, weights=np.where(targets, -1.0, 1.0), minlength=len(values))
    # right[k]: rows that are right when the k lowest values are called negative
    right = targets.sum() + np.concatenate([[0.0], np.cumsum(gained)])
    gaps = np.concatenate([[0.0], np.diff(values), [0.0]])
    cuts = np.concatenate([values[:1], (values[:-1] + values[1:]) / 2,
                           [np.nextafter(values[-1], np.inf)]])
    best = right == right.max()
    return float(cuts[np.flatnonzero(best)[np.argmax(gaps[best])]])


def fit_f1_threshold(scores: NDArray[np.floating], targets: NDArray[np.generic]) -> float:
    """Return the t for which `scores >= t` has the best F1 against the 0/1 `targets`; 0.5 where none is 1.

    It lies in the middle between two neighbouring scores; of several that are as good, it is the lowest.
    """
    scores, targets = np.asarray(scores, dtype=np.float64), np.asarray(targets).astype(bool)
    if not targets.any():
        return 0.5
    order = np.argsort(-scores, kind="stable")
    values, found = scores[order], np.cumsum(targets[order])
    f1 = 2 * found / (np.arange(1, len(values) + 1) + targets.sum())
    f1[:-1][values[1:] == values[:-1]] = -1  # a threshold cannot part equal scores
    last = len(f1) - 1 - int(np.argmax(f1[::-1]))
    return float((values[last] + (values[last + 1] if last + 1 < len(values) else 0.0)) / 2)
