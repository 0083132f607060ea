"""A bag-of-words baseline: TF-IDF with a linear model, on the same rows and in the same metrics.

A transformer that scores below it has learned nothing that counting words does not tell, so `polytask check
--baseline`, the table at the end of a training and the report's cards show both.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.core.cache_paths import baseline_scores
from polytask.core.progress import Progress
from polytask.data.cache import Cache
from polytask.data.dataset import Split, TaskData
from polytask.data.decisions import Decision, chosen, clipped
from polytask.data.labels import Labels
from polytask.data.splits import spread
from polytask.evaluation.baseline import Baseline, baseline
from polytask.evaluation.evaluate import shown, true_labels
from polytask.metrics import METRICS, measure
from polytask.metrics.registry import Array
from polytask.tasks.resolved_task import ResolvedTask

# What bounds the cost to some seconds: rows of a split, their characters in all and those of one text, rows
# times classes, features; and the numbers in the features times fits after which no further candidate is
# tried (a core fits some four million a second). None is a time: a slower machine must not score otherwise.
ROWS, CHARACTERS, TEXT, ROWS_TIMES_CLASSES, FEATURES, WORK = (
    10_000, 1_500_000, 1_000, 150_000, 20_000, 12_000_000)
# Fewer blanks than this a character, and the script has no words between blanks.
_BLANKS = 0.05
# Raised when the numbers change; results kept in the cache are then computed again.
_VERSION = 2

Predict = Callable[[Any], Decision]


def baselines(tasks: Mapping[str, ResolvedTask], data: Mapping[str, TaskData], cache: Cache,
              progress: Progress | None = None) -> dict[str, list[Baseline]]:
    """Return each task's dev scores of one answer for all rows, and of TF-IDF with a linear model."""
    by_task = {}
    for name, task in tasks.items():
        both = (baseline(task, data[name]), linear_baseline(task, data[name], cache))
        by_task[name] = [result for result in both if result is not None]
        if progress is not None:
            progress.advance(1, name)
    return by_task


def beaten_notes(tasks: Mapping[str, ResolvedTask], scores: Mapping[str, Mapping[str, Any]],
                 by_task: Mapping[str, Sequence[Baseline]]) -> list[str]:
    """Return a sentence for each task whose score a baseline beats."""
    notes = []
    for name, values in scores.items():
        metric, best = tasks[name].metrics[0], _unit(tasks[name], values)
        for result in reversed(by_task.get(name, ())):
            value = result.scores.get(metric)
            if value is not None and METRICS[metric].unit(value) > best:
                notes.append(f"{name}: {result.name} reaches {metric} {value:.4f}, the model "
                            f"{shown(values[metric])}; train longer (train.epochs) or with another "
                            "learning rate (train.optimizer.lr)")
                break
    return notes


