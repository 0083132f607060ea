"""How the training went: scores, losses, weights of tasks, agreement of gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polytask.report import svg
from polytask.report.charts import heat
from polytask.report.record import RunRecord
from polytask.report.sections.contract import figure, legend, note, section, side_by_side, soft

Points = list[tuple[float, float]]
# Columns of the heat map over time.
COLUMNS = 40


def main_scores(evaluations: Sequence[Mapping[str, Any]], split: str = "dev") -> dict[str, Points]:
    """Return task, metric → (update, value) of each task's own metric, and "overall"."""
    made: dict[str, Points] = {}
    for event in evaluations:
        for task, metrics in event.get(split, {}).items():
            name, value = next(iter(metrics.items()))
            if isinstance(value, int | float):
                made.setdefault(f"{task} {name.replace('_', ' ')}", []).append((event["step"], value))
        overall = event.get("overall", {})
        if split == "dev" and isinstance(overall.get("default"), int | float):
            made.setdefault("overall", []).append((event["step"], overall["default"]))
    return made


def losses(steps: Sequence[Mapping[str, Any]]) -> dict[str, Points]:
    """Return task → (update, loss)."""
    made: dict[str, Points] = {}
    for event in steps:
        for task, loss in event.get("losses", {}).items():
            made.setdefault(task, []).append((event["step"], loss))
    return made


def chart(series: Mapping[str, Points], ylabel: str, dashed: Mapping[str, Points] | None = None,
          named: bool = True) -> str:
    """Return curves over updates with their legend; `dashed` have the colours of their names."""
    every = [point for points in [*series.values(), *(dashed or {}).values()] for point in points]
    if not every:
        return ""
    axes = svg.Axes((min(x for x, _ in every), max(x for x, _ in every)),
                    (min(y for _, y in every), max(y for _, y in every)), "updates", ylabel)
    names = list(series)
    for number, (name, points) in enumerate(series.items()):
        axes.line(points, number, title=name)
    for name, points in (dashed or {}).items():
        axes.line(points, names.index(name) if name in names else len(names), True, f"{name}, train")
    return f"{axes}{legend(names)}" if named else str(axes)


@section("curves", "Curves", 10)
def curves(run: RunRecord) -> str:
    """Show dev scores over updates, the training rows' beside them where asked, and losses (T-33, T-34)."""
    if not run.steps:
        return note("No update was made, so there are no curves.")
    parts = []
    if run.evaluations:
        train = main_scores(run.evaluations, "train")
        caption = "Dev score of each task" + (" (dashed: on the training rows)" if train else "")
        parts.append(figure(chart(main_scores(run.evaluations), "score", train), caption))
    parts.append(figure(chart(losses(run.steps), "loss"),
                        "Training loss of each task, neighbours averaged"))
    few = len(run.evaluations) < 2
    return side_by_side(parts) + (soft("With train.evaluate_every = N scores are measured between epochs, "
                                       "too.") if few else "")


def learned(steps: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Points]]:
    """Return what the weighting and the regularizers told: kind → task → (update, value)."""
    kinds: dict[str, dict[str, Points]] = {}
    for event in steps:
        for kind in ("weight", "sigma", "penalties"):
            for name, value in (event.get(kind) or {}).items():
                kinds.setdefault(kind, {}).setdefault(name, []).append((event["step"], value))
    return kinds


def cosines(steps: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str], list[list[float]]]:
    """Return pairs of tasks, first updates of at most `COLUMNS` columns, mean cosines (pairs, columns)."""
    held = [event for event in steps if event.get("cosines")]
    pairs = list(dict.fromkeys(pair for event in held for pair in event["cosines"]))
    size = max(1, -(-len(held) // COLUMNS))
    groups = [held[n:n + size] for n in range(0, len(held), size)]
    values = []
    for pair in pairs:
        found = [[event["cosines"][pair] for event in group if pair in event["cosines"]]
                 for group in groups]
        values.append([sum(each) / len(each) if each else float("nan") for each in found])
    return pairs, [str(group[0]["step"]) for group in groups], values


@section("weights", "Weights of the tasks", 20)
def weights(run: RunRecord) -> str:
    """Show what the weighting did: each task's weight, and what else it learned (S-11)."""
    kinds = learned(run.steps)
    if not kinds:
        return note("The run recorded no weights." if run.steps else "No update was made.")
    said = {"weight": "Weight of each task's loss", "sigma": "Learned sigma of each task",
            "penalties": "Penalties of the regularizers"}
    constant = all(len({y for _, y in points}) == 1 for points in kinds.get("weight", {}).values())
    return (side_by_side(figure(chart(series, kind), said[kind]) for kind, series in kinds.items()
                         if not (kind == "weight" and constant))
            + (soft("The weights were constant: " + ", ".join(
                f"{task} {points[0][1]:g}" for task, points in kinds["weight"].items()) + ".")
               if constant and "weight" in kinds else ""))


@section("gradients", "Agreement of the gradients", 30)
def gradients(run: RunRecord) -> str:
    """Show the cosines between the tasks' gradients over time (P-25): below zero they conflict."""
    held = [event for event in run.steps if event.get("cosines")]
    if not run.steps:
        return note("No update was made.")
    if not held:
        return note("No cosines were recorded. They are with surgery, or with train.gradient_cosines = N.")
    pairs, columns, values = cosines(run.steps)
    conflicts = {pair: sum(event["cosines"].get(pair, 0) < 0 for event in held) / len(held)
                 for pair in pairs}
    said = ", ".join(f"{pair} {share:.0%}" for pair, share in conflicts.items())
    return (figure(heat(pairs, columns, values, cell=18.0, diverging=True),
                   "Mean cosine of the gradients of two tasks; columns begin at these updates. Blue: they "
                   "agree; orange: they conflict.")
            + soft(f"Share of the recorded updates in which they conflict: {said}."))
