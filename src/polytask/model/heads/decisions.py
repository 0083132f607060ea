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


def fit_threshold(scores: NDArray[np.floating], targets: NDArray[np.generic], low: float = 0.0,
                  usual: float | None = 0.5) -> float:
    """Return the t for which `scores >= t` agrees best with the 0/1 `targets`.

    It lies in the middle between two neighbouring scores, or between the lowest and `low`, or between the
    highest and 1, so that no score is at the threshold itself. Of several that agree equally, it is
    `usual` if that is one of them, else the one in the widest gap. Targets that are all alike show nothing:
    they leave the usual one.
    """
    scores = np.asarray(scores, dtype=np.float64)
    targets = np.asarray(targets).astype(bool)
    if not len(scores) or (usual is not None and targets.all() == targets.any()):
        return 0.5 if usual is None else usual
    values, where = np.unique(scores, return_inverse=True)
    gained = np.bincount(where, weights=np.where(targets, -1.0, 1.0), minlength=len(values))
    # right[k]: rows that are right when the k lowest values are called negative
    right = targets.sum() + np.concatenate([[0.0], np.cumsum(gained)])
    gaps = np.concatenate([[0.0], np.diff(values), [0.0]])
    if values[-1] >= 1:
        right[-1] = -1  # no threshold is above it
    ends = np.concatenate([[low], values, [1.0]])
    cuts = (ends[:-1] + ends[1:]) / 2
    best = right == right.max()
    if usual is not None and best[np.searchsorted(values, usual)]:
        return usual
    return float(cuts[np.flatnonzero(best)[np.argmax(gaps[best])]])


def fit_f1_threshold(scores: NDArray[np.floating], targets: NDArray[np.generic], low: float = 0.0,
                     usual: float | None = 0.5) -> float:
    """Return the t for which `scores >= t` has the best F1 against the 0/1 `targets`.

    It lies in the middle between two neighbouring scores, or between the lowest and `low`; of several that
    are as good, it is the lowest. `usual` where no target is 1.
    """
    scores, targets = np.asarray(scores, dtype=np.float64), np.asarray(targets).astype(bool)
    if not targets.any():
        return 0.5 if usual is None else usual
    order = np.argsort(-scores, kind="stable")
    values, true_positives = scores[order], np.cumsum(targets[order])
    f1 = 2 * true_positives / (np.arange(1, len(values) + 1) + targets.sum())
    f1[:-1][values[1:] == values[:-1]] = -1  # a threshold cannot part equal scores
    last = len(f1) - 1 - int(np.argmax(f1[::-1]))
    below = values[last + 1] if last + 1 < len(values) else low
    return float((values[last] + below) / 2)
