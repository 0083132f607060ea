"""Inside the model: its drawing, its vectors, its attention."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from polytask.report import svg
from polytask.report.analysis import projected
from polytask.report.record import RunRecord, TaskRecord
from polytask.report.sections.contract import figure, legend, note, section, side_by_side, soft
from polytask.report.sections.errors import embedded

WIDE, TALL, GAP = 186.0, 46.0, 22.0


def picture(run: RunRecord) -> str:
    """Draw what was trained: encoder, pairings, heads, what is shared.

    After M-40, G-34, S-27, made from the config.
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
        for level, (title, said) in _boxes(task, run).items():
            parts.append(_box(x, down[level], WIDE, title, said, svg.colour(place)))
    encoder = run.config.get("encoder", {})
    held = run.artifacts.get("model", {})
    size = "shared by all tasks"
    if held.get("layers"):
        size = (f"{held['layers']} layers, {held['width']} wide, "
                f"{held['parameters'] / 1e6:.1f} million parameters")
    extra = _kind(encoder["adapter"]) if encoder.get("adapter") else ""
    said = f"{size}, trainable: {encoder.get('trainable', 'full')}{', adapter: ' + extra if extra else ''}"
    title = f"encoder {encoder.get('checkpoint', '')}"
    parts.append(_box(0, down["encoder"], width, title, said, "var(--ink)"))
    return svg.picture(width, down['loss'] + TALL + 8, ''.join(parts))


@section("model", "The model", 5)
def drawing(run: RunRecord) -> str:
    """Show the picture of the model, and in words what the tasks have to do with one another."""
    settings = run.config.get("train", {})
    rules = ", ".join(f"{name}: {_kind(settings[name])}" for name in ("schedule", "weighting", "surgery")
                      if settings.get(name)) or "the losses are summed"
    shared = [task.name for task in run.tasks.values() if _kind(task.settings.get("head")) == "shared"]
    return (f"<div class=wide>{picture(run)}</div>"
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
    held = {key: each for key, each in value.items() if key != "type"} if isinstance(value, Mapping) else {}
    return ", ".join(f"{key} {each}" for key, each in held.items())


def _box(x: float, y: float, width: float, title: str, said: str, stroke: str) -> str:
    room = int(width / 6.1)
    return (svg.rect(x, y, width, TALL, f"{title}: {said}", f'class=part rx=6 style="stroke:{stroke}"')
            + svg.text(x + width / 2, y + 19, title[:room], "title")
            + svg.text(x + width / 2, y + 35, said if len(said) <= room else said[: room - 1] + "…"))


@section("embeddings", "Embeddings", 94)
def embeddings(run: RunRecord) -> str:
    """Show the pooled vectors of dev rows on two principal components, coloured by label (T-35)."""
    parts = []
    for task in run.tasks.values():
        if task.vectors is None or len(task.vectors) < 3 or task.dev is None or task.labels is None:
            parts.append(note(_no_cloud(run, task)))
            continue
        points, shares = projected(task.vectors)
        parts.append(_cloud(task, points, shares))
    return side_by_side(parts)


def _no_cloud(run: RunRecord, task: TaskRecord) -> str:
    if task.vectors is None:
        return run.no_exhibits(f"{task.name}: embeddings are kept")
    return run.no_dev(task) if task.dev is None else f"{task.name}: there are fewer than three embeddings."


def _cloud(task: TaskRecord, points: Any, shares: Any) -> str:
    assert task.dev is not None
    assert task.labels is not None
    true = [task.dev.true[row] for row in task.vector_rows.tolist() if row < len(task.dev.true)]
    if task.labels.is_regression:
        steps = np.clip(np.round((np.array(true, float) - task.labels.low)
                                 / max(1e-9, task.labels.high - task.labels.low) * 5), 0, 5).astype(int)
        low, width = task.labels.low, (task.labels.high - task.labels.low) / 5
        names = [f"near {low + width * n:g}" for n in range(6)]
        groups = steps.tolist()
    else:
        names = list(task.labels.classes) if len(task.labels.classes) <= svg.NUM_COLOURS else [
            *task.labels.classes[: svg.NUM_COLOURS - 1], "others"]
        index = {name: min(place, len(names) - 1) for place, name in enumerate(task.labels.classes)}
        groups = [index.get(name.split("|")[0], len(names) - 1) for name in true]
    x, y = points[:, 0], points[:, 1] if points.shape[1] > 1 else points[:, 0] * 0
    axes = svg.Axes((float(x.min()), float(x.max())), (float(y.min()), float(y.max())),
                    f"first component, {shares[0]:.0%} of the variance", "second", height=320)
    for number in range(len(names)):
        here = [(float(a), float(b)) for a, b, group in zip(x, y, groups, strict=False) if group == number]
        axes.dots(here, number, 2.6)
    return figure(f"{axes}{legend(names)}", f"{task.name}: {len(true)} dev rows")


@section("attention", "Attention", 96)
def attention(run: RunRecord) -> str:
    """Show what each token of a dev pair attends to, in any layer and head (S-25)."""
    parts = []
    for number, held in enumerate(run.artifacts.get("attention", [])):
        maps = run.arrays.get(f"attention/{number}")
        if maps is None:
            continue
        layers, heads = maps.shape[:2]
        data = {"tokens": held["tokens"], "heads": heads,
                "maps": base64.b64encode(np.ascontiguousarray(maps, np.uint8).tobytes()).decode()}
        choose = [f'<label>{name} <select>' + "".join(
            f'<option value="{n}">{n + 1}</option>' for n in range(count)) + "</select></label>"
            for name, count in (("layer", layers), ("head", heads))]
        texts = " · ".join(held["texts"])
        parts.append(f"<figure><figcaption>{escape(held['task'])}: {escape(texts)}</figcaption>"
                     f'<div data-attention="attention-{number}"><div class=tools>{"".join(choose)}</div>'
                     '<div class=wide><svg role=img></svg></div></div></figure>'
                     + embedded(f"attention-{number}", data))
    if parts:
        return side_by_side(parts)
    return note("No attention was kept: the encoder gives none, or no dev text is short enough."
                if run.artifacts else run.no_exhibits("Attention is kept"))
