"""Labels: how they are distributed, which are taken for which, how far the scores can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from polytask.data.labels import Labels
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
from polytask.report.sections.contract import (
    figure,
    legend,
    note,
    section,
    side_by_side,
    soft,
    table,
)

# Classes beyond which the matrix becomes a list of its largest entries.
MATRIX = 24
# Labels beyond which the bars of the rarer ones are folded away.
BARS = 60


@section("distribution", "Labels of the splits", 50)
def distribution(run: RunRecord) -> str:
    """Show the share of each label in every split (S-26)."""
    parts = []
    for task in run.tasks.values():
        splits = {split: held for split, held in task.histograms.items() if sum(held["counts"])}
        if not splits:
            parts.append(note(run.no_exhibits(f"{task.name}: the labels of its rows are kept")))
            continue
        groups = [(split, [count / sum(held["counts"]) for count in held["counts"]])
                  for split, held in splits.items()]
        first = next(iter(splits.values()))
        rows = ", ".join(f"{split} {sum(held['counts']):,}" for split, held in splits.items())
        picture = label_bars(label_names(task, first), groups, "share of rows", groups[0][1],
                             numbers="low" in first)
        parts.append(figure(legend(list(splits)) + picture, f"{task.name}: {rows} rows"))
    return side_by_side(parts) if parts else note("The run has no tasks.")


def label_names(task: TaskRecord, held: Mapping[str, object]) -> list[str]:
    """Return what the bars of a label histogram are called: classes, or where each bin begins."""
    counts = held["counts"]
    assert isinstance(counts, list)
    if task.labels is not None and len(task.labels.classes) == len(counts):
        return list(task.labels.classes)
    low, high = float(str(held.get("low", 0))), float(str(held.get("high", len(counts))))
    width = (high - low) / len(counts)
    begins = [low + width * n for n in range(len(counts))]
    return ["0" if abs(value) < width * 1e-6 else f"{value:g}" for value in begins]


def label_bars(names: Sequence[str], groups: BarGroups, label: str, shares: Sequence[float],
               numbers: bool = False) -> str:
    """Return a bar a label; of very many labels the rarer ones are folded away."""
    if len(names) <= BARS:
        return bars(names, groups, label, numbers)
    order = sorted(range(len(names)), key=lambda place: -shares[place])
    often, rare = (bars([names[n] for n in part], [(group, [values[n] for n in part])
                                                   for group, values in groups], label)
                   for part in (order[:BARS], order[BARS:]))
    return (soft(f"The {BARS} most frequent of {len(names)} labels:") + often
            + f"<details><summary>the other {len(names) - BARS} labels</summary>{rare}</details>")


@section("confusion", "Confusion", 60)
def confusions(run: RunRecord) -> str:
    """Show which label is taken for which, true labels in rows: counts and shares (T-37, P-26)."""
    parts = []
    for task in run.tasks.values():
        if task.dev is None or task.labels is None:
            if task.labels is None or not task.labels.is_regression:
                parts.append(note(run.no_dev(task)))
        elif task.labels.is_regression:
            continue
        elif task.labels.kind == "multi-label":
            parts.append(_flags(task))
        elif len(task.labels.classes) <= MATRIX:
            parts.append(_matrix(task))
        else:
            parts.append(_largest(task))
    return side_by_side(parts) if parts else note("No task has classes.")


def _matrix(task: TaskRecord) -> str:
    assert task.dev is not None
    assert task.labels is not None
    counts, names = confusion(task.dev, task.labels.classes), list(task.labels.classes)
    totals = counts.sum(axis=1, keepdims=True).clip(min=1)
    shares = (counts / totals).tolist()
    texts = [[f"{count} · {share:.0%}" if len(names) <= 6 else str(count)
              for count, share in zip(row, row_shares, strict=True)]
             for row, row_shares in zip(counts.tolist(), shares, strict=True)]
    cell = 74.0 if len(names) <= 6 else 34.0
    return figure(heat(names, names, shares, texts, cell),
                  f"{task.name}: rows true, columns predicted; count and share of the row")


def _flags(task: TaskRecord) -> str:
    assert task.dev is not None
    assert task.labels is not None
    rows = [[name, f"{has[1]:,}", f"{has[0]:,}", f"{lacks[1]:,}", f"{lacks[0]:,}"] for name, (lacks, has) in
            zip(task.labels.classes, flags(task.dev, task.labels.classes).tolist(), strict=True)]
    return (f"<figure><figcaption>{escape(task.name)}: each label by itself</figcaption>"
            + table(["label", "found", "missed", "wrongly given", "rightly not given"], rows) + "</figure>")


def _largest(task: TaskRecord) -> str:
    assert task.dev is not None
    assert task.labels is not None
    counts, names = confusion(task.dev, task.labels.classes), task.labels.classes
    wrong = sorted(((counts[i, j], a, b) for i, a in enumerate(names) for j, b in enumerate(names)
                    if i != j and counts[i, j]), reverse=True)[:20]
    return (f"<figure><figcaption>{escape(task.name)}: of {len(names)} classes, the twenty that are most "
            "often confused</figcaption>"
            + table(["true", "predicted", "rows"], [[a, b, str(n)] for n, a, b in wrong]) + "</figure>")


@section("labels", "Accuracy of each label", 70)
def accuracies(run: RunRecord) -> str:
    """Show each label's accuracy beside its share of the rows (G-37, G-38, G-40)."""
    parts = []
    for task in run.tasks.values():
        if task.dev is None or task.labels is None:
            parts.append(note(run.no_dev(task)))
            continue
        found = per_label(task.dev, task.labels)
        shares = [each.share for each in found]
        groups = [("accuracy", [each.accuracy or 0.0 for each in found]), ("share of the rows", shares)]
        picture = label_bars([each.label for each in found], groups, "", shares)
        rounded = "" if not task.labels.is_regression else (
            ", numbers rounded" if whole_numbers(task.labels) else ", fifths of the range")
        parts.append(figure(legend(["accuracy", "share of the rows"]) + picture, f"{task.name}{rounded}"))
    return side_by_side(parts)


