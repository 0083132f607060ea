"""Tasks whose labels are numbers: predicted against true, and what is left over."""

from __future__ import annotations

import numpy as np

from polytask.report import svg
from polytask.report.analysis import residuals
from polytask.report.record import RunRecord
from polytask.report.sections.contract import figure, note, section, side_by_side, soft

BINS = 24


@section("scatter", "Predicted against true", 90)
def scatter(run: RunRecord) -> str:
    """Show predicted against true with the line of slope 1, and the residuals (T-34, P-27, G-40)."""
    parts = []
    for task in run.tasks.values():
        if task.labels is not None and not task.labels.is_regression:
            continue
        if task.dev is None:
            parts.append(note(run.no_dev(task)))
            continue
        true, predicted = task.dev.numbers()
        low, high = min(true.min(), predicted.min()), max(true.max(), predicted.max())
        axes = svg.Axes((low, high), (low, high), "true", "predicted", height=340)
        axes.rule((low, low), (high, high))
        axes.dots(list(zip(true.tolist(), predicted.tolist(), strict=True)), 0)
        parts.append(figure(str(axes), f"{task.name}: {len(true):,} rows; the largest prediction is "
                            f"{predicted.max():.3g}"))
        gaps = residuals(task.dev)
        counts, edges = np.histogram(gaps, bins=BINS)
        bars = svg.Axes((float(edges[0]), float(edges[-1])), (0, float(counts.max())), "predicted - true",
                        "rows", height=340)
        for place, count in enumerate(counts.tolist()):
            bars.box(float(edges[place]), float(edges[place + 1]), count, 0,
                     f"{edges[place]:.2f} to {edges[place + 1]:.2f}: {count}")
        parts.append(figure(str(bars), f"{task.name}: residuals") + soft(
            f"Mean {gaps.mean():+.3f}, standard deviation {gaps.std():.3f}, "
            f"mean absolute error {np.abs(gaps).mean():.3f}."))
    return side_by_side(parts) if parts else note("No task has numbers as labels.")
