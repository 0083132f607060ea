"""The figures as PNG and SVG files, for papers and slides. The same run gives the same bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polytask.core.atomic_files import write_file
from polytask.core.errors import MissingExtra
from polytask.core.paths import inside
from polytask.report.analysis import confusion, per_label, projected, reliability, residuals
from polytask.report.record import RunRecord, TaskRecord
from polytask.report.sections.curves import cosines, learned, losses, main_scores
from polytask.report.sections.internals import picture
from polytask.report.sections.labels import MATRIX, label_names, scored_share
from polytask.report.svg import shortened, standing_alone, wide

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a6fbe", "#7d858c")
Draw = Callable[[Any], None]
RunGroups = list[tuple[str, Any]]
# What names may take below the bars of a figure (as `wide` measures); the bars that a figure has at most.
ROOM, MOST_BARS = 360.0, 120


def write_plots(run: RunRecord, folder: Path) -> list[Path]:
    """Write every figure that the run has data for, and the drawing of its model; return the files.

    Raises `MissingExtra` with the pip command where matplotlib is not installed.
    """
    drawn = folder / "model.svg"
    write_file(drawn, standing_alone(picture(run)))
    return [drawn, *write_figures(figures(run), folder)]


def write_figures(figures: Iterable[tuple[str, Draw]], folder: Path) -> list[Path]:
    """Write figures as PNG and SVG; return the files. Raises `MissingExtra` without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        raise MissingExtra("plots/ (the page stands without it)", "plot") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    style = {"svg.hashsalt": "polytask", "axes.spines.top": False, "axes.spines.right": False,
             "axes.prop_cycle": pyplot.cycler(color=COLOURS), "figure.dpi": 150, "font.size": 9,
             "text.parse_math": False}  # a class may be called "$5 or $10"
    made = []
    with matplotlib.rc_context(style):
        for name, draw in figures:
            figure, axes = pyplot.subplots(figsize=(4.6, 3.4), layout="constrained")
            draw(axes)
            for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
                held = io.BytesIO()
                figure.savefig(held, format=kind, metadata=metadata)
                path = inside(folder, f"{name}.{kind}")
                write_file(path, held.getvalue())
                made.append(path)
            pyplot.close(figure)
    return made


