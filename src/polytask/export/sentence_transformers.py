"""A model's embeddings as a SentenceTransformer, or a pair task as a CrossEncoder, where that is exact."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from polytask.core.atomic_files import write_folder
from polytask.core.encoder_paths import EncoderPaths
from polytask.core.errors import ConfigError, MissingExtra
from polytask.data.dataset import Split
from polytask.data.decisions import Threshold
from polytask.export.graph import activated, scaled_score
from polytask.export.heads import OPEN_DOORS, dense_layers, thresholds_applied, write_tokenizer
from polytask.inference.forward import encode_some, forward_rows
from polytask.inference.predictor import Model
from polytask.model.adapters.lora import merged
from polytask.model.encoders import save_any
from polytask.tasks.model_folder import ModelFolder
from polytask.tasks.resolved_task import ResolvedTask
from polytask.tasks.st_modules import pooling_problem, write_modules

TOLERANCE = 1e-4


def sentence_transformers_problem(loaded: ModelFolder, task: ResolvedTask | None) -> str | None:
    """Return why sentence-transformers cannot give a task's answers (or the embeddings), or None."""
    pooling = loaded.pooling if task is None else loaded.model.task_head(task.name).pooling
    if getattr(loaded.model.encoder, "adapter", None) is not None:
        return f"its adapter has layers that sentence-transformers has no place for; {OPEN_DOORS}"
    if mistake := pooling_problem(pooling):
        return f"{mistake}; {OPEN_DOORS}"
    if task is None:
        return None
    if task.pairing.name == "single":
        return ("a CrossEncoder takes pairs only: a list of two texts would be read as one pair; "
                f"--to transformers --task {task.name}, or {OPEN_DOORS}")
    if task.pairing.sequences > 1 and not task.pairing.two_vectors:
        return f"its pairs are read in both orders, a CrossEncoder reads one; {OPEN_DOORS}"
    if task.pairing.sequences > 1 and task.head.name != "cosine":
        return (f'head "{task.head.name}" sees features of two vectors, for which sentence-transformers '
                f"has no class; {OPEN_DOORS}")
    return None


def export_sentence_transformers(loaded: ModelFolder, source: Path, task: ResolvedTask | None, out: Path,
                                 splits: Mapping[str, Split], rows: int) -> list[str]:
    """Write a folder for sentence-transformers, compared on real rows; return the report.

    Without a task, and for a cosine task, it is a SentenceTransformer; for a cross-encoder, a CrossEncoder.
    Raises `ConfigError`, and writes nothing, where it would answer otherwise.
    """
    name = "the embeddings" if task is None else f"tasks.{task.name}"
    if mistake := sentence_transformers_problem(loaded, task):
        raise ConfigError(f"{name}: {mistake}")
    pooling = loaded.pooling if task is None else loaded.model.task_head(task.name).pooling
    limit = next(iter(loaded.tasks.values())).max_length if task is None else task.max_length
    scored = task is not None and task.pairing.sequences == 1
    with write_folder(out) as folder:
        save_any(merged(loaded.model.encoder), loaded.tokenizer, folder)
        if task is not None and scored:
            by_class = task.labels.kind == "multi-label" or (
                task.labels.kind == "binary" and task.outputs == 1)
            layers = dense_layers(task, loaded.model.task_head(task.name))
            write_modules(folder, pooling, loaded.model.encoder, limit, layers,
                          nn.Sigmoid if by_class else nn.Identity)
            _write_pairs_tokenizer(loaded, task, folder)
        else:
            write_modules(folder, pooling, loaded.model.encoder, limit)
        if task is not None and scored:
            difference, count = _scores_apart(loaded, task, folder, splits[task.name], rows)
        else:
            difference, count = _vectors_apart(loaded, source, task, folder, splits, rows)
        if not difference <= TOLERANCE:
            raise ConfigError(f"{name}: sentence-transformers differs by {difference:.1e}, "
                              f"expected at most {TOLERANCE:g}; nothing was written")
        EncoderPaths(folder).card.write_text(
            _card(task, scored, loaded.thresholds.get(task.name) if task else None), encoding="utf-8")
    return [f"{name}: {count} rows, largest difference {difference:.1e}", f"written: {out}"]


