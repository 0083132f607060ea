"""The errors of a task in the reports' own categories: by rank, by class, by distance, by label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from polytask.data.decisions import split_names
from polytask.data.labels import Labels
from polytask.evaluation.predictions import Predictions
from polytask.report.analysis import has_positive

# The most categories of errors of a task, besides "others".
CATEGORIES = 40


@dataclass(frozen=True)
class Category:
    """A kind of error: its name and the rows that have it, the worst first."""

    name: str
    rows: list[int]


def errors(predictions: Predictions, labels: Labels) -> list[Category]:
    """Return the errors in the reports' own categories.

    Ordered classes (ordinal ones, and those that are numbers): over- and under-predicted by one, off by two
    or more (T-38). Two classes: false
    positives and negatives (T-39). Numbers: off by more than one or two fifths of the range, above or
    below (T-40: 1 and 2 of 0 to 5). Other classes: which label was taken for which, the rarest together.
    Several labels: missed and wrongly given labels (P-28).
    """
    rows_by_name: dict[str, list[tuple[float, int]]] = {}
    for row, (name, weight) in _categorised(predictions, labels):
        rows_by_name.setdefault(name, []).append((-weight, row))
    _gather_rare(rows_by_name)
    order = _order(labels)
    names = sorted(rows_by_name, key=lambda name: (order.index(name) if name in order else len(order),
                                                   -len(rows_by_name[name]), name))
    return [Category(name, [row for _, row in sorted(rows_by_name[name])]) for name in names]


_RARE = "others"


def _order(labels: Labels) -> Sequence[str]:
    """Return the categories that have an order of their own."""
    if labels.is_regression:
        return _numbered(labels)
    if ranks(labels):
        return ("over-predicted by 1", "under-predicted by 1", "off by 2 or more")
    return _of_two(labels) if has_positive(labels) else ()


def _of_two(labels: Labels) -> tuple[str, str]:
    """Return the two errors of two classes. Which class counts as positive is no secret: both are named."""
    negative, positive = labels.classes
    return (f'false positive: "{negative}" taken for "{positive}"',
            f'false negative: "{positive}" taken for "{negative}"')


def ranks(labels: Labels) -> dict[str, int]:
    """Return the place of each class in their order; empty if they have none, or are only two.

    Ordinal classes have their own order; others have one if every name of them is a number.
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


def by_true_class(predictions: Predictions, labels: Labels) -> dict[str, list[int]]:
    """Return category → its errors of each true class, in the order of `labels.classes`.

    Source: triple-threat Table 17 (T-38), which crosses the kind of an error with the class.
    """
    index = {name: place for place, name in enumerate(labels.classes)}
    counts: dict[str, list[int]] = {}
    for category in errors(predictions, labels):
        by_class = counts.setdefault(category.name, [0] * len(index))
        for row in category.rows:
            by_class[index[predictions.true[row]]] += 1
    return counts


def _numbered(labels: Labels) -> tuple[str, str, str, str]:
    """Return the categories of numbers: far above, above, below, far below."""
    one = (labels.high - labels.low) / 5 or 1.0
    return (f"too high by more than {2 * one:g}", f"too high by {one:g} to {2 * one:g}",
            f"too low by {one:g} to {2 * one:g}", f"too low by more than {2 * one:g}")


def _gather_rare(rows_by_name: dict[str, list[tuple[float, int]]]) -> None:
    """Put the rarest categories together: fifty classes can be taken for one another in 2,450 ways."""
    rare = sorted(rows_by_name, key=lambda name: (-len(rows_by_name[name]), name))[CATEGORIES:]
    if rare:
        rows_by_name[_RARE] = [row for name in rare for row in rows_by_name.pop(name)]


def _categorised(predictions: Predictions, labels: Labels) -> Iterator[tuple[int, tuple[str, float]]]:
    """Yield each wrong row with its category and how bad it is."""
    if labels.is_regression:
        true, predicted = predictions.numbers()
        one = (labels.high - labels.low) / 5 or 1.0
        far_above, above, below, far_below = _numbered(labels)
        for row, gap in enumerate(((predicted - true) / one).tolist()):
            if gap > 1:
                yield row, (far_above if gap > 2 else above, gap)
            elif gap < -1:
                yield row, (far_below if gap < -2 else below, -gap)
        return
    order = ranks(labels)
    sure = (np.nan_to_num(predictions.scores) if len(predictions.scores) == len(predictions)
            else np.zeros(len(predictions)))
    for row, (a, b) in enumerate(zip(predictions.true, predictions.predicted, strict=True)):
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
            yield row, (_of_two(labels)[0 if positive else 1], weight)
        elif labels.kind == "multi-label":
            yield row, _flags(a, b)
        else:
            yield row, (f"{a} taken for {b}", float(sure[row]))


def _flags(true: str, predicted: str) -> tuple[str, float]:
    right, predicted_labels = ({*split_names(cell)} for cell in (true, predicted))
    missed, wrong = len(right - predicted_labels), len(predicted_labels - right)
    name = ("labels missed" if not wrong else
            "labels wrongly predicted" if not missed else "missed and wrong")
    return name, float(missed + wrong)
