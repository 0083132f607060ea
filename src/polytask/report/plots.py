"""The page's figures as files, for papers and slides: SVG, and PNG where a rasteriser is installed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from polytask.core.atomic_files import write_file
from polytask.core.errors import MissingExtra
from polytask.core.leftovers import tidy
from polytask.core.paths import plot_file
from polytask.core.safe_paths import refuse_link
from polytask.report.record import RunRecord, TaskRecord
from polytask.report.sections.curves import gradient_figure, training_figures
from polytask.report.sections.internals import attention_figures, cloud_figure, model_picture
from polytask.report.sections.labels import (
    MATRIX,
    confusion_figure,
    distribution_figures,
    recall_figures,
    reliability_figure,
)
from polytask.report.sections.regression import residual_figure, scatter_figure
from polytask.report.svg import Figure

# PNG pixels for one of the SVG's.
ZOOM = 3.0


def write_figures(figures: Iterable[tuple[str, Figure]], folder: Path) -> list[Path]:
    """Write figures as SVG and PNG; return the files. The same figures give the same bytes.

    Raises `MissingExtra` with the pip command, once the SVG files are there, if PNG cannot be written.
    """
    refuse_link(folder)
    tidy(folder)
    drawings = {plot_file(folder, name): figure.file() for name, figure in figures}
    for path, drawing in drawings.items():
        write_file(path, drawing)
    try:
        from resvg_py import svg_to_bytes
    except ImportError:
        raise MissingExtra("plots/ as PNG (its SVG files are written)", "plot") from None
    for path, drawing in drawings.items():
        png = svg_to_bytes(svg_string=drawing, zoom=ZOOM, sans_serif_family="DejaVu Sans")
        write_file(path.with_suffix(".png"), bytes(png))
    return [file for path in drawings for file in (path, path.with_suffix(".png"))]


def run_figures(run: RunRecord) -> Iterator[tuple[str, Figure]]:
    """Yield every figure that the run has data for, by name."""
    yield "model", Figure(model_picture(run), "The model")
    yield from training_figures(run)
    if gradients := gradient_figure(run):
        yield "gradients", gradients
    yield from attention_figures(run)
    for task in run.tasks.values():
        for name, figure in _task_figures(task, run):
            yield f"{task.name}-{name}", figure


def _task_figures(task: TaskRecord, run: RunRecord) -> Iterator[tuple[str, Figure]]:
    yield from _numbered("distribution", distribution_figures(task, run))
    dev, labels = task.dev, task.labels
    if dev is None or labels is None:
        return
    if labels.is_regression:
        yield "scatter", scatter_figure(task.name, dev)
        yield "residuals", residual_figure(task.name, dev)
    elif labels.kind != "multi-label" and len(labels.classes) <= MATRIX:
        yield "confusion", confusion_figure(task.name, dev, labels)
    if not labels.is_regression and (reliability := reliability_figure(task, dev, labels)):
        yield "reliability", reliability
    yield from _numbered("labels", recall_figures(task.name, dev, labels))
    if task.vectors is not None and len(task.vectors) > 2:
        yield "embeddings", cloud_figure(task, dev, labels)


def _numbered(name: str, figures: Iterable[Figure]) -> Iterator[tuple[str, Figure]]:
    for number, figure in enumerate(figures, 1):
        yield (name if number == 1 else f"{name}-{number}"), figure
