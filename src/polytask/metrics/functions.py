"""The metrics themselves: predicted and true labels, two arrays → one number.

The reports measure accuracy and Pearson's r (M-35, G-29, P-20, S-22), surgery each label's accuracy (G-37).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from polytask.data.labels import Labels
from polytask.metrics.registry import Array, metric

_CHOICES = frozenset({"classes", "binary", "ordinal"})
_ORDERED = frozenset({"binary", "ordinal"})
_NUMBERS = frozenset({"regression"})

DEFAULT_METRICS: dict[str, tuple[str, ...]] = {
    "classes": ("accuracy", "balanced_accuracy", "macro_f1", "per_label_accuracy"),
    "binary": ("accuracy", "balanced_accuracy", "macro_f1", "f1", "mcc", "per_label_accuracy"),
    "ordinal": ("accuracy", "balanced_accuracy", "macro_f1", "mae", "quadratic_kappa",
                "per_label_accuracy"),
    "regression": ("pearson", "spearman", "mae", "mse", "rounded_accuracy", "per_label_accuracy"),
    "multi-label": ("macro_f1", "accuracy", "per_label_accuracy"),
}
"""The metrics of a kind of labels; the first is the task's own score."""


def _halved(value: float) -> float:
    return (1 + value) / 2  # [-1, 1] -> [0, 1]


def _inverse(value: float) -> float:
    return 1 / (1 + value)  # an error in [0, ∞) -> (0, 1], none being 1


def is_constant(values: Array) -> Array:
    """Return where all numbers of the last axis are one, but for rounding."""
    return np.asarray(np.ptp(values, axis=-1) <= 1e-12 * np.abs(values[..., 0]))


def _constant(predicted: Array, true: Array, labels: Labels) -> str | None:
    for side, values in (("prediction", predicted), ("label", true)):
        if is_constant(values):
            shown = f"{values[0]:g}" if labels.is_regression else f'"{labels.classes[int(values[0])]}"'
            return f"every {side} is {shown}"
    return None


def _rounded(values: Array) -> Array:
    # A label of 3.5 that was kept as 0.7 in float32 comes back as 3.49999994: first mend that.
    rounded: Array = np.round(np.round(values, 4))
    return rounded


def _one_class(predicted: Array, true: Array) -> str | None:
    if np.all(predicted == true[0]) and np.all(true == true[0]):
        return "all predictions and labels are one class"
    return None


@metric(*_CHOICES, "multi-label", aliases=("acc", "exact_match"))
def accuracy(predicted: Array, true: Array) -> float:
    """Share of the rows that are right; of a multi-label row, all of its labels."""
    same = predicted == true
    return float((same.all(-1) if same.ndim > 1 else same).mean())


@metric(*_CHOICES)
def balanced_accuracy(predicted: Array, true: Array) -> float:
    """Mean over the classes that occur of the share of their rows that are right."""
    return float(np.mean([(predicted[true == label] == label).mean() for label in np.unique(true)]))


@metric(*_CHOICES, "multi-label", aliases=("f1_macro",))
def macro_f1(predicted: Array, true: Array) -> float:
    """Mean over the classes of the F1 of each."""
    from sklearn.metrics import f1_score

    return float(f1_score(true, predicted, average="macro", zero_division=0))


@metric(*_CHOICES, "multi-label", aliases=("f1_micro",))
def micro_f1(predicted: Array, true: Array) -> float:
    """F1 of all decisions together; where every row has one class, the accuracy."""
    from sklearn.metrics import f1_score

    return float(f1_score(true, predicted, average="micro", zero_division=0))


@metric(*_CHOICES, "multi-label", aliases=("f1_weighted",))
def weighted_f1(predicted: Array, true: Array) -> float:
    """Mean over the classes of the F1 of each, weighed by its rows."""
    from sklearn.metrics import f1_score

    return float(f1_score(true, predicted, average="weighted", zero_division=0))


@metric(*_CHOICES, "multi-label", aliases=("precision_macro",))
def macro_precision(predicted: Array, true: Array) -> float:
    """Mean over the classes of the precision of each."""
    from sklearn.metrics import precision_score

    return float(precision_score(true, predicted, average="macro", zero_division=0))


