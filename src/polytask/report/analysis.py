"""The counts behind the report: confusion, calibration, categories of errors, slices, projections.

Plain functions of lists and arrays; the tests compare them with scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.data.labels import Labels
from polytask.data.tables import Integers
from polytask.report.record import Answers

Floats = NDArray[np.float64]


def confusion(answers: Answers, classes: Sequence[str]) -> Integers:
    """Return the rows with each true (rows) and predicted (columns) class: (C, C) counts.

    Source: triple-threat Table 7 (T-37), practices Figure 4 (P-26).
    """
    index = {name: place for place, name in enumerate(classes)}
    made = np.zeros((len(classes), len(classes)), dtype=np.int64)
    true = np.array([index.get(name, -1) for name in answers.true])
    predicted = np.array([index.get(name, -1) for name in answers.predicted])
    known = (true >= 0) & (predicted >= 0)
    np.add.at(made, (true[known], predicted[known]), 1)
    return made


def flags(answers: Answers, classes: Sequence[str]) -> Integers:
    """Return each label of a multi-label task by itself: (C, 2, 2) counts, true in rows, absent first."""
    true, predicted = (np.array([[name in names for name in classes]
                                 for names in (cell.split("|") for cell in column)], dtype=bool)
                       for column in (answers.true, answers.predicted))
    made = np.zeros((len(classes), 2, 2), dtype=np.int64)
    for a in (0, 1):
        for b in (0, 1):
            made[:, a, b] = ((true == a) & (predicted == b)).sum(axis=0)
    return made


@dataclass(frozen=True)
class LabelAccuracy:
    """One label: how many rows have it, their share of all, and how many of them are right."""

    label: str
    rows: int
    share: float
    accuracy: float | None


def per_label(answers: Answers, labels: Labels) -> list[LabelAccuracy]:
    """Return the accuracy of each label beside its share of the rows.

    Numbers are rounded half to even; where the range has fewer than three whole numbers or more than
    25, fifths of the range stand for labels. Source: surgery Figures 5 to 8 (G-37, G-38).
    """
    if labels.kind == "multi-label":
        return _per_flag(answers, labels)
    true, predicted = answers.true, answers.predicted
    names: Sequence[str] = labels.classes
    if labels.is_regression:
        names, true, predicted = _as_labels(answers, labels)
    held, given = np.array(true, dtype=object), np.array(predicted, dtype=object)
    made = []
    for name in names:
        rows = held == name
        count = int(rows.sum())
        made.append(LabelAccuracy(name, count, count / max(1, len(held)),
                                  float((given[rows] == name).mean()) if count else None))
    return made


def whole_numbers(labels: Labels) -> bool:
    """Return whether a range is told by its whole numbers, or by its fifths."""
    return 2 <= labels.high - labels.low <= 24


def _as_labels(answers: Answers, labels: Labels) -> tuple[list[str], list[str], list[str]]:
    """Return numbers as labels: the labels, the true ones, the predicted ones."""
    numbers = answers.numbers()
    if whole_numbers(labels):
        # Predictions are written with four digits, so that 2.5 as it was decided is 2.5 here.
        a, b = (np.round(np.round(values, 4)).astype(int) for values in numbers)
        return [str(n) for n in sorted(set(a.tolist()))], a.astype(str).tolist(), b.astype(str).tolist()
    fifth = (labels.high - labels.low) / 5 or 1.0
    names = [f"{labels.low + fifth * n:g}…{labels.low + fifth * (n + 1):g}" for n in range(5)]
    a, b = (np.clip((values - labels.low) // fifth, 0, 4).astype(int) for values in numbers)
    return names, [names[n] for n in a], [names[n] for n in b]


def _per_flag(answers: Answers, labels: Labels) -> list[LabelAccuracy]:
    made = []
    for name, ((_, _), (missed, found)) in zip(
            labels.classes, flags(answers, labels.classes).tolist(), strict=True):
        count = missed + found
        made.append(LabelAccuracy(name, count, count / max(1, len(answers)),
                                  found / count if count else None))
    return made


def has_positive(labels: Labels) -> bool:
    """Return whether scores are probabilities of the second of two classes, whichever is predicted."""
    return labels.kind == "binary" and len(labels.classes) == 2


def reliability(answers: Answers, labels: Labels, bins: int = 10) -> list[tuple[float, float, int]]:
    """Return (mean score, share of rows, rows) of each filled bin of scores.

    Binary: the probability of the second class against the share of it. Several classes: the
    probability of the predicted class against the share that is right. Multi-label: the probability of
    every label of every row against the share that has it.
    """
    scores: NDArray[Any] = answers.scores
    if labels.kind == "multi-label":
        held = [cell.split("|") for cell in answers.true]
        right = np.array([[name in names for name in labels.classes] for names in held]).ravel()
        scores = np.array(answers.several, float).ravel() if answers.several else np.zeros(0)
    elif has_positive(labels):
        right = np.array([name == labels.classes[1] for name in answers.true])
    else:
        right = np.array([a == b for a, b in zip(answers.true, answers.predicted, strict=True)])
    if len(scores) != len(right) or np.isnan(scores).any() or scores.min() < 0 or scores.max() > 1:
        return []
    place = np.minimum((scores * bins).astype(int), bins - 1)
    return [(float(scores[here].mean()), float(right[here].mean()), int(here.sum()))
            for n in range(bins) if (here := place == n).any()]


def calibration_error(points: Sequence[tuple[float, float, int]]) -> float:
    """Return the mean distance of confidence and share, weighted by rows."""
    total = sum(rows for *_, rows in points)
    return sum(rows * abs(a - b) for a, b, rows in points) / max(1, total)


# Categories of errors that a task has at most, beside "others".
CATEGORIES = 40


@dataclass(frozen=True)
class Category:
    """A kind of error: its name and the rows that have it, the worst first."""

    name: str
    rows: list[int]


def errors(answers: Answers, labels: Labels) -> list[Category]:
    """Return the errors in the reports' own categories.

    Classes in an order, and classes that are numbers: over- and under-predicted by one, off by two or more
    (T-38). Two classes:
    false positives and negatives (T-39). Numbers: off by more than one or two fifths of the range,
    above or below (T-40: 1 and 2 of 0 to 5). Others: which label was taken for which, the rarest
    together; missed and wrongly given labels (P-28).
    """
    found: dict[str, list[tuple[float, int]]] = {}
    for row, (name, weight) in _categorised(answers, labels):
        found.setdefault(name, []).append((-weight, row))
    _gather_rare(found)
    kind = "ordinal" if ranks(labels) else labels.kind
    order = _numbered(labels) if labels.is_regression else _ORDER.get(kind, ())
    names = sorted(found, key=lambda name: (order.index(name) if name in order else len(order),
                                            -len(found[name]), name))
    return [Category(name, [row for _, row in sorted(found[name])]) for name in names]


def ranks(labels: Labels) -> dict[str, int]:
    """Return the place of each class in their order; empty where they have none, or are only two.

    Ordinal classes stand in their order; others are in one if every name of them is a number.
    """
    if labels.kind == "ordinal":
        return {name: place for place, name in enumerate(labels.classes)}
    if labels.kind != "classes" or len(labels.classes) < 3:
        return {}
    try:
        ordered = sorted(labels.classes, key=float)
    except ValueError:
        return {}
    return {name: place for place, name in enumerate(ordered)}


def by_true_class(answers: Answers, labels: Labels) -> dict[str, list[int]]:
    """Return category → its errors of each true class, in the order of `labels.classes`.

    Source: triple-threat Table 17 (T-38), which crosses the kind of an error with the class.
    """
    index = {name: place for place, name in enumerate(labels.classes)}
    made: dict[str, list[int]] = {}
    for category in errors(answers, labels):
        counts = made.setdefault(category.name, [0] * len(index))
        for row in category.rows:
            counts[index[answers.true[row]]] += 1
    return made


_ORDER = {
    "ordinal": ("over-predicted by 1", "under-predicted by 1", "off by 2 or more"),
    "binary": ("false positive", "false negative"),
}
_RARE = "others"


def _numbered(labels: Labels) -> tuple[str, str, str, str]:
    """Return the categories of numbers: far above, above, below, far below."""
    one = (labels.high - labels.low) / 5 or 1.0
    return (f"too high by more than {2 * one:g}", f"too high by {one:g} to {2 * one:g}",
            f"too low by {one:g} to {2 * one:g}", f"too low by more than {2 * one:g}")


def _gather_rare(found: dict[str, list[tuple[float, int]]]) -> None:
    """Put the rarest categories together: fifty classes can be taken for one another in 2,450 ways."""
    rare = sorted(found, key=lambda name: (-len(found[name]), name))[CATEGORIES:]
    if rare:
        found[_RARE] = [each for name in rare for each in found.pop(name)]


def _categorised(answers: Answers, labels: Labels) -> Iterator[tuple[int, tuple[str, float]]]:
    """Yield each wrong row with its category and how bad it is."""
    if labels.is_regression:
        true, predicted = answers.numbers()
        one = (labels.high - labels.low) / 5 or 1.0
        far_above, above, below, far_below = _numbered(labels)
        for row, gap in enumerate(((predicted - true) / one).tolist()):
            if gap > 1:
                yield row, (far_above if gap > 2 else above, gap)
            elif gap < -1:
                yield row, (far_below if gap < -2 else below, -gap)
        return
    order = ranks(labels)
    scores = answers.scores if len(answers.scores) == len(answers) else np.full(len(answers), np.nan)
    sure = np.nan_to_num(scores)
    for row, (a, b) in enumerate(zip(answers.true, answers.predicted, strict=True)):
        if a == b:
            continue
        if order:
            gap = order[b] - order[a]
            name = (("over" if gap > 0 else "under") + "-predicted by 1" if abs(gap) == 1
                    else "off by 2 or more")
            yield row, (name, abs(gap) + float(sure[row]))
        elif has_positive(labels):
            positive = b == labels.classes[1]
            weight = float(sure[row]) if positive else 1 - float(sure[row])
            yield row, ("false positive" if positive else "false negative", weight)
        elif labels.kind == "multi-label":
            yield row, _flags(a, b)
        else:
            yield row, (f"{a} taken for {b}", float(sure[row]))


def _flags(true: str, predicted: str) -> tuple[str, float]:
    held, given = ({*filter(None, cell.split("|"))} for cell in (true, predicted))
    missed, wrong = len(held - given), len(given - held)
    name = "labels missed" if not wrong else "labels wrongly given" if not missed else "missed and wrong"
    return name, float(missed + wrong)


def residuals(answers: Answers) -> Floats:
    """Return predicted minus true: (rows,)."""
    true, predicted = answers.numbers()
    return predicted - true


def projected(vectors: Any, components: int = 2) -> tuple[Floats, Floats]:
    """Return vectors on their first principal components, and the shares of variance (T-35).

    The sign of a component is free: the largest entry of its direction is made positive.
    """
    from sklearn.decomposition import PCA

    held = np.asarray(vectors, dtype=np.float64)
    count = min(components, *held.shape)
    pca = PCA(count, svd_solver="full").fit(held)
    signs = np.sign(pca.components_[np.arange(count), np.abs(pca.components_).argmax(axis=1)])
    return pca.transform(held) * signs, np.asarray(pca.explained_variance_ratio_)


@dataclass(frozen=True)
class Slice:
    """Rows that have something in common, and how well they are answered."""

    what: str
    rows: int
    score: float


def slices(answers: Answers, labels: Labels, cut: Sequence[int] = ()) -> list[Slice]:
    """Return the score of parts of the rows: by length, by shared words of a pair, by truncation.

    The score is the accuracy, or for numbers the mean absolute error.
    """
    if labels.is_regression:
        score = np.abs(residuals(answers))
    else:
        score = np.array([a == b for a, b in zip(answers.true, answers.predicted, strict=True)], float)
    words = [[text.lower().split() for text in texts] for texts in answers.texts]
    made = _quartered("words", np.array([sum(map(len, each)) for each in words]), score)
    if words and len(words[0]) == 2:
        shared = np.array([_jaccard(*each) for each in words])
        for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.01)):
            here = (shared >= low) & (shared < high)
            if here.any():
                made.append(Slice(f"{low:.0%} to {min(high, 1):.0%} of the words shared", int(here.sum()),
                                  float(score[here].mean())))
    if cut:
        here = np.zeros(len(score), dtype=bool)
        here[[row for row in cut if row < len(here)]] = True
        made += [Slice("cut at the longest length", int(here.sum()), float(score[here].mean())),
                 Slice("whole", int((~here).sum()), float(score[~here].mean()))] if here.any() else []
    return made


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
