"""The interface of a loaded model, whatever computes it: `predict`, `predict_all`, `embed`, its tasks.

Nothing here, nor in what it imports, needs torch: an engine that runs exported graphs has the same
surface without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from polytask.core.errors import ConfigError, nearest
from polytask.core.prefetch import prefetch
from polytask.data.cache import Cache
from polytask.data.collate import InputLayout
from polytask.data.dataset import DatasetStore, Split
from polytask.data.decisions import Decision, named, probabilities
from polytask.data.file_format import FileFormat
from polytask.data.labels import Labels
from polytask.data.tokenization import Tokenizer
from polytask.inference.answers import Answers, Prediction
from polytask.inference.estimator import TaskEstimator

# Rows that are tokenized and answered at a time: enough to sort by length with little waste.
CHUNK = 4096

Text = str | tuple[str, ...] | list[str]


class AnswerableTask(Protocol):
    """What prediction needs to know about a task."""

    @property
    def name(self) -> str: ...
    @property
    def text(self) -> tuple[str, ...]: ...
    @property
    def labels(self) -> Labels: ...
    @property
    def id(self) -> str | None: ...
    @property
    def max_length(self) -> int: ...
    @property
    def layout(self) -> InputLayout: ...
    @property
    def file_format(self) -> FileFormat: ...
    @property
    def where(self) -> dict[str, Any] | None: ...


OneTask = TypeVar("OneTask", bound=AnswerableTask)


class Predictor(ABC, Generic[OneTask]):
    """A model of several tasks, ready to answer. Thread-safe: nothing in it changes."""

    def __init__(self, folder: Path, tasks: dict[str, OneTask], tokenizer: Tokenizer) -> None:
        self.folder, self.tasks = folder, tasks
        self._tokenizer = tokenizer
        self._store = DatasetStore(tokenizer, Path(), Cache())

    @abstractmethod
    def decide(self, tasks: Sequence[OneTask], split: Split) -> dict[str, Decision]:
        """Return the labels and scores of several tasks for the same rows."""

    @abstractmethod
    def embed(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """Return the pooled vector of each text: (texts, width) float32."""

    def task(self, name: str) -> OneTask:
        """Return a task of the model; raise `ConfigError` for one that it does not have."""
        if name not in self.tasks:
            raise ConfigError(f'"{name}" is not a task of {self.folder}{nearest(name, self.tasks)}'
                              f" (expected one of {', '.join(self.tasks)})")
        return self.tasks[name]

    def split(self, task: OneTask, texts: Sequence[Text]) -> Split:
        """Return texts as rows of a task."""
        return self._store.unlabeled(self._checked(task, texts))

    def predict(self, task: str, texts: Iterable[Text]) -> Answers:
        """Return a prediction for each text, or pair of texts."""
        return self.predict_all([task], texts)[task]

    def predict_all(self, tasks: Sequence[str], texts: Iterable[Text]) -> dict[str, Answers]:
        """Return the predictions of several tasks: task → one for each text, or pair of texts.

        Tasks that read their texts in the same way share one pass of the encoder over each text.
        """
        specs, listed = [self.task(name) for name in tasks], listed_texts(texts)
        rows: list[tuple[str, ...]] = []
        for spec in specs:
            rows = self._checked(spec, listed)
        answers = {spec.name: Answers([], spec.name, spec.text, rows) for spec in specs}
        for decisions in self._decided(specs, rows):
            for name, decision in decisions.items():
                labels = self.tasks[name].labels
                answers[name] += [Prediction(named(labels, label), score.tolist(),
                                             probabilities(labels, decision, row))
                                  for row, (label, score) in enumerate(
                                      zip(decision.labels, decision.scores, strict=True))]
        return answers

    def decided(self, task: str, texts: Iterable[Text]) -> Decision:
        """Return a task's labels, scores and probabilities of all texts as arrays (see `Decision`)."""
        spec = self.task(task)
        parts = [each[task] for each in self._decided([spec], self._checked(spec, listed_texts(texts)))]
        if not parts:
            return Decision(np.empty(0, dtype=np.int64), np.empty(0))
        shares = [part.probabilities for part in parts if part.probabilities is not None]
        return Decision(np.concatenate([part.labels for part in parts]),
                        np.concatenate([part.scores for part in parts]),
                        np.concatenate(shares) if shares else None)

    def estimator(self, task: str) -> TaskEstimator:
        """Return a task under scikit-learn's names: `predict`, `predict_proba`, `classes_`."""
        return TaskEstimator(self, task)

    def _decided(self, specs: Sequence[OneTask],
                 rows: list[tuple[str, ...]]) -> Iterator[dict[str, Decision]]:
        if 0 < len(rows) <= CHUNK:  # a thread that reads ahead would cost more than it saves
            yield self.decide(specs, self._store.unlabeled(rows))
            return
        for chunk in prefetch(self._store.unlabeled(part) for part in _cut(rows)):
            yield self.decide(specs, chunk)

    def _checked(self, task: OneTask, texts: Sequence[Text]) -> list[tuple[str, ...]]:
        return text_rows(texts, len(task.text), f' for task "{task.name}"')


def listed_texts(texts: Iterable[Text]) -> list[Text]:
    """Return texts as a list; raise `ConfigError` for one text in place of several."""
    if isinstance(texts, str):
        raise ConfigError(f"texts: found one text, {texts[:40]!r}, expected a list of texts")
    return list(texts)


def text_rows(texts: Sequence[Text], width: int, whose: str) -> list[tuple[str, ...]]:
    """Return part text, or texts, as a tuple; raise `ConfigError` for what is not text."""
    rows = []
    for number, text in enumerate(texts):
        row = tuple(text) if isinstance(text, tuple | list) else (text,)
        if len(row) != width or not all(isinstance(part, str) for part in row):
            raise ConfigError(f"texts[{number}]: found {text!r}, expected {width} "
                              f"text{'s' if width > 1 else ''}{whose}")
        rows.append(row)
    return rows


def _cut(rows: list[tuple[str, ...]]) -> Iterator[list[tuple[str, ...]]]:
    return (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))
