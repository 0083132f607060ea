"""Tasks with classes: how often each label occurs, which is taken for which, and what scores are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polytask.data.labels import Labels
from polytask.evaluation.predictions import Predictions
from polytask.report import svg
from polytask.report.analysis import (
    calibration_error,
    confusion,
    flags,
    has_positive,
    per_label,
    reliability,
    whole_numbers,
)
from polytask.report.charts import BarGroups, bars, heat
from polytask.report.record import RunRecord, TaskRecord
from polytask.report.sections.contract import by_task, figure, framed, note, section, soft, table
from polytask.report.svg import Figure

# Classes beyond which the matrix becomes a list of its largest entries.
MATRIX = 24
# Labels beyond which the bars of the rarer ones are folded away.
BARS = 60


@section("distribution", "Labels of the splits", 50)
def distribution(run: RunRecord) -> str:
    """Show the share of each label in every split (S-26)."""
    parts = []
    for task in run.tasks.values():
        figures = distribution_figures(task, run)
        parts.append((task.name, _folded(figures, task) if figures else note(run.no_artifacts(
            f"{task.name}: the distribution of its labels is kept"))))
    return by_task(parts) if parts else note("The run has no tasks.")


def distribution_figures(task: TaskRecord, run: RunRecord) -> list[Figure]:
    """Return the shares of the labels in every split: the frequent labels, then the rarer ones."""
    splits = {split: histogram for split, histogram in task.histograms.items() if sum(histogram["counts"])}
    if not splits:
        return []
    groups = [(split, [count / sum(histogram["counts"]) for count in histogram["counts"]])
              for split, histogram in splits.items()]
    first = next(iter(splits.values()))
    counts = ", ".join(_count(task, split, sum(histogram["counts"]), run)
                       for split, histogram in splits.items())
    return label_figures(label_names(task, first), groups, "share", groups[0][1], f"{task.name}: {counts}",
                         numbers="low" in first)


def _count(task: TaskRecord, split: str, labels: int, run: RunRecord) -> str:
    """Return how many rows a split has; a row of a multi-label task has any number of labels."""
    rows = run.data.get(task.name, {}).get(split, {}).get("rows")
    if task.labels is None or task.labels.kind != "multi-label":
        return f"{split} {labels:,} rows"
    return f"{split} {labels:,} labels" + (f" on {rows:,} rows" if isinstance(rows, int) else "")


def label_names(task: TaskRecord, histogram: Mapping[str, object]) -> list[str]:
    """Return the names of the bars of a label histogram: classes, or where each bin begins."""
    counts = histogram["counts"]
    assert isinstance(counts, list)
    if task.labels is not None and len(task.labels.classes) == len(counts):
        return list(task.labels.classes)
    low, high = float(str(histogram.get("low", 0))), float(str(histogram.get("high", len(counts))))
    width = (high - low) / len(counts)
    begins = [low + width * n for n in range(len(counts))]
    return ["0" if abs(value) < width * 1e-6 else f"{value:g}" for value in begins]


def label_figures(names: Sequence[str], groups: BarGroups, axis: str, shares: Sequence[float], caption: str,
                  numbers: bool = False) -> list[Figure]:
    """Return a bar per label; of very many labels the frequent ones first, then the rarer ones."""
    legend = tuple(group for group, _ in groups)
    if len(names) <= BARS:
        return [Figure(bars(names, groups, axis, numbers), caption, legend)]
    order = sorted(range(len(names)), key=lambda place: -shares[place])
    often, rare = (bars([names[n] for n in part], [(group, [values[n] for n in part])
                                                   for group, values in groups], axis)
                   for part in (order[:BARS], order[BARS:]))
    return [Figure(often, f"{caption}; the {BARS} most frequent of {len(names)} labels", legend),
            Figure(rare, f"{caption}; the other {len(names) - BARS} labels", legend)]


def _folded(figures: Sequence[Figure], task: TaskRecord) -> str:
    """Return the first figure, and the others in a fold."""
    first, *others = figures
    rest = "".join(map(figure, others))
    return figure(first) + (f"<details><summary>rarer labels</summary>{rest}</details>" if others else "")


@section("confusion", "Confusion", 60)
def confusions(run: RunRecord) -> str:
    """Show which label is taken for which, true labels in rows: counts and shares (T-37, P-26)."""
    parts = []
    for task in run.tasks.values():
        if task.dev is None or task.labels is None:
            if task.labels is None or not task.labels.is_regression:
                parts.append((task.name, note(run.no_dev(task))))
        elif task.labels.kind == "multi-label":
            parts.append((task.name, _flags(task.name, task.dev, task.labels)))
        elif not task.labels.is_regression and len(task.labels.classes) <= MATRIX:
            parts.append((task.name, figure(confusion_figure(task.name, task.dev, task.labels))))
        elif not task.labels.is_regression:
            parts.append((task.name, _largest(task.name, task.dev, task.labels)))
    return by_task(parts) if parts else note("No task has classes.")


def confusion_figure(name: str, dev: Predictions, labels: Labels) -> Figure:
    """Return the matrix of true and predicted classes, coloured by the share of the true class."""
    counts, classes = confusion(dev, labels.classes), list(labels.classes)
    shares = (counts / counts.sum(axis=1, keepdims=True).clip(min=1)).tolist()
    texts = [[f"{count} · {share:.0%}" if len(classes) <= 6 else str(count)
              for count, share in zip(row, row_shares, strict=True)]
             for row, row_shares in zip(counts.tolist(), shares, strict=True)]
    cell = 74.0 if len(classes) <= 6 else 34.0
    return Figure(heat(classes, classes, shares, texts, cell),
                  f"{name}: rows true, columns predicted; count and share of the row")


def _flags(name: str, dev: Predictions, labels: Labels) -> str:
    counts = flags(dev, labels.classes).tolist()
    rows = [[label, f"{has[1]:,}", f"{has[0]:,}", f"{lacks[1]:,}", f"{lacks[0]:,}"]
            for label, (lacks, has) in zip(labels.classes, counts, strict=True)]
    return framed(f"{name}: each label by itself",
                  table(["label", "hit", "missed", "wrongly given", "correctly not predicted"], rows))


def _largest(name: str, dev: Predictions, labels: Labels) -> str:
    counts, classes = confusion(dev, labels.classes), labels.classes
    wrong = sorted(((counts[i, j], a, b) for i, a in enumerate(classes) for j, b in enumerate(classes)
                    if i != j and counts[i, j]), reverse=True)[:20]
    return framed(f"{name}: the twenty most frequent confusions of {len(classes)} classes",
                  table(["true", "predicted", "rows"], [[a, b, str(n)] for n, a, b in wrong]))


@section("labels", "Recall of each label", 70)
def recalls(run: RunRecord) -> str:
    """Show each label's recall beside its share of the rows (G-37, G-38, G-40)."""
    parts = []
    for task in run.tasks.values():
        if task.dev is None or task.labels is None:
            parts.append((task.name, note(run.no_dev(task))))
        else:
            parts.append((task.name, _folded(recall_figures(task.name, task.dev, task.labels), task)))
    return soft("Of the rows that have a label, the share for which it is predicted.") + by_task(parts)


