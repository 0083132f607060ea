"""Inside the model: a drawing of it, its vectors, its attention."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from polytask.data.decisions import split_names
from polytask.data.labels import Labels
from polytask.evaluation.predictions import Predictions
from polytask.report import svg
from polytask.report.analysis import attended, projected
from polytask.report.charts import heat
from polytask.report.record import RunRecord, TaskRecord
from polytask.report.sections.contract import (
    by_task,
    figure,
    framed,
    note,
    section,
    side_by_side,
    soft,
    table,
)
from polytask.report.sections.errors import embedded
from polytask.report.svg import Figure

WIDE, TALL, GAP = 186.0, 46.0, 22.0


def model_picture(run: RunRecord) -> svg.Picture:
    """Draw what was trained, from its config: encoder, pairings, heads, what is shared.

    After M-40, M-43, G-34, S-27, T-36.
    """
    tasks = list(run.tasks.values())
    width = max(1, len(tasks)) * (WIDE + GAP) - GAP
    levels = ("text", "pairing", "encoder", "pooling", "head", "loss")
    down = {level: 14 + place * (TALL + GAP) for place, level in enumerate(levels)}
    parts = []
    for place, task in enumerate(tasks):
        x = place * (WIDE + GAP)
        joint = x + WIDE / 2
        parts.append(f'<path class=join d="M{joint} {down["text"]}V{down["loss"] + 4}"/>')
        for level, (title, subtitle) in _boxes(task, run).items():
            parts.append(_box(x, down[level], WIDE, title, subtitle, svg.colour(place)))
    encoder = run.config.get("encoder", {})
    facts = run.artifacts.get("model", {})
    size = "shared by all tasks"
    if facts.get("layers"):
        size = (f"{facts['layers']} layers, {facts['width']} wide, "
                f"{facts['parameters'] / 1e6:.1f} million parameters")
    adapter = f", adapter: {_kind(encoder['adapter'])}" if encoder.get("adapter") else ""
    parts.append(_box(0, down["encoder"], width, f"encoder {encoder.get('checkpoint', '')}",
                      f"{size}, trainable: {encoder.get('trainable', 'full')}{adapter}", "var(--ink)"))
    return svg.Picture(width, down["loss"] + TALL + 8, "".join(parts))


@section("model", "The model", 5)
def drawing(run: RunRecord) -> str:
    """Show the drawing of the model, and in words what connects the tasks."""
    settings = run.config.get("train", {})
    rules = ", ".join(f"{name}: {_kind(settings[name])}" for name in ("schedule", "weighting", "surgery")
                      if settings.get(name)) or "the losses are summed"
    shared = [task.name for task in run.tasks.values() if _kind(task.settings.get("head")) == "shared"]
    return (f"<div class=wide>{model_picture(run)}</div>"
            + soft(f"Across the tasks: {rules}."
                   + (f" {' and '.join(shared)} share the first layer of their heads." if shared else "")))


def _boxes(task: TaskRecord, run: RunRecord) -> dict[str, tuple[str, str]]:
    table = task.settings
    pairing = table.get("pairing") or "single"
    pooling = table.get("pooling") or run.config.get("encoder", {}).get("pooling") or "the checkpoint's own"
    losses = table.get("loss") or []
    listed = losses if isinstance(losses, list | tuple) else [losses]
    features = f" of {', '.join(pairing['features'])}" if isinstance(pairing, Mapping) and pairing.get(
        "features") else ""
    text = table.get("text", [])
    kind = ""
    if task.labels is not None:
        kind = (f"{task.labels.kind}, {len(task.labels.classes)} classes" if task.labels.classes
                else f"numbers from {task.labels.low:g} to {task.labels.high:g}")
    return {"text": (task.name, ", ".join([text] if isinstance(text, str) else text)),
            "pairing": ("pairing", _kind(pairing) + features),
            "pooling": ("pooling", _kind(pooling)),
            "head": (f"head: {_kind(table.get('head') or 'linear')}", _rest(table.get("head"))),
            "loss": (" + ".join(map(_kind, listed)) or "loss", kind)}


def _kind(value: Any) -> str:
    return str(value.get("type", "")) if isinstance(value, Mapping) else str(value or "")


def _rest(value: Any) -> str:
    settings = value.items() if isinstance(value, Mapping) else ()
    return ", ".join(f"{key} {setting}" for key, setting in settings if key != "type")


def _box(x: float, y: float, width: float, title: str, subtitle: str, stroke: str) -> str:
    return (svg.rect(x, y, width, TALL, f"{title}: {subtitle}", f'class=part rx=6 style="stroke:{stroke}"')
            + svg.text(x + width / 2, y + 19, svg.shortened(title, width - 10), "title")
            + svg.text(x + width / 2, y + 35, svg.shortened(subtitle, width - 10)))


@section("embeddings", "Embeddings", 94)
def embeddings(run: RunRecord) -> str:
    """Show the pooled vectors of dev rows on two principal components, coloured by label (T-35)."""
    parts = []
    for task in run.tasks.values():
        if task.vectors is None or len(task.vectors) < 3 or task.dev is None or task.labels is None:
            parts.append((task.name, note(_no_cloud(run, task))))
        else:
            parts.append((task.name, figure(cloud_figure(task, task.dev, task.labels))))
    return by_task(parts)


def _no_cloud(run: RunRecord, task: TaskRecord) -> str:
    if task.vectors is None:
        return run.no_artifacts(f"{task.name}: embeddings are kept")
    return run.no_dev(task) if task.dev is None else f"{task.name}: there are fewer than three embeddings."


def cloud_figure(task: TaskRecord, dev: Predictions, labels: Labels) -> Figure:
    """Return the vectors of dev rows on two principal components, coloured by label."""
    points, shares = projected(task.vectors)
    true = [dev.true[row] for row in task.vector_rows.tolist() if row < len(dev.true)]
    if labels.is_regression:
        span = max(1e-9, labels.high - labels.low)
        fifths = np.round((np.array(true, float) - labels.low) / span * 5)
        groups = np.clip(fifths, 0, 5).astype(int).tolist()
        names = [f"near {labels.low + span / 5 * n:g}" for n in range(6)]
    else:
        names = list(labels.classes) if len(labels.classes) <= svg.NUM_COLOURS else [
            *labels.classes[: svg.NUM_COLOURS - 1], "others"]
        index = {name: min(place, len(names) - 1) for place, name in enumerate(labels.classes)}
        several = labels.kind == "multi-label"
        firsts = [next(iter(split_names(cell)), "") if several else cell for cell in true]
        groups = [index.get(name, len(names) - 1) for name in firsts]
    x, y = points[:, 0], points[:, 1] if points.shape[1] > 1 else points[:, 0] * 0
    axes = svg.Axes((float(x.min()), float(x.max())), (float(y.min()), float(y.max())),
                    f"first component, {shares[0]:.0%} of the variance", "second", height=320)
    for number in range(len(names)):
        here = [(float(a), float(b)) for a, b, group in zip(x, y, groups, strict=False) if group == number]
        axes.dots(here, number, 2.6)
    return Figure(axes.picture(), f"{task.name}: {len(true)} dev rows", tuple(names))


def attention_figures(run: RunRecord) -> Iterator[tuple[str, Figure]]:
    """Yield the attention of the first head over the first kept text, layers 1, 6 and 11 of 12 (S-25)."""
    if not run.artifacts.get("attention") or "attention/0" not in run.arrays:
        return
    maps, tokens = run.arrays["attention/0"], run.artifacts["attention"][0]["tokens"]
    for layer in sorted({1, max(1, len(maps) // 2), max(1, len(maps) - 1)}):
        yield f"attention-layer-{layer}", Figure(
            heat(tokens, tokens, (maps[layer - 1, 0] / 255).tolist(), cell=15.0, name_all=True),
            f"Attention of layer {layer}, head 1")


def _where(tokens: list[str], maps: Any) -> str:
    """Return a table of where each layer's words look, folded; nothing for a single text."""
    rows = [[layer, f"{each.other_text:.3f}", f"{each.neighbours:.3f}", f"{each.same_word:.3f}"]
            for layer, each in enumerate(attended(tokens, maps), 1)]
    head = ["layer", "to the other text", "to neighbours", "to the same word in the other text"]
    return f"<details><summary>shares of each layer</summary>{table(head, rows)}</details>" if rows else ""