@metric(*_CHOICES, "multi-label", aliases=("recall_macro",))
def macro_recall(predicted: Array, true: Array) -> float:
    """Mean over the classes of the recall of each."""
    from sklearn.metrics import recall_score

    return float(recall_score(true, predicted, average="macro", zero_division=0))


@metric("binary", positive=True, aliases=("f1_score", "f_score"))
def f1(predicted: Array, true: Array) -> float:
    """F1 of the positive class, the second of the two (`classes = [negative, positive]`)."""
    from sklearn.metrics import f1_score

    return float(f1_score(true, predicted, zero_division=0))


@metric("binary", positive=True)
def precision(predicted: Array, true: Array) -> float:
    """Share of the rows called positive that are; the positive class is the second of the two."""
    from sklearn.metrics import precision_score

    return float(precision_score(true, predicted, zero_division=0))


@metric("binary", positive=True, aliases=("sensitivity", "true_positive_rate"))
def recall(predicted: Array, true: Array) -> float:
    """Share of the positive rows that are called so; the positive class is the second of the two."""
    from sklearn.metrics import recall_score

    return float(recall_score(true, predicted, zero_division=0))


@metric("binary", "classes", "ordinal", unit=_halved, undefined=_constant,
        aliases=("matthews", "matthews_corrcoef", "phi"))
def mcc(predicted: Array, true: Array) -> float:
    """Matthews correlation coefficient."""
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(true, predicted))


@metric(*_ORDERED, unit=_halved, undefined=_one_class, aliases=("qwk", "cohen_kappa", "kappa"))
def quadratic_kappa(predicted: Array, true: Array) -> float:
    """Cohen's kappa with the squared distance of the classes as weight."""
    from sklearn.metrics import cohen_kappa_score

    # A class that does not occur still lies between its neighbours.
    classes = np.arange(max(true.max(), predicted.max()) + 1)
    return float(cohen_kappa_score(true, predicted, labels=classes, weights="quadratic"))


@metric(*_NUMBERS, unit=_halved, undefined=_constant, raw=True, aliases=("correlation", "r"))
def pearson(predicted: Array, true: Array) -> float:
    """Pearson's correlation, of scores that are not clipped to the range."""
    from scipy.stats import pearsonr

    return float(pearsonr(predicted, true).statistic)


@metric(*_NUMBERS, unit=_halved, undefined=_constant, raw=True, aliases=("rank_correlation", "rho"))
def spearman(predicted: Array, true: Array) -> float:
    """Spearman's rank correlation, of scores that are not clipped to the range."""
    from scipy.stats import spearmanr

    return float(spearmanr(predicted, true).statistic)


@metric(*_NUMBERS, *_ORDERED, direction="lower", unit=_inverse, aliases=("mean_absolute_error",))
def mae(predicted: Array, true: Array) -> float:
    """Mean distance from the label; of ordinal classes, in classes."""
    return float(np.abs(predicted - true).mean())


@metric(*_NUMBERS, direction="lower", unit=_inverse, aliases=("mean_squared_error",))
def mse(predicted: Array, true: Array) -> float:
    """Mean squared distance from the label, in the labels' own range."""
    return float(((predicted - true) ** 2).mean())


@metric(*_NUMBERS)
def rounded_accuracy(predicted: Array, true: Array) -> float:
    """Share of the rows right once both are rounded, half to even."""
    return float((_rounded(predicted) == _rounded(true)).mean())


@metric(*_CHOICES, *_NUMBERS, "multi-label", scalar=False)
def per_label_accuracy(predicted: Array, true: Array) -> dict[Any, float]:
    """Share right among the rows of each label; numbers are rounded half to even."""
    if true.ndim > 1:
        return {label: float((predicted[:, label] == true[:, label]).mean())
                for label in range(true.shape[1])}
    if np.issubdtype(true.dtype, np.floating):
        predicted, true = _rounded(predicted), _rounded(true)
    return {int(label): float((predicted[true == label] == label).mean()) for label in np.unique(true)}
