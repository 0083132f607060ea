"""What was trained, how well it does, and the plan that was followed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from html import escape
from typing import Any

from polytask.core.paths import RunPaths
from polytask.data.decisions import split_names
from polytask.data.labels import Labels
from polytask.evaluation.predictions import Predictions, encoded
from polytask.metrics import METRICS, measure
from polytask.model.packaged import training_notes
from polytask.report import svg
from polytask.report.record import RunRecord
from polytask.report.sections.contract import legend, note, section, side_by_side, soft, table

# Columns of the strip of the plan: the first updates.
STRIP = 100


@section("scores", "Scores", 0)
def scores(run: RunRecord) -> str:
    """Show the score that chose the model and each task's main one as cards, then all metrics."""
    parts = [note(sentence) for sentence in (*run.missing(), *run.notes)]
    parts.append(f"<div class=cards>{''.join(_cards(run))}</div>")
    parts += [note(str(sentence)) for sentence in run.results.get("dev", {}).get("notes", ())]
    parts += [note(sentence) for sentence in _constant(run)]
    parts.append(_metrics(run))
    if run.config.get("data", {}).get("root") != "sample":
        checkpoint = str(run.config.get("encoder", {}).get("checkpoint", ""))
        parts += [soft(sentence) for sentence in training_notes(checkpoint, run.tasks)]
    return "".join(parts)


def _cards(run: RunRecord) -> list[str]:
    dev = run.results.get("dev") or (run.evaluations[-1] if run.evaluations else {})
    formula = str(run.config.get("train", {}).get("score", "default"))
    score = dev.get("score", dev.get("overall", {}).get(formula))
    by_task = dev.get("scores") or dev.get("dev") or {}
    cards = []
    if isinstance(score, int | float) and len(by_task) > 1:
        how = "mean of the tasks' main scores" if formula == "default" else formula
        cards.append(_card(score, "score that chose the model", how))
    for task, metrics in by_task.items():
        name, value = next(iter(metrics.items()))
        if isinstance(value, int | float):
            cards.append(_card(value, f"{task}, {name.replace('_', ' ')}", _baseline(run, task, name)))
    return cards


def _card(value: float, title: str, detail: str) -> str:
    below = f"<small>{escape(detail)}</small>" if detail else ""
    return f"<div class=card><b>{value:.3f}</b><span>{escape(title)}</span>{below}</div>"


def _baseline(run: RunRecord, task: str, metric: str) -> str:
    """Return what the run's baselines score.

    For a run without them: what always predicting the most frequent dev label would; "" where that means
    nothing.
    """
    if found := run.results.get("baselines", {}).get(task):
        return "; ".join(f"{svg.shortened(each['name'], 240)}: {each['scores'][metric]:.3f}"
                         + f" ({each['limits']})" * bool(each["limits"])
                         for each in found if metric in each["scores"])
    record = run.tasks.get(task)
    if record is None or record.dev is None or record.labels is None or record.labels.is_regression:
        return ""
    label = Counter(record.dev.true).most_common(1)[0][0]
    value = _constant_score(record.dev, record.labels, metric, label)
    names = split_names(label) if record.labels.kind == "multi-label" else [label]
    shown = svg.shortened(", ".join(names) or "no label", 120)
    return "" if value is None else f'always "{shown}": {value:.3f}'


def _constant_score(dev: Predictions, labels: Labels, metric: str, label: str) -> float | None:
    definition = METRICS.get(metric)
    if definition is None or labels.kind not in definition.kinds or definition.takes_scores:
        return None
    constant = encoded([label] * len(dev), labels)
    value = measure([metric], constant, encoded(dev.true, labels), labels).values[metric]
    return value if isinstance(value, float) else None


def _constant(run: RunRecord) -> list[str]:
    """Return a sentence for each task whose predictions are all the same."""
    sentences = []
    for task in run.tasks.values():
        if task.dev is not None and len(task.dev) > 1 and len({*task.dev.predicted}) == 1:
            label = task.dev.predicted[0] or "no label"
            sentences.append(f'{task.name} predicts "{label}" for every dev row; it has learned nothing.')
    return sentences


def _metrics(run: RunRecord) -> str:
    """Return each task's metrics, one table per task, with the splits that it has labels for."""
    tables = []
    for task in run.tasks:
        by_split = {split: run.results[split]["scores"][task] for split in ("dev", "test")
                    if task in run.results.get(split, {}).get("scores", {})}
        names = dict.fromkeys(name for metrics in by_split.values() for name, value in metrics.items()
                              if isinstance(value, int | float))
        if names:
            tables.append(table([task, *by_split], [
                [name.replace("_", " "), *(_number(metrics, name) for metrics in by_split.values())]
                for name in names]))
    return "<h3>All metrics</h3>" + side_by_side(tables) if tables else ""


def _number(metrics: Mapping[str, Any], name: str) -> str:
    value = metrics.get(name)
    return f"{value:.4f}" if isinstance(value, int | float) else "–"


@section("plan", "What was trained when", 40)
def plan(run: RunRecord) -> str:
    """Show the updates as they were made: each task's share, and a strip of the first ones."""
    if not run.steps:
        return note("No update was made.")
    tasks = list(run.tasks)
    batches = {task: sum(task in step["rows"] for step in run.steps) for task in tasks}
    rows = {task: sum(step["rows"].get(task, 0) for step in run.steps) for task in tasks}
    schedule = run.config.get("train", {}).get("schedule", "batch_round_robin")
    name = schedule.get("type") if isinstance(schedule, dict) else schedule
    shown = min(STRIP, len(run.steps))
    return (table(["task", "updates", "rows drawn", "training rows"],
                  [[task, f"{batches[task]:,}", f"{rows[task]:,}",
                    f"{run.data.get(task, {}).get('train', {}).get('rows', 0):,}"] for task in tasks])
            + soft(f"Schedule: {name}. {len(run.steps):,} updates in all; the first {shown} in order:")
            + f"<div class=wide>{_strip(run, tasks)}</div>" + legend(tasks))


def _strip(run: RunRecord, tasks: list[str]) -> svg.Picture:
    cell, left = 6.0, 14.0 + max(map(svg.text_width, tasks))
    parts = []
    for place, task in enumerate(tasks):
        y = 4 + 18.0 * place
        parts.append(svg.text(left - 6, y + 11, task, anchor="end"))
        parts += [svg.rect(left + cell * at, y, cell - 1, 14, f"update {at + 1}: {step['rows'][task]} rows",
                           f'fill="{svg.colour(place)}"')
                  for at, step in enumerate(run.steps[:STRIP]) if task in step["rows"]]
    return svg.Picture(left + cell * STRIP + 4, 8 + 18.0 * len(tasks), "".join(parts))


@section("settings", "Settings", 130)
def settings(run: RunRecord) -> str:
    """Show the whole config, and what the training cost."""
    cost = [[name.replace("_", " "), f"{run.results[name]:,.0f}"]
            for name in ("seconds", "tokens", "steps", "peak_memory_mb") if name in run.results]
    text = RunPaths(run.path).config.read_text(encoding="utf-8")
    return ((table(["the training took", ""], cost) if cost else "")
            + f"<details><summary>config.toml</summary><pre class=wide>{escape(text)}</pre></details>")