def linear_baseline(task: ResolvedTask, data: TaskData, cache: Cache) -> Baseline | None:
    """Return what TF-IDF with logistic regression (numbers: ridge regression) scores on dev.

    Words and pairs of words (in scripts without blanks: up to three characters) are weighed by TF-IDF; the
    features of a pair are both vectors, their product, their absolute difference and their cosine. Of at
    most four strengths of the penalty, with and without weights of the classes, the one with the best score
    on dev counts, which flatters the baseline a little, as the best epoch flatters a network. Results are
    kept in the cache by the content of the rows. None without labelled dev rows, without words, and where
    the training rows have one label.
    """
    train, dev = data.train, data.splits.get("dev")
    if dev is None or dev.targets is None or train.targets is None or not len(dev):
        return None
    most = min(ROWS, max(1_000, ROWS_TIMES_CLASSES // max(1, task.labels.num_classes)))
    rows, dev_rows = _chosen_rows(train, most), _chosen_rows(dev, ROWS)
    name = baseline_scores(_key(task, train, rows, dev, dev_rows))
    # A metric of the user's may change without a word of the rows changing.
    keep = all(METRICS[metric].function.__module__.startswith("polytask.") for metric in task.metrics)
    if keep:
        with suppress(ValueError):
            return _as_kept(cache.remembered(name))
    result = _measured(task, train, rows, dev, dev_rows)
    if keep:
        cache.remember(name, dataclasses.asdict(result) if result else {})
    return result


def _as_kept(known: Any) -> Baseline | None:
    """Return the result that the cache keeps; raise ValueError for a value of another shape."""
    match known:
        case {"name": str(name), "scores": dict(scores), "limits": str(limits)} if len(known) == 3 and all(
                isinstance(value, float) for value in scores.values()):
            return Baseline(name, scores, limits)
    if known != {}:
        raise ValueError("not a baseline's result")
    return None


def _measured(task: ResolvedTask, train: Split, rows: Array, dev: Split,
              dev_rows: Array) -> Baseline | None:
    targets, true = true_labels(task, train)[rows], true_labels(task, dev)[dev_rows]
    if (targets == targets[0]).all():
        return None
    spent, best = 0, None
    fits = 1 if task.labels.kind in ("binary", "regression") else task.labels.num_classes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fits that were stopped before they converged
        features = _features(_texts(train, rows), _texts(dev, dev_rows))
        if features is None:
            return None
        for predict in _candidates(task, features[0], targets):
            decision = predict(features[1])
            measured = measure(task.metrics, decision.labels, true, task.labels, decision.scores,
                               decision.probabilities)
            headline = _unit(task, measured.values)
            if best is None or headline > best[0]:
                undefined = {note.partition(":")[0] for note in measured.notes if "not defined" in note}
                best = headline, {metric: value for metric, value in measured.values.items()
                                  if isinstance(value, float) and metric not in undefined}
            spent += features[0].nnz * fits
            if spent > WORK:
                break
    assert best is not None
    model = "ridge regression" if task.labels.is_regression else "logistic regression"
    limits = [f"{len(used):,} of {len(split):,} {split.name} rows" for split, used in
              ((train, rows), (dev, dev_rows)) if len(used) < len(split)]
    return Baseline(f"TF-IDF with {model}", best[1], f"on {' and '.join(limits)}" if limits else "")


def _unit(task: ResolvedTask, values: Any) -> float:
    value = values[task.metrics[0]]
    return METRICS[task.metrics[0]].unit(value) if isinstance(value, float) else 0.0


# ---- texts to features

def _chosen_rows(split: Split, most: int) -> NDArray[np.int64]:
    """Return row numbers, evenly over all: at most `most`, and with at most `CHARACTERS` in all."""
    sizes = sum(np.minimum(np.diff(column.offsets)[split.rows.index], TEXT)
                for column in split.rows.text_columns)
    afforded = max(1, int(CHARACTERS / max(1.0, float(np.mean(sizes)))))
    return spread(len(split), min(most, afforded))


def _texts(split: Split, rows: Array) -> list[tuple[str, ...]]:
    return [tuple(text[:TEXT] for text in texts) for texts in split.texts(rows)]


def _features(train: list[tuple[str, ...]], dev: list[tuple[str, ...]]) -> tuple[Any, Any] | None:
    """Return the features of both splits, sparse (rows, features); None where no text has words."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    every = [text for column in zip(*train, strict=True) for text in column]
    characters = sum(map(len, every))
    parts: dict[str, Any] = {"token_pattern": r"(?u)\b\w+\b", "ngram_range": (1, 2)}
    if sum(text.count(" ") for text in every) < _BLANKS * characters and characters > 8 * len(every):
        parts = {"analyzer": "char", "ngram_range": (1, 3)}
    tfidf = TfidfVectorizer(sublinear_tf=True, max_features=FEATURES, **parts)
    try:
        seen = tfidf.fit_transform(every)
    except ValueError:  # an empty vocabulary
        return None
    of_train = [seen[start:start + len(train)] for start in range(0, len(every), len(train))]
    return _joined(of_train), _joined([tfidf.transform(column) for column in zip(*dev, strict=True)])


def _joined(columns: list[Any]) -> Any:
    """Return the vectors of single texts; of pairs (a, b, a·b, |a − b|, cosine)."""
    from scipy import sparse

    if len(columns) == 1:
        return columns[0]
    first, second = columns
    product = first.multiply(second)
    cosine = sparse.csr_matrix(product.sum(axis=1))
    return sparse.hstack([first, second, product, abs(first - second), cosine], format="csr")


# ---- linear models

def _candidates(task: ResolvedTask, features: Any, targets: Array) -> Iterator[Predict]:
    """Yield fitted models, the likeliest first, as functions of features."""
    labels = task.labels
    if labels.is_regression:
        from sklearn.linear_model import Ridge

        for alpha in (1.0, 0.3, 5.0):
            ridge = Ridge(alpha=alpha, solver="sparse_cg", random_state=0).fit(features, targets)
            yield partial(_ridge, ridge, labels)
        return
    # A regression a class, each against the rest: with many classes ten times faster than one over all.
    columns = (targets[:, None] if labels.kind == "binary" else targets if labels.kind == "multi-label" else
               targets[:, None] == np.arange(labels.num_classes)).astype(np.int64)
    for strength, weights in ((10.0, None), (10.0, "balanced"), (1.0, None), (1.0, "balanced")):
        fits = [_logistic(features, column, strength, weights) for column in columns.T]

        def predict(x: Any, fits: list[Any] = fits) -> Decision:
            probabilities = np.stack([_positive(fit, x) for fit in fits], axis=1)
            if labels.kind == "binary":
                return chosen(probabilities[:, 0], labels, None)
            if labels.kind != "multi-label":
                probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)
            return chosen(probabilities, labels, None)

        yield predict


def _ridge(fit: Any, labels: Labels, features: Any) -> Decision:
    return clipped(np.asarray(fit.predict(features)), labels)


def _logistic(features: Any, targets: Array, strength: float, weights: str | None) -> Any:
    """Return a fitted logistic regression of 0 and 1, or the number that all rows have."""
    from sklearn.linear_model import LogisticRegression

    if (targets == targets[0]).all():
        return int(targets[0])
    return LogisticRegression(C=strength, class_weight=weights, solver="liblinear", max_iter=100, tol=1e-3,
                              random_state=0).fit(features, targets)


def _positive(fit: Any, features: Any) -> NDArray[np.float64]:
    if isinstance(fit, int):
        return np.full(features.shape[0], float(fit))
    return np.asarray(fit.predict_proba(features)[:, 1])


def _key(task: ResolvedTask, train: Split, rows: Array, dev: Split, dev_rows: Array) -> str:
    """Return the digest of all inputs of the result: rows, labels, metrics."""
    digest = hashlib.blake2b(digest_size=16)
    about = [_VERSION, task.text, task.labels.to_json(), task.metrics, TEXT, FEATURES,
             train.rows.table.key, dev.rows.table.key]
    digest.update(json.dumps(about).encode())
    for split, part in ((train, rows), (dev, dev_rows)):
        assert split.targets is not None
        digest.update(np.ascontiguousarray(split.rows.index[part]).tobytes())
        digest.update(np.ascontiguousarray(split.targets[part]).tobytes())
    return digest.hexdigest()
