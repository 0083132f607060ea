"""What is decided for each row: from probabilities and values to labels. Needs numpy alone."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def clipped(values: NDArray[np.float64], labels: Labels) -> Decision:
    """Decide a regression: the label is the value cut off at the ends of the range, the score as it is."""
    return Decision(np.clip(values, labels.low, labels.high), values)


def above(scores: NDArray[np.float64], threshold: Threshold | None) -> Decision:
    """Decide two classes by one number that is not a probability; 0.5 stands for no threshold."""
    cut = np.asarray(0.5 if threshold is None else threshold)
    return Decision((scores >= cut).astype(np.int64), scores)


def chosen(probabilities: NDArray[np.float64], labels: Labels, threshold: Threshold | None) -> Decision:
    """Decide classes by their probabilities: (rows, classes), or (rows,) of the positive class alone.

    A threshold applies to two classes and to each of several labels; without one it is 0.5, or the
    larger of two probabilities that were given.
    """
    cut = np.asarray(0.5 if threshold is None else threshold)
    if labels.kind == "multi-label":
        return Decision((probabilities >= cut).astype(np.int64), probabilities, probabilities)
    if probabilities.ndim == 1:
        both = np.stack([1 - probabilities, probabilities], 1)
        return Decision((probabilities >= cut).astype(np.int64), probabilities, both)
    best = probabilities.argmax(-1)
    if labels.kind == "binary":
        positive = probabilities[:, 1]
        if threshold is not None:
            best = (positive >= cut).astype(np.int64)
        return Decision(best, positive, probabilities)
    return Decision(best, probabilities.max(-1), probabilities)


def named(labels: Labels, value: Any) -> Any:
    """Return a label as people write it: the class's name, the number, or the names with bars between them.

    Names that hold a bar themselves are a JSON list.
    """
    if labels.is_regression:
        return round(float(value), 4)
    if labels.kind == "multi-label":
        return joined_names([name for name, on in zip(labels.classes, value, strict=True) if on])
    return labels.classes[int(value)]


def joined_names(names: list[str]) -> str:
    """Return several labels with bars between their names; a JSON list where that would be misread."""
    cell = "|".join(names)
    return cell if split_names(cell) == names else json.dumps(names, ensure_ascii=False)


def split_names(cell: str) -> list[str]:
    """Return the names of several labels that `joined_names` wrote into one cell; of an empty one, none."""
    if cell.startswith("[") and cell.endswith("]"):
        with suppress(ValueError, RecursionError):
            names = json.loads(cell)
            if all(isinstance(name, str) for name in names):
                return list(names)
    return [name for name in cell.split("|") if name]


def probabilities(labels: Labels, decision: Decision, row: int) -> dict[str, float] | None:
    """Return the probability of each class, in their order, or None where a head gives none."""
    probabilities = decision.probabilities
    return None if probabilities is None else by_class(labels, probabilities[row])


def answer_table(labels: Labels, decision: Decision, row: int) -> dict[str, Any]:
    """Return a row's answer as the server, and JSON lines with several tasks, show it.

    label          the class, the number, or the list of a multi-label row's classes
    score          of the label, as in `Decision`; of a multi-label row a list, one number a class
    probabilities  class → probability; absent where the head gives none
    """
    label, score = decision.labels[row], decision.scores[row]
    if labels.kind == "multi-label":
        label = [name for name, on in zip(labels.classes, label, strict=True) if on]
    else:
        label = named(labels, label)
    table = {"label": label, "score": score.tolist() if score.ndim else float(score)}
    shares = probabilities(labels, decision, row)
    return table if shares is None else table | {"probabilities": shares}


def by_class(labels: Labels, values: Iterable[float]) -> dict[str, float]:
    """Return class → value, six digits after the point."""
    return {name: round(float(value), 6) for name, value in zip(labels.classes, values, strict=True)}