def recall_figures(name: str, dev: Predictions, labels: Labels) -> list[Figure]:
    """Return each label's recall and share: the frequent labels, then the rarer ones."""
    by_label = per_label(dev, labels)
    shares = [label.share for label in by_label]
    groups = [("recall", [label.recall or 0.0 for label in by_label]), ("share of the rows", shares)]
    rounded = "" if not labels.is_regression else (
        ", numbers rounded" if whole_numbers(labels) else ", fifths of the range")
    return label_figures([label.label for label in by_label], groups, "", shares, f"{name}{rounded}")


@section("reliability", "Reliability of the scores", 80)
def reliabilities(run: RunRecord) -> str:
    """Show how often what a score stands for is true: on the line, scores are probabilities."""
    parts = []
    for task in run.tasks.values():
        if task.labels is not None and task.labels.is_regression:
            continue
        if task.dev is None or task.labels is None:
            parts.append((task.name, note(run.no_dev(task))))
        elif shown := reliability_figure(task, task.dev, task.labels):
            points = reliability(task.dev, task.labels)
            rows = ", ".join(f"{score:.2f}: {count}" for score, _, count in points)
            parts.append((task.name, figure(shown) + soft(f"Rows at each score: {rows}.")))
    return by_task(parts) if parts else note("No task has probabilities on labelled dev rows.")


def reliability_figure(task: TaskRecord, dev: Predictions, labels: Labels) -> Figure | None:
    """Return the share of rows that have what each score stands for; None without probabilities."""
    points = reliability(dev, labels)
    if not points:
        return None
    axes = svg.Axes((0, 1), (0, 1), "score", scored_share(labels))
    axes.rule((0, 0), (1, 1))
    axes.line([(score, share) for score, share, _ in points], 0)
    of = (f'label "{labels.classes[1]}"' if has_positive(labels) else
          "each label" if labels.kind == "multi-label" else "the predicted class")
    head = task.settings.get("head")
    cosine = "cosine" in (head, head.get("type") if isinstance(head, Mapping) else None)
    what = f"{'cosine, which is not a probability, for' if cosine else 'probability of'} {of}"
    return Figure(axes.picture(), f"{task.name}: {what}; expected calibration error "
                                  f"{calibration_error(points):.3f}")


def scored_share(labels: Labels) -> str:
    """Return what a score is compared with: of two classes, the share of rows that have the second."""
    if has_positive(labels):
        return f'share with label "{svg.shortened(labels.classes[1], 80)}"'
    return "share that has the label" if labels.kind == "multi-label" else "share that is right"
