"""The counts behind the report: confusion, recall, calibration, slices, projections.

Plain functions of lists and arrays; tests compare them with scikit-learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.data.decisions import split_names
from polytask.data.labels import Labels
from polytask.data.tables import Integers
from polytask.evaluation.predictions import Floats, Predictions

# Tokens of the tokenizers that belong to neither text of a pair.
_SPECIAL = ("[CLS]", "[SEP]", "<s>", "</s>")


def confusion(predictions: Predictions, classes: Sequence[str]) -> Integers:
    """Return the rows with each true (rows) and predicted (columns) class: (C, C) counts.

    Source: triple-threat Table 7 (T-37), practices Figure 4 (P-26).
    """
    index = {name: place for place, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    true = np.array([index.get(name, -1) for name in predictions.true])
    predicted = np.array([index.get(name, -1) for name in predictions.predicted])
    known = (true >= 0) & (predicted >= 0)
    np.add.at(counts, (true[known], predicted[known]), 1)
    return counts


def flags(predictions: Predictions, classes: Sequence[str]) -> Integers:
    """Return each label of a multi-label task by itself: (C, 2, 2) counts, true in rows, absent first."""
    true, predicted = (np.array([[name in names for name in classes]
                                 for names in map(split_names, column)], dtype=bool)
                       for column in (predictions.true, predictions.predicted))
    counts = np.zeros((len(classes), 2, 2), dtype=np.int64)
    for a in (0, 1):
        for b in (0, 1):
            counts[:, a, b] = ((true == a) & (predicted == b)).sum(axis=0)
    return counts


@dataclass(frozen=True)
class LabelRecall:
    """One label: how many rows have it, their share of all, and the share of them that is predicted so."""

    label: str
    rows: int
    share: float
    recall: float | None


def per_label(predictions: Predictions, labels: Labels) -> list[LabelRecall]:
    """Return the recall of each label beside its share of the rows.

    If every row has one label, this is the accuracy on the rows with that label. Numbers are rounded
    half to even; if the range has fewer than three whole numbers or more than 25, its fifths stand for
    labels. Source: surgery Figures 5 to 8 (G-37, G-38).
    """
    if labels.kind == "multi-label":
        return _per_flag(predictions, labels)
    true, predicted = predictions.true, predictions.predicted
    names: Sequence[str] = labels.classes
    if labels.is_regression:
        names, true, predicted = _as_labels(predictions, labels)
    is_true, is_predicted = np.array(true, dtype=object), np.array(predicted, dtype=object)
    recalls = []
    for name in names:
        rows = is_true == name
        count = int(rows.sum())
        recalls.append(LabelRecall(name, count, count / max(1, len(is_true)),
                                   float((is_predicted[rows] == name).mean()) if count else None))
    return recalls


def whole_numbers(labels: Labels) -> bool:
    """Return whether a range is shown by its whole numbers; otherwise by its fifths."""
    return 2 <= labels.high - labels.low <= 24


def _as_labels(predictions: Predictions, labels: Labels) -> tuple[list[str], list[str], list[str]]:
    """Return numbers as labels: the labels, the true ones, the predicted ones."""
    numbers = predictions.numbers()
    if whole_numbers(labels):
        # Predictions are written with four digits: rounded to them first, a 2.5 is 2.5 here, too.
        a, b = (np.round(np.round(values, 4)).astype(int) for values in numbers)
        return [str(n) for n in sorted(set(a.tolist()))], a.astype(str).tolist(), b.astype(str).tolist()
    fifth = (labels.high - labels.low) / 5 or 1.0
    names = [f"{labels.low + fifth * n:g}…{labels.low + fifth * (n + 1):g}" for n in range(5)]
    a, b = (np.clip((values - labels.low) // fifth, 0, 4).astype(int) for values in numbers)
    return names, [names[n] for n in a], [names[n] for n in b]


def _per_flag(predictions: Predictions, labels: Labels) -> list[LabelRecall]:
    recalls = []
    for name, ((_, _), (missed, hit)) in zip(
            labels.classes, flags(predictions, labels.classes).tolist(), strict=True):
        count = missed + hit
        recalls.append(LabelRecall(name, count, count / max(1, len(predictions)),
                                   hit / count if count else None))
    return recalls


def has_positive(labels: Labels) -> bool:
    """Return whether scores are probabilities of the second of two classes, whichever is predicted."""
    return labels.kind == "binary" and len(labels.classes) == 2


def reliability(predictions: Predictions, labels: Labels, bins: int = 10) -> list[tuple[float, float, int]]:
    """Return (mean score, share of rows, rows) of each filled bin of scores.

    Binary: the probability of the second class against the share of it. Several classes: the
    probability of the predicted class against the share that is right. Multi-label: the probability of
    every label of every row against the share that has it.
    """
    scores: NDArray[Any] = predictions.scores
    if labels.kind == "multi-label":
        names_by_row = [split_names(cell) for cell in predictions.true]
        right = np.array([[name in names for name in labels.classes] for names in names_by_row]).ravel()
        scores = np.array(predictions.label_scores, float).ravel()
    elif has_positive(labels):
        right = np.array([name == labels.classes[1] for name in predictions.true])
    else:
        right = np.array([a == b for a, b in zip(predictions.true, predictions.predicted, strict=True)])
    if len(scores) != len(right) or np.isnan(scores).any() or scores.min() < 0 or scores.max() > 1:
        return []
    place = np.minimum((scores * bins).astype(int), bins - 1)
    return [(float(scores[here].mean()), float(right[here].mean()), int(here.sum()))
            for n in range(bins) if (here := place == n).any()]


def calibration_error(points: Sequence[tuple[float, float, int]]) -> float:
    """Return the mean distance of confidence and share, weighted by rows."""
    total = sum(rows for *_, rows in points)
    return sum(rows * abs(a - b) for a, b, rows in points) / max(1, total)


def residuals(predictions: Predictions) -> Floats:
    """Return predicted minus true: (rows,)."""
    true, predicted = predictions.numbers()
    return predicted - true


def projected(vectors: Any, components: int = 2) -> tuple[Floats, Floats]:
    """Return vectors on their first principal components, and the shares of variance (T-35).

    The sign of a component is free: the largest entry of its direction is made positive.
    """
    from sklearn.decomposition import PCA

    matrix = np.asarray(vectors, dtype=np.float64)
    count = min(components, *matrix.shape)
    if (matrix == matrix[:1]).all():  # no direction: PCA divides by a variance of 0
        return np.zeros((len(matrix), count)), np.zeros(count)
    pca = PCA(count, svd_solver="full").fit(matrix)
    signs = np.sign(pca.components_[np.arange(count), np.abs(pca.components_).argmax(axis=1)])
    return pca.transform(matrix) * signs, np.asarray(pca.explained_variance_ratio_)


@dataclass(frozen=True)
class Attended:
    """What share of its attention a layer gives to some tokens; the mean over heads and words."""

    other_text: float
    neighbours: float
    same_word: float
    """The same word in the other text."""


def attended(tokens: Sequence[str], maps: Any) -> list[Attended]:
    """Return where each layer's words look in a joined pair, from its maps: (layers, heads, n, n) bytes.

    Source: swissbert §6, which finds little between the texts in layer 1, neighbours in layer 6 and the
    same words across the texts in layer 11 (S-29). Empty where special tokens do not set two texts apart.
    """
    names = np.array(tokens, dtype=object)
    words = ~np.isin(names, _SPECIAL)
    side = np.where(words, np.cumsum(np.diff(words, prepend=False) & words), 0)
    if side.max(initial=0) != 2:
        return []
    weights = np.asarray(maps, np.float64)[:, :, words].mean(axis=1) / 255
    of, to, place = side[words, None], side[None], np.arange(len(side))
    across = of * to == 2
    near = (of == to) & (np.abs(place[words, None] - place) == 1)
    same = across & (names[words, None] == names)
    return [Attended(*(float((layer * mask).sum(axis=1).mean()) for mask in (across, near, same)))
            for layer in weights]


@dataclass(frozen=True)
class Slice:
    """Rows that have something in common, and the score on them."""

    what: str
    rows: int
    score: float


def slices(predictions: Predictions, labels: Labels, cut: Sequence[int] = ()) -> list[Slice]:
    """Return the score of parts of the rows: by length, by shared words of a pair, by truncation.

    The score is the accuracy, or for numbers the mean absolute error.
    """
    if labels.is_regression:
        score = np.abs(residuals(predictions))
    else:
        pairs = zip(predictions.true, predictions.predicted, strict=True)
        score = np.array([a == b for a, b in pairs], float)
    words = [[text.lower().split() for text in texts] for texts in predictions.texts]
    parts = _quartered("words", np.array([sum(map(len, texts)) for texts in words]), score)
    if words and len(words[0]) == 2:
        shared = np.array([_jaccard(*texts) for texts in words])
        for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.01)):
            here = (shared >= low) & (shared < high)
            if here.any():
                parts.append(Slice(f"{low:.0%} to {min(high, 1):.0%} of the words shared", int(here.sum()),
                                   float(score[here].mean())))
    if cut:
        here = np.zeros(len(score), dtype=bool)
        here[[row for row in cut if row < len(here)]] = True
        parts += [Slice(what, int(rows.sum()), float(score[rows].mean()))
                  for what, rows in (("cut at the maximum length", here), ("whole", ~here))
                  if here.any() and rows.any()]
    return parts


def _quartered(what: str, values: NDArray[Any], score: Floats) -> list[Slice]:
    if not len(values):
        return []
    edges = np.unique(np.quantile(values, [0.25, 0.5, 0.75], method="lower"))
    place = np.searchsorted(edges, values, side="left")
    return [Slice(f"{values[here].min()} to {values[here].max()} {what}", int(here.sum()),
                  float(score[here].mean()))
            for n in range(len(edges) + 1) if (here := place == n).any()]


def _jaccard(a: Sequence[str], b: Sequence[str]) -> float:
    one, other = {*a}, {*b}
    return len(one & other) / max(1, len(one | other))