@section("attention", "Attention", 96)
def attention(run: RunRecord) -> str:
    """Show what each token of a dev pair attends to, in any layer and head (S-25, S-29)."""
    parts = []
    for number, kept in enumerate(run.artifacts.get("attention", [])):
        maps = run.arrays.get(f"attention/{number}")
        if maps is None:
            continue
        layers, heads = maps.shape[:2]
        data = {"tokens": kept["tokens"], "heads": heads,
                "maps": base64.b64encode(np.ascontiguousarray(maps, np.uint8).tobytes()).decode()}
        choose = [f'<label>{name} <select>' + "".join(
            f'<option value="{n}">{n + 1}</option>' for n in range(count)) + "</select></label>"
            for name, count in (("layer", layers), ("head", heads))]
        parts.append(framed(
            f"{kept['task']}: {' · '.join(kept['texts'])}",
            f'<div data-attention="attention-{number}"><div class=tools>{"".join(choose)}</div>'
            "<div class=wide><svg role=img></svg></div></div>" + _where(kept["tokens"], maps))
            + embedded(f"attention-{number}", data))
    if parts:
        return side_by_side(parts)
    return note("No attention was kept: the encoder gives none, or no dev text is short enough."
                if run.artifacts else run.no_artifacts("Attention is kept"))
