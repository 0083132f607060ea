"""From logits and scores to labels: what is decided for each row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from polytask.data.decisions import Decision, Threshold, chosen
from polytask.data.labels import Labels


def _array(values: Tensor) -> NDArray[np.float64]:
    return values.detach().double().cpu().numpy()


def _choice(logits: Tensor, labels: Labels, threshold: Threshold | None) -> Decision:
    """Decide classes by a head's logits: (rows, outputs), or (rows,) where there is one."""
    by_itself = labels.kind == "multi-label" or logits.ndim == 1
    probabilities = logits.sigmoid() if by_itself else logits.softmax(-1)
    return chosen(_array(probabilities), labels, threshold)


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
    values, true_positives = scores[order], np.cumsum(targets[order])
    f1 = 2 * true_positives / (np.arange(1, len(values) + 1) + targets.sum())
    f1[:-1][values[1:] == values[:-1]] = -1  # a threshold cannot part equal scores
    last = len(f1) - 1 - int(np.argmax(f1[::-1]))
    below = values[last + 1] if last + 1 < len(values) else min(0.0, values[last])
    return float((values[last] + below) / 2)
