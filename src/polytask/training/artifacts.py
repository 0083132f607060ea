"""What the report shows besides predictions, saved at the end of a training in `artifacts/`.

    artifacts.json   labels, label histograms, which dev rows were cut, overlaps, attended texts
    artifacts.npz    pooled vectors of some dev rows of each task, attention of some dev pairs

So the report can be built from the run folder alone, without the model and without the data.
"""

from __future__ import annotations

import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch

from polytask.core.atomic_files import write_file, write_json
from polytask.core.errors import RunError
from polytask.core.json_files import MOST_BYTES, read_json
from polytask.core.paths import RunPaths
from polytask.core.run_folder import RunFolder
from polytask.core.terminal import tell
from polytask.data.collate import InputLayout
from polytask.data.dataset import class_counts
from polytask.data.labels import Labels
from polytask.data.tokenization import Tokenizer
from polytask.data.validation import inspect
from polytask.data.validation_report import Overlap
from polytask.inference.forward import attention, encode_some
from polytask.model.multitask import MultiTask
from polytask.training.build import Built

# Dev rows of a task whose vectors are kept; pairs whose attention is, and their tokens.
VECTORS, ATTENDED, SHORTEST, LONGEST = 400, 2, 8, 40
# The search for overlaps takes seconds for this many rows: skipped beyond.
GATED = 500_000
BINS = 20


def write_artifacts(built: Built, model: MultiTask, folder: RunFolder) -> None:
    """Write the artifacts of a trained model."""
    arrays: dict[str, Any] = {}
    facts: dict[str, Any] = {"labels": {}, "histograms": {}, "cut": {}, "attention": []}
    for name, task in built.tasks.items():
        data = built.data[name]
        facts["labels"][name] = task.labels.to_json()
        facts["histograms"][name] = {split: counts for split, part in data.splits.items()
                                     if (counts := histogram(task.labels, part.targets))}
        if "dev" in data.splits:
            layout = InputLayout.of(task.pairing, task.max_length)
            facts["cut"][name] = np.flatnonzero(data.dev.lengths(layout).truncated).tolist()
            rows = _spread(len(data.dev), VECTORS)
            vectors = encode_some(model, task, data.dev, rows)
            arrays[f"rows/{name}"] = rows
            arrays[f"vectors/{name}"] = vectors.flatten(1).numpy().astype(np.float16)
    for number, (note, maps) in enumerate(_attended(built, model)):
        facts["attention"].append(note)
        arrays[f"attention/{number}"] = maps
    facts["overlaps"] = _overlaps(built)
    facts["model"] = {"parameters": sum(p.numel() for p in model.parameters()),
                      "layers": getattr(model.encoder, "num_layers", None), "width": model.encoder.width}
    write_file(folder.arrays, lambda path: _save(path, arrays))
    write_json(folder.notes, facts)


def keep_quietly(built: Built, model: MultiTask, folder: RunFolder) -> None:
    """Write the artifacts of a trained model. A failure is reported and does not lose the run."""
    try:
        write_artifacts(built, model, folder)
    except Exception as error:
        tell(f"{folder.path}: embeddings and attention could not be saved "
             f"({type(error).__name__}: {error}); the report will lack them")


def load_artifacts(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the facts and the arrays; both empty if none were saved."""
    place = RunPaths(folder)
    if not place.notes.is_file() or not place.arrays.is_file():
        return {}, {}
    try:
        with place.arrays.open("rb") as file:
            with ZipFile(file) as parts:  # sizes before memory: zeros of gigabytes pack into megabytes
                unpacked = sum(part.file_size for part in parts.infolist())
            if unpacked > MOST_BYTES:
                raise ValueError(f"{place.arrays.name} unpacks to {unpacked:,} bytes, expected at most "
                                 f"{MOST_BYTES:,}")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                notes, values = read_json(place.notes), dict(arrays)
        if not isinstance(notes, dict):
            raise ValueError(f"{place.notes.name} is not a JSON object")
        return notes, values
    except (ValueError, OSError, EOFError, zlib.error, BadZipFile, RuntimeError) as error:  # encrypted
        raise RunError(f"{place.artifacts}: cannot be read ({error}); delete the folder for a report "
                       "without embeddings and attention") from None


def _save(path: Path, arrays: dict[str, Any]) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _spread(rows: int, most: int) -> Any:
    """Return at most `most` row numbers, evenly over all."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64))


def histogram(labels: Labels, targets: Any) -> dict[str, Any] | None:
    """Return the distribution of the labels of a split: a count per class, or per bin of numbers.

    None for rows without labels.
    """
    if targets is None:
        return None
    if not labels.is_regression:
        return {"counts": class_counts(targets, labels)}
    numbers = np.clip(labels.unscaled(np.asarray(targets)), labels.low, labels.high)  # rounding went beyond
    counts, _ = np.histogram(numbers, bins=BINS, range=(labels.low, labels.high))
    return {"low": labels.low, "high": labels.high, "counts": counts.tolist()}


def _attended(built: Built, model: MultiTask) -> list[tuple[dict[str, Any], Any]]:
    """Return the attention of the encoder over some dev texts: (layers, heads, n, n) as bytes."""
    if not hasattr(model.encoder, "attentions"):
        return []
    pairs = [name for name, task in built.tasks.items() if len(task.text) > 1]
    name = next(iter(pairs or built.tasks))
    task, data = built.tasks[name], built.data[name]
    if "dev" not in data.splits:
        return []
    lengths = data.dev.lengths(InputLayout(len(task.text), 1, task.max_length)).kept.sum(axis=1)
    short = np.flatnonzero((lengths >= SHORTEST) & (lengths <= LONGEST))[:ATTENDED]
    named = Tokenizer(built.tokenizer).inner.id_to_token
    rows = []
    for row in short.tolist():
        ids, maps = attention(model, task, data.dev, row)
        note = {"task": name, "row": row, "texts": list(data.dev.texts([row])[0]),
                "tokens": [named(number) or str(number) for number in ids]}
        rows.append((note, (maps * 255).round().to(torch.uint8).numpy()))
    return rows


def _overlaps(built: Built) -> dict[str, Any]:
    rows = sum(len(part) for data in built.data.values() for part in data.splits.values())
    if rows > GATED:
        return {"left_out": f"{rows:,} rows: the search was skipped; `polytask check` makes it"}
    report = inspect(built.data, built.layouts())
    return {"tasks": {name: [_told(built, overlap) for overlap in task.overlaps]
                      for name, task in report.tasks.items()},
            "across": [_told(built, overlap) for overlap in report.across]}


def _told(built: Built, overlap: Overlap) -> dict[str, Any]:
    """Return an overlap with the texts of its examples: (here, there), each a list of texts."""
    def texts(place: str, line: int) -> list[str]:
        name, _, split = place.rpartition(" ")
        part = built.data[name].splits[split]
        return list(part.texts([int(np.flatnonzero(part.lines == line)[0])])[0])

    return asdict(overlap) | {"texts": [(texts(overlap.here, a), texts(overlap.there, b))
                                        for a, b in overlap.examples]}