def figures(run: RunRecord) -> Iterator[tuple[str, Draw]]:
    """Yield a name and what draws it on axes."""
    if run.evaluations:
        yield "scores", _lines(main_scores(run.evaluations), "dev score")
    if run.steps:
        yield "losses", _lines(losses(run.steps), "training loss")
    for kind, series in learned(run.steps).items():
        yield kind, _lines(series, kind)
    if any(event.get("cosines") for event in run.steps):
        yield "gradients", _gradients(run)
    if run.artifacts.get("attention") and "attention/0" in run.arrays:
        maps, tokens = run.arrays["attention/0"], run.artifacts["attention"][0]["tokens"]
        for layer in sorted({0, len(maps) // 2, len(maps) - 1}):  # S-25: of the first head
            yield f"attention-layer-{layer + 1}", _attention(maps[layer, 0], tokens, layer + 1)
    for task in run.tasks.values():
        if task.histograms:
            yield f"{task.name}-distribution", _distribution(task)
        if task.dev is None or task.labels is None:
            continue
        if task.labels.is_regression:
            yield f"{task.name}-scatter", _scatter(task)
            yield f"{task.name}-residuals", _residuals(task)
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


def _residuals(task: TaskRecord) -> Draw:
    def draw(axes: Any) -> None:
        assert task.dev is not None
        axes.hist(residuals(task.dev), bins=24)
        axes.set(xlabel="predicted - true", ylabel="rows", title=task.name)
    return draw


def _distribution(task: TaskRecord) -> Draw:
    def draw(axes: Any) -> None:
        splits = {split: held["counts"] for split, held in task.histograms.items() if sum(held["counts"])}
        groups: RunGroups = []
        for split, counts in splits.items():
            groups.append((split, np.array(counts) / sum(counts)))
        first = next(iter(task.histograms.values()))
        _bars(axes, task.name, label_names(task, first), groups, "share of rows", "low" in first)
    return draw


def _bars(axes: Any, title: str, names: Sequence[str], groups: RunGroups, label: str = "",
          numbers: bool = False) -> None:
    """Draw bars, each with its whole name: standing where all names fit, else lying on a taller figure.

    `numbers` names the places where bins of numbers begin, of which some can be left out.
    """
    if len(names) > MOST_BARS:
        often = sorted(range(len(names)), key=lambda place: -groups[-1][1][place])[:MOST_BARS]
        title = f"{title}: the {MOST_BARS} most frequent of {len(names)}"
        names, groups = [names[n] for n in often], [(group, values[often]) for group, values in groups]
    lying = not numbers and sum(map(wide, names)) + 8 * len(names) > ROOM
    each, places = 0.8 / max(1, len(groups)), np.arange(len(names))
    for number, (group, values) in enumerate(groups):
        at = places + (number - (len(groups) - 1) / 2) * each
        (axes.barh if lying else axes.bar)(at, values, each, label=group)
    if lying:
        axes.figure.set_size_inches(5.6, 1.2 + 0.17 * len(names))
        axes.set_yticks(places, [shortened(name, 240) for name in names], fontsize=7)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set(xlabel=label)
    else:
        step = max(1, len(names) // 10) if numbers else 1
        axes.set_xticks(places[::step] - 0.5 * numbers, names[::step])
        axes.set(ylabel=label)
    axes.set_title(title)
    axes.figure.legend(loc="outside lower center", ncols=3, frameon=False)


def _gradients(run: RunRecord) -> Draw:
    def draw(axes: Any) -> None:
        pairs, columns, values = cosines(run.steps)
        most = max(0.1, float(np.nanmax(np.abs(values))))
        image = axes.imshow(values, cmap="RdBu", vmin=-most, vmax=most, aspect="auto")
        step = max(1, len(columns) // 8)
        axes.set_xticks(range(0, len(columns), step), columns[::step])
        axes.set_yticks(range(len(pairs)), pairs)
        axes.set(xlabel="updates", title="cosines of the gradients")
        axes.figure.colorbar(image)
    return draw


def _attention(maps: Any, tokens: list[str], layer: int) -> Draw:
    def draw(axes: Any) -> None:
        axes.imshow(maps, cmap="Blues", vmin=0)
        axes.set_xticks(range(len(tokens)), tokens, rotation=90, fontsize=5)
        axes.set_yticks(range(len(tokens)), tokens, fontsize=5)
        axes.set(title=f"layer {layer}, head 1")
    return draw


def rows_by_score(told: Mapping[str, Any]) -> Iterator[tuple[str, Draw]]:
    """Yield the figures of a study: every row by one score and by all, means dashed (M-41, M-42)."""
    rows = [row for row in told["rows"] if row["scores"]]

    def of(keys: list[str]) -> Draw:
        def draw(axes: Any) -> None:
            for key in keys:
                held = [(place, row["scores"][key]) for place, row in enumerate(rows, 1)
                        if key in row["scores"]]
                colour = COLOURS[told["scores"].index(key) % len(COLOURS)]
                axes.errorbar([place for place, _ in held], [cell["mean"] for _, cell in held],
                              [cell["error"] for _, cell in held], fmt="o", markersize=3, color=colour,
                              label=key)
                if held:
                    axes.axhline(np.mean([cell["mean"] for _, cell in held]), color=colour, linestyle="--",
                                 linewidth=0.8)
            axes.set(xlabel="row", ylabel="score")
            axes.legend(frameon=False, fontsize=7)
        return draw

    if rows:
        yield "rows", of(list(told["scores"]))
        for key in told["scores"]:
            yield f"rows-{key}", of([key])


def _confusion(task: TaskRecord) -> Draw:
    def draw(axes: Any) -> None:
        assert task.dev is not None
        assert task.labels is not None
        counts, names = confusion(task.dev, task.labels.classes), task.labels.classes
        shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        if len(names) <= MATRIX:
            side = max(4.6, 1.8 + 0.28 * len(names))
            axes.figure.set_size_inches(side, max(3.4, side - 0.6))
            for (row, column), count in np.ndenumerate(counts):
                axes.text(column, row, str(count), ha="center", va="center", fontsize=8,
                          color="white" if shares[row, column] > 0.55 else "black")
            said = [shortened(name, 150) for name in names]
            leaning = sum(map(wide, said)) + 8 * len(said) > ROOM
            axes.set_xticks(range(len(names)), said, rotation=60 if leaning else 0,
                            ha="right" if leaning else "center", rotation_mode="anchor")
            axes.set_yticks(range(len(names)), said)
        axes.set(xlabel="predicted", ylabel="true", title=task.name)
    return draw


def _labels(task: TaskRecord) -> Draw:
    def draw(axes: Any) -> None:
        assert task.dev is not None
        assert task.labels is not None
        found = per_label(task.dev, task.labels)
        _bars(axes, task.name, [each.label for each in found], [
            ("accuracy", np.array([each.accuracy or 0.0 for each in found])),
            ("share of the rows", np.array([each.share for each in found]))])
    return draw


def _reliability(task: TaskRecord) -> Draw:
    def draw(axes: Any) -> None:
        assert task.dev is not None
        assert task.labels is not None
        points = reliability(task.dev, task.labels)
        axes.plot([0, 1], [0, 1], color="0.5", linestyle="--", linewidth=1)
        axes.plot([a for a, _, _ in points], [b for _, b, _ in points], marker="o", markersize=3)
        axes.set(xlabel="score", ylabel=scored_share(task.labels), title=task.name)
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
            firsts, named = [label.split("|")[0] for label in true], task.labels.classes[:7]
            for name in (*named, None):  # None: all others
                here = np.array([(first == name) if name else first not in named for first in firsts])
                if here.any():
                    said = shortened(name, 140) if name else "others"
                    axes.scatter(points[here, 0], points[here, 1], s=8, label=said)
            columns = 3 if all(wide(name) < 85 for name in named) else 2
            axes.figure.legend(loc="outside lower center", ncols=columns, frameon=False, markerscale=1.5)
        axes.set(title=task.name, xlabel="first component", ylabel="second component")
    return draw