@section("reliability", "Reliability of the scores", 80)
def reliabilities(run: RunRecord) -> str:
    """Show how often what a score speaks of is so: on the line, a score can be taken at its word."""
    parts = []
    for task in run.tasks.values():
        if task.labels is not None and task.labels.is_regression:
            continue
        if task.dev is None or task.labels is None:
            parts.append(note(run.no_dev(task)))
            continue
        points = reliability(task.dev, task.labels)
        if not points:
            continue
        axes = svg.Axes((0, 1), (0, 1), "score", scored_share(task.labels))
        axes.rule((0, 0), (1, 1))
        axes.line([(a, b) for a, b, _ in points], 0)
        rows = ", ".join(f"{a:.2f}: {n}" for a, _, n in points)
        of = (f"the positive class {task.labels.classes[1]}" if has_positive(task.labels) else
              "each label" if task.labels.kind == "multi-label" else "the predicted class")
        head = task.settings.get("head")
        cosine = "cosine" in (head, head.get("type") if isinstance(head, Mapping) else None)
        what = f"{'cosine, which is no probability, for' if cosine else 'probability of'} {of}"
        parts.append(figure(str(axes), f"{task.name}: {what}; expected calibration error "
                            f"{calibration_error(points):.3f}") + soft(f"Rows at each score: {rows}."))
    return side_by_side(parts) if parts else note("No task has probabilities on labelled dev rows.")


def scored_share(labels: Labels) -> str:
    """Return the share of rows that a score is held against: of two classes, of those with the second."""
    if has_positive(labels):
        return f'share with label "{svg.shortened(labels.classes[1], 80)}"'
    return "share that has the label" if labels.kind == "multi-label" else "share that is right"