def _write_pairs_tokenizer(loaded: ModelFolder, task: ResolvedTask, folder: Path) -> None:
    if write_tokenizer(loaded.tokenizer, task, folder):
        path = EncoderPaths(folder).tokenizer_settings
        known = json.loads(path.read_text(encoding="utf-8"))
        # A class that takes the file as it is; BERT's own would build its template anew.
        known |= {"tokenizer_class": "PreTrainedTokenizerFast",
                  "model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
        path.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


def _opened(folder: Path, kind: str) -> Any:
    try:
        import sentence_transformers
    except ImportError:
        raise MissingExtra("polytask export --to sentence-transformers", "sentence-transformers") from None
    return getattr(sentence_transformers, kind)(str(folder), device="cpu")


def _scores_apart(loaded: ModelFolder, task: ResolvedTask, folder: Path, split: Split,
                  rows: int) -> tuple[float, int]:
    """Return the largest difference of a CrossEncoder's score, in parts of the range, and the rows."""
    chosen = np.arange(len(split))[:rows]
    output = forward_rows(loaded.model, task, split, chosen).output
    field = task.head.output_field(task.labels.kind)
    values = output.field(field)
    labels = task.labels
    scores = np.asarray(_opened(folder, "CrossEncoder").predict(split.texts(chosen), batch_size=32))
    if field == "score":
        scale = max(1.0, labels.high - labels.low)
        want = scaled_score(values, task).numpy()
        return float(np.abs(scores - want).max()) / scale, len(chosen)
    if values.ndim == 1:
        return float(np.abs(scores - activated(values, labels)[:, 1].numpy()).max()), len(chosen)
    want = (activated(values, labels) if labels.kind == "multi-label" else values).numpy()
    return float(np.abs(scores - want).max()), len(chosen)


def _vectors_apart(loaded: ModelFolder, source: Path, task: ResolvedTask | None, folder: Path,
                   splits: Mapping[str, Split], rows: int) -> tuple[float, int]:
    """Return the largest difference of an embedding's element, and the texts."""
    opened = _opened(folder, "SentenceTransformer")
    if task is None:
        texts = [row[0] for split in splits.values() for row in split.texts(np.arange(len(split))[:rows])]
        return float(np.abs(opened.encode(texts) - Model(loaded, source).embed(texts)).max()), len(texts)
    split = splits[task.name]
    chosen = np.arange(len(split))[:rows]
    want = encode_some(loaded.model, task, split, chosen)[:, 0].numpy()
    return float(np.abs(opened.encode([row[0] for row in split.texts(chosen)]) - want).max()), len(chosen)


def _card(task: ResolvedTask | None, scored: bool, threshold: Threshold | None) -> str:
    title = "Embeddings" if task is None else task.name
    if scored:
        use = ["from sentence_transformers import CrossEncoder", "",
               'CrossEncoder("this/folder").predict([("First text.", "Second text.")])']
    else:
        use = ["from sentence_transformers import SentenceTransformer", "",
               'model = SentenceTransformer("this/folder")', 'model.encode(["A text."])']
    lines = ["---", "library_name: sentence-transformers", "---", "", f"# {title}", "",
             "Exported by polytask from a multitask model: the same numbers.", "", "```python", *use,
             "```", ""]
    if task is not None and threshold is not None:
        lines += [f"{thresholds_applied(task, threshold)}; sentence-transformers has no setting for them.",
                  ""]
    if scored and task is not None and task.labels.is_regression:
        lines += [f"Scores are not clipped to {task.labels.low:g} and {task.labels.high:g}.", ""]
    if scored and task is not None and task.labels.num_classes > 2:
        lines += ["Scores are logits, in the order " + ", ".join(task.labels.classes) + ".", ""]
    return "\n".join(lines)
