"""Tasks whose labels are numbers: predicted against true, and the residuals."""

from __future__ import annotations

import numpy as np

from polytask.evaluation.predictions import Predictions
from polytask.report import svg
from polytask.report.analysis import residuals
from polytask.report.record import RunRecord
from polytask.report.sections.contract import by_task, figure, note, section, side_by_side, soft
from polytask.report.svg import Figure

BINS = 24


@section("scatter", "Predicted against true", 90)
def scatter(run: RunRecord) -> str:
    """Show predicted against true with the line of slope 1, and the residuals (T-34, P-27, G-40)."""
    parts = []
    for task in run.tasks.values():
        if task.labels is not None and not task.labels.is_regression:
            continue
        if task.dev is None:
            parts.append((task.name, note(run.no_dev(task))))
            continue
        gaps = residuals(task.dev)
        parts.append((task.name, side_by_side([
            figure(scatter_figure(task.name, task.dev)),
            figure(residual_figure(task.name, task.dev)) + soft(
                f"Mean {gaps.mean():+.3f}, standard deviation {gaps.std():.3f}, "
                f"mean absolute error {np.abs(gaps).mean():.3f}.")])))
    if len(parts) == 1:
        return parts[0][1]
    return by_task(parts, named=True) if parts else note("No task has numbers as labels.")


def scatter_figure(name: str, dev: Predictions) -> Figure:
    """Return predicted against true numbers."""
    true, predicted = dev.numbers()
    low, high = min(true.min(), predicted.min()), max(true.max(), predicted.max())
    axes = svg.Axes((low, high), (low, high), "true", "predicted", height=340)
    axes.rule((low, low), (high, high))
    axes.dots(list(zip(true.tolist(), predicted.tolist(), strict=True)), 0)
    return Figure(axes.picture(),
                  f"{name}: {len(true):,} rows; the largest prediction is {predicted.max():.3g}")


def residual_figure(name: str, dev: Predictions) -> Figure:
    """Return the distribution of predicted minus true."""
    counts, edges = np.histogram(residuals(dev), bins=BINS)
    axes = svg.Axes((float(edges[0]), float(edges[-1])), (0, float(counts.max())), "predicted - true",
                    "rows", height=340)
    for place, count in enumerate(counts.tolist()):
        axes.box(float(edges[place]), float(edges[place + 1]), count, 0,
                 f"{edges[place]:.2f} to {edges[place + 1]:.2f}: {count}")
    return Figure(axes.picture(), f"{name}: residuals")
