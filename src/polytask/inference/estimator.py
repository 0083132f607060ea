"""One task of a model under scikit-learn's names, for its metrics and ensembles. Needs no scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from polytask.core.errors import ConfigError
from polytask.data.decisions import Decision, named


class DecidingModel(Protocol):
    """The part of a `Predictor` that an estimator uses."""

    def task(self, name: str) -> Any: ...
    def decided(self, task: str, texts: Iterable[Any]) -> Decision: ...


class TaskEstimator:
    """`predict`, `predict_proba` and `classes_` of a trained task. It cannot be fitted.

    X is a sequence of texts, or of pairs: lists, tuples, arrays, a pandas column, or two of them. Classes
    are strings, as in the data file. A regression has no `classes_` and no `predict_proba`: `hasattr` is
    False.
    """

    def __init__(self, model: DecidingModel, task: str) -> None:
        self.model, self.task = model, model.task(task)

    @property
    def classes_(self) -> NDArray[np.str_]:
        """The names of the classes, in the order of `predict_proba`'s columns."""
        if self.task.labels.is_regression:
            raise AttributeError(f'task "{self.task.name}" predicts numbers; it has no classes_')
        return np.array(self.task.labels.classes)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return (rows,) class names or numbers, or (rows, classes) of 0 and 1 for a multi-label task."""
        labels, decision = self.task.labels, self.model.decided(self.task.name, _rows(X))
        if labels.kind == "multi-label":
            return np.asarray(decision.labels)
        values = [named(labels, label) for label in decision.labels]
        return np.array(values, dtype=np.float64 if labels.is_regression else np.str_)

    @property
    def predict_proba(self) -> Callable[[Any], NDArray[np.float64]]:
        """Return (rows, classes) probabilities; each row sums to 1, unless the task is multi-label.

        Raises `ConfigError` for a head that compares a cosine with a threshold, which is not a probability.
        """
        if self.task.labels.is_regression:
            raise AttributeError(f'task "{self.task.name}" predicts numbers; it has no predict_proba')
        return self._probabilities

    def _probabilities(self, X: Any) -> NDArray[np.float64]:
        rows = _rows(X)
        shares = self.model.decided(self.task.name, rows).probabilities
        if shares is None and rows:
            raise ConfigError(f'task "{self.task.name}": its head gives a cosine, not probabilities; use '
                              "predict, or the score of Model.predict")
        values = np.asarray([] if shares is None else shares, dtype=np.float64).reshape(
            len(rows), len(self.classes_))
        # In float32 a row sums to 1 within 1e-7 only, which scikit-learn's log_loss warns of.
        return values if self.task.labels.kind == "multi-label" else values / values.sum(1, keepdims=True)


def _rows(X: Any) -> list[Any]:
    """Return texts or tuples of texts. Raises `ConfigError` for one text in place of several."""
    if isinstance(X, str):
        raise ConfigError(f"X: found one text, {X[:40]!r}, expected a sequence of texts")
    values = X.to_numpy() if hasattr(X, "to_numpy") else X
    rows = values.tolist() if isinstance(values, np.ndarray) else list(values)
    # A data frame of one column has rows of one text.
    return [row[0] if isinstance(row, list | tuple) and len(row) == 1 else
            tuple(row) if isinstance(row, list | tuple) else row for row in rows]
