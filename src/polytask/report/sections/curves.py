"""How the training went: scores, losses, weights of tasks, agreement of gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from polytask.report.charts import Points, heat
from polytask.report.charts import curves as drawn
from polytask.report.record import RunRecord
from polytask.report.sections.contract import figure, note, section, side_by_side, soft
from polytask.report.svg import Figure

# Columns of the heat map over time.
COLUMNS = 40
_LEARNED = {"weight": "Weight of each task's loss", "sigma": "Learned sigma of each task",
            "penalties": "Penalties of the regularizers"}


def main_scores(evaluations: Sequence[Mapping[str, Any]], split: str = "dev") -> dict[str, Points]:
    """Return "task metric" → (update, value) of each task's main metric, and the run's overall score."""
    scores: dict[str, Points] = {}
    for event in evaluations:
        for task, metrics in event.get(split, {}).items():
            name, value = next(iter(metrics.items()))
            if isinstance(value, int | float):
                scores.setdefault(f"{task} {name.replace('_', ' ')}", []).append((event["step"], value))
        overall = event.get("overall", {}) if split == "dev" else {}
        for name, value in list(overall.items())[:1]:  # the one that chooses the model
            if isinstance(value, int | float):
                scores.setdefault(f"overall {name}", []).append((event["step"], value))
    return scores


def losses(steps: Sequence[Mapping[str, Any]]) -> dict[str, Points]:
    """Return task → (update, loss)."""
    by_task: dict[str, Points] = {}
    for event in steps:
        for task, loss in event.get("losses", {}).items():
            by_task.setdefault(task, []).append((event["step"], loss))
    return by_task


def learned(steps: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Points]]:
    """Return what the weighting and the regularizers reported: kind → task → (update, value)."""
    kinds: dict[str, dict[str, Points]] = {}
    for event in steps:
        for kind in _LEARNED:
            for name, value in (event.get(kind) or {}).items():
                kinds.setdefault(kind, {}).setdefault(name, []).append((event["step"], value))
    return kinds


def is_curve(series: Mapping[str, Points]) -> bool:
    """Return whether there is more than one update to draw."""
    return len({x for points in series.values() for x, _ in points}) > 1


def training_figures(run: RunRecord) -> Iterator[tuple[str, Figure]]:
    """Yield the curves of scores, losses and of what was learned beside them, by name."""
    scores, train = main_scores(run.evaluations), main_scores(run.evaluations, "train")
    if is_curve(scores):
        caption = "Dev score of each task" + (" (dashed: on training rows)" if train else "")
        yield "scores", Figure(drawn(scores, "score", train), caption, tuple(scores))
    by_task = losses(run.steps)
    if is_curve(by_task):
        yield "losses", Figure(drawn(by_task, "loss"), "Training loss of each task, smoothed",
                               tuple(by_task))
    for kind, series in learned(run.steps).items():
        if is_curve(series):
            yield kind, Figure(drawn(series, kind), _LEARNED[kind], tuple(series))


@section("curves", "Curves", 10)
def curves(run: RunRecord) -> str:
    """Show dev scores over updates, those on training rows if measured, and losses (T-33, T-34)."""
    if not run.steps:
        return note("No update was made, so there are no curves.")
    figures = dict(training_figures(run))
    parts = [figure(figures[name]) for name in ("scores", "losses") if name in figures]
    if "scores" in figures:
        return side_by_side(parts)
    hint = "Set train.evaluate_every = N to measure scores between epochs too."
    if not run.evaluations:
        return side_by_side(parts) + soft(f"The run was never evaluated. {hint}")
    only = ", ".join(f"{name} {points[-1][1]:.3f}" for name, points in main_scores(run.evaluations).items())
    return side_by_side(parts) + soft(
        f"Evaluated once, after update {run.evaluations[-1]['step']:,}: {only}. {hint}")


@section("weights", "Weights of the tasks", 20)
def weights(run: RunRecord) -> str:
    """Show what the weighting did: each task's weight, and what else it learned."""
    kinds = learned(run.steps)
    if not kinds:
        return note("The run recorded no weights." if run.steps else "No update was made.")
    figures = dict(training_figures(run))
    weight = kinds.get("weight", {})
    constant = bool(weight) and all(len({y for _, y in points}) == 1 for points in weight.values())
    shown = [figure(figures[kind]) for kind in kinds
             if kind in figures and not (kind == "weight" and constant)]
    values = ", ".join(f"{task} {points[0][1]:g}" for task, points in weight.items())
    return side_by_side(shown) + (soft(f"The weights were constant: {values}.") if constant else "")


def gradient_figure(run: RunRecord) -> Figure | None:
    """Return the cosines between the tasks' gradients over time; None if none were recorded."""
    recorded = [event for event in run.steps if event.get("cosines")]
    if not recorded:
        return None
    pairs, columns, values = cosines(recorded)
    return Figure(heat(pairs, columns, values, cell=18.0, diverging=True),
                  "Mean cosine of the gradients of two tasks; columns begin at these updates. Blue: they "
                  "agree; orange: they conflict.")


def cosines(recorded: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str], list[list[float]]]:
    """Return pairs of tasks, the first updates of up to `COLUMNS` columns, mean cosines of each pair."""
    pairs = list(dict.fromkeys(pair for event in recorded for pair in event["cosines"]))
    size = max(1, -(-len(recorded) // COLUMNS))
    columns = [recorded[n:n + size] for n in range(0, len(recorded), size)]
    means = [[_mean([event["cosines"][pair] for event in column if pair in event["cosines"]])
              for column in columns] for pair in pairs]
    return pairs, [str(column[0]["step"]) for column in columns], means


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


@section("gradients", "Agreement of the gradients", 30)
def gradients(run: RunRecord) -> str:
    """Show the cosines between the tasks' gradients over time (P-25): below zero they conflict."""
    if not run.steps:
        return note("No update was made.")
    shown = gradient_figure(run)
    if shown is None:
        return note("No cosines were recorded; surgery records them, and train.gradient_cosines = N does.")
    recorded = [event for event in run.steps if event.get("cosines")]
    pairs, _, _ = cosines(recorded)
    shares = ", ".join(f"{pair} {sum(e['cosines'].get(pair, 0) < 0 for e in recorded) / len(recorded):.0%}"
                       for pair in pairs)
    return figure(shown) + soft(f"Share of the recorded updates in which they conflict: {shares}.")
