"""The figures as PNG and SVG files, for papers and slides. The same run gives the same bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from polytask.core.disk import write_file
from polytask.core.errors import MissingExtra
from polytask.measure.report.analysis import confusion, per_label, projected, reliability
from polytask.measure.report.record import RunRecord, TaskRecord
from polytask.measure.report.sections.curves import losses, main_scores

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a6fbe", "#7d858c")
Draw = Callable[[Any], None]


def write_plots(run: RunRecord, folder: Path) -> list[Path]:
    """Write every figure that the run has data for; return the files.

    Raises `MissingExtra` with the pip command where matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise MissingExtra("plots/ (the page stands without it)", "plot") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    style = {"svg.hashsalt": "polytask", "axes.spines.top": False, "axes.spines.right": False,
             "axes.prop_cycle": pyplot.cycler(color=COLOURS), "figure.dpi": 150, "font.size": 9}
    made = []
    with matplotlib.rc_context(style):
        for name, draw in figures(run):
            figure, axes = pyplot.subplots(figsize=(4.6, 3.4), layout="constrained")
            draw(axes)
            for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
                held = io.BytesIO()
                figure.savefig(held, format=kind, metadata=metadata)
                write_file(folder / f"{name}.{kind}", held.getvalue())
                made.append(folder / f"{name}.{kind}")
            pyplot.close(figure)
    return made


def figures(run: RunRecord) -> Iterator[tuple[str, Draw]]:
    """Yield a name and what draws it on axes."""
    if run.evaluations:
        yield "scores", _lines(main_scores(run.evaluations), "dev score")
    if run.steps:
        yield "losses", _lines(losses(run.steps), "training loss")
    for task in run.tasks.values():
        if task.dev is None or task.labels is None:
            continue
        if task.labels.is_regression:
            yield f"{task.name}-scatter", _scatter(task)
        elif task.labels.kind != "multi-label":
            yield f"{task.name}-confusion", _confusion(task)
            if reliability(task.dev, task.labels):
                yield f"{task.name}-reliability", _reliability(task)
        yield f"{task.name}-labels", _labels(task)
        if task.vectors is not None and len(task.vectors) > 2:
            yield f"{task.name}-embeddings", _cloud(task)


def _lines(series: Mapping[str, list[tuple[float, float]]], ylabel: str) -> Draw:
    def draw(axes: Any) -> None:
        for name, points in series.items():
            axes.plot(*zip(*points, strict=True), label=name, marker="o" if len(points) < 20 else None,
                      markersize=3, linewidth=1.2)
        axes.set(xlabel="updates", ylabel=ylabel)
        axes.legend(frameon=False)
    return draw


def _scatter(task: TaskRecord) -> Draw:
    def draw(axes: Any) -> None:
        assert task.dev is not None
        true, predicted = task.dev.numbers()
        axes.scatter(true, predicted, s=6, alpha=0.4, linewidths=0)
        bounds = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
        axes.plot(bounds, bounds, color="0.5", linestyle="--", linewidth=1)
        axes.set(xlabel="true", ylabel="predicted", title=task.name)
    return draw


def _confusion(task: TaskRecord) -> Draw:
    def draw(axes: Any) -> None:
        assert task.dev is not None
        assert task.labels is not None
        counts, names = confusion(task.dev, task.labels.classes), task.labels.classes
        shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        if len(names) <= 12:
            for (row, column), count in np.ndenumerate(counts):
                axes.text(column, row, str(count), ha="center", va="center",
                          color="white" if shares[row, column] > 0.55 else "black")
            axes.set_xticks(range(len(names)), names)
            axes.set_yticks(range(len(names)), names)
        axes.set(xlabel="predicted", ylabel="true", title=task.name)
    return draw


def _labels(task: TaskRecord) -> Draw:
    def draw(axes: Any) -> None:
        assert task.dev is not None
        assert task.labels is not None
        found = per_label(task.dev, task.labels)
        places = np.arange(len(found))
        axes.bar(places - 0.2, [each.accuracy or 0.0 for each in found], 0.4, label="accuracy")
        axes.bar(places + 0.2, [each.share for each in found], 0.4, label="share of the rows")
        if len(found) <= 20:
            axes.set_xticks(places, [each.label for each in found])
        axes.set(title=task.name)
        axes.legend(frameon=False)
    return draw


def _reliability(task: TaskRecord) -> Draw:
    def draw(axes: Any) -> None:
        assert task.dev is not None
        assert task.labels is not None
        points = reliability(task.dev, task.labels)
        axes.plot([0, 1], [0, 1], color="0.5", linestyle="--", linewidth=1)
        axes.plot([a for a, _, _ in points], [b for _, b, _ in points], marker="o", markersize=3)
        axes.set(xlabel="score", ylabel="share that is right", title=task.name)
    return draw


def _cloud(task: TaskRecord) -> Draw:
    def draw(axes: Any) -> None:
        assert task.dev is not None
        assert task.labels is not None
        points, _ = projected(task.vectors)
        true = [task.dev.true[row] for row in task.vector_rows.tolist()]
        if task.labels.is_regression:
            axes.scatter(points[:, 0], points[:, 1], c=np.array(true, float), s=8, cmap="viridis")
        else:
            for name in task.labels.classes[:8]:
                here = np.array([label.split("|")[0] == name for label in true])
                axes.scatter(points[here, 0], points[here, 1], s=8, label=name)
            axes.legend(frameon=False, markerscale=1.5)
        axes.set(title=task.name, xlabel="first component", ylabel="second component")
    return draw
