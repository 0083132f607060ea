"""What was trained, how well it does, and the plan that was followed."""

from __future__ import annotations

from html import escape

from polytask.report import svg
from polytask.report.record import RunRecord
from polytask.report.sections.contract import legend, note, section, soft, table

# Columns of the strip of the plan: the first updates.
STRIP = 100


@section("scores", "Scores", 0)
def scores(run: RunRecord) -> str:
    """Show the final scores as cards, and all metrics of every split as tables."""
    parts = [note(said) for said in (*run.missing(), *run.notes)]
    dev = run.results.get("dev") or (run.evaluations[-1] if run.evaluations else {})
    overall = dev.get("overall", {})
    cards = [(f"overall, {name}", value) for name, value in overall.items()
             if name != "default" or len(overall) == 1]
    held = dev.get("scores") or dev.get("dev") or {}
    for task, metrics in held.items():
        name, value = next(iter(metrics.items()))
        cards.append((f"{task}, {name.replace('_', ' ')}", value))
    parts.append("<div class=cards>" + "".join(
        f"<div class=card><b>{value:.3f}</b><span>{escape(name)}</span></div>"
        for name, value in cards if isinstance(value, int | float)) + "</div>")
    parts.append(_metrics(run))
    return "".join(parts) or note("There are no scores yet.")


def _metrics(run: RunRecord) -> str:
    """Return all metrics, the splits beside one another."""
    splits = {split: run.results[split]["scores"] for split in ("dev", "test")
              if run.results.get(split, {}).get("scores")}
    rows = {(task, name): None for scores in splits.values() for task, metrics in scores.items()
            for name, value in metrics.items() if isinstance(value, int | float)}
    body = []
    for task, name in rows:
        values = [scores.get(task, {}).get(name) for scores in splits.values()]
        body.append([task, name.replace("_", " "),
                     *(f"{value:.4f}" if isinstance(value, int | float) else "–" for value in values)])
    return "<h3>All metrics</h3>" + table(["task", "metric", *splits], body) if body else ""


@section("plan", "What was trained when", 40)
def plan(run: RunRecord) -> str:
    """Show the updates as they were made: each task's share, and a strip of the first ones."""
    if not run.steps:
        return note("No update was made.")
    tasks = list(run.tasks)
    batches = {task: sum(task in step["rows"] for step in run.steps) for task in tasks}
    rows = {task: sum(step["rows"].get(task, 0) for step in run.steps) for task in tasks}
    settings = run.config.get("train", {})
    schedule = settings.get("schedule", "batch_round_robin")
    name = schedule.get("type") if isinstance(schedule, dict) else schedule
    cell, left = 6.0, 14.0 + max(map(svg.wide, tasks))
    strip = []
    for place, task in enumerate(tasks):
        y = 4 + 18.0 * place
        strip.append(svg.text(left - 6, y + 11, task, anchor="end"))
        strip += [svg.rect(left + cell * at, y, cell - 1, 14, f"update {at + 1}: {step['rows'][task]} rows",
                           f'fill="{svg.colour(place)}"')
                  for at, step in enumerate(run.steps[:STRIP]) if task in step["rows"]]
    shown = min(STRIP, len(run.steps))
    drawing = svg.picture(left + cell * STRIP + 4, 8 + 18.0 * len(tasks), "".join(strip))
    return (table(["task", "updates", "rows drawn", "training rows"],
                  [[task, f"{batches[task]:,}", f"{rows[task]:,}",
                    f"{run.data.get(task, {}).get('train', {}).get('rows', 0):,}"] for task in tasks])
            + soft(f"Schedule: {name}. {len(run.steps):,} updates in all; the first {shown}, one a column:")
            + f"<div class=wide>{drawing}</div>" + legend(tasks))


@section("settings", "Settings", 130)
def settings(run: RunRecord) -> str:
    """Show the whole config, and what the training took."""
    took = [[name.replace("_", " "), f"{run.results[name]:,.0f}"]
            for name in ("seconds", "tokens", "steps", "peak_memory_mb") if name in run.results]
    text = (run.path / "config.toml").read_text(encoding="utf-8")
    return ((table(["", ""], took) if took else "")
            + f"<details><summary>config.toml</summary><pre class=wide>{escape(text)}</pre></details>")
