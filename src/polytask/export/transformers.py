"""A task as a folder that `AutoModelForSequenceClassification` and `pipeline("text-classification")` open.

transformers' BERT classifier is pooler, tanh, linear. A task of pooling "pooler" and one linear layer is
that; a task of pooling "cls" becomes it with a pooler of 1e-4 · I, over which tanh is the identity to
rounding. Everything else has no place there and is refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polytask.core.atomic_files import save_tensors, write_folder
from polytask.core.encoder_paths import EncoderPaths
from polytask.core.errors import CheckpointError, ConfigError, MissingExtra
from polytask.core.json_files import read_json
from polytask.data.dataset import Split
from polytask.data.decisions import Threshold
from polytask.export.graph import activated, scaled_score
from polytask.export.heads import OPEN_DOORS, dense_layers, thresholds_applied, write_tokenizer
from polytask.inference.forward import forward_rows
from polytask.model.adapters.lora import merged
from polytask.model.families import hugging_face_name
from polytask.model.flat_config import written
from polytask.tasks.model_folder import ModelFolder
from polytask.tasks.resolved_task import ResolvedTask

TOLERANCE = 1e-4
_SMALL = 1e-4
_BATCH = 32
_COUNTS = {2: "two", 3: "three", 4: "four"}


def transformers_problem(loaded: ModelFolder, task: ResolvedTask) -> str | None:
    """Return why transformers' classifier cannot answer as a task does, or None."""
    encoder = loaded.model.encoder
    pooling = loaded.model.task_head(task.name).pooling.name
    st = f"--to sentence-transformers --task {task.name}, " if _one_of_both(task) else ""
    if getattr(encoder, "adapter", None) is not None:
        return f"its adapter has layers that transformers' classes have no place for; {OPEN_DOORS}"
    if encoder.kind != "bert":
        return (f'the encoder is "{encoder.kind}", whose classifier in transformers has different layers '
                f"from this head; {st}{OPEN_DOORS}")
    if task.pairing.sequences > 1:
        count = _COUNTS.get(task.pairing.sequences, str(task.pairing.sequences))
        return (f'pairing "{task.pairing.name}" has {count} sequences per row, but a classifier there '
                f"takes one; {OPEN_DOORS}")
    if pooling not in ("pooler", "cls"):
        return (f'BertForSequenceClassification has no pooling "{pooling}", only the first token; '
                f"{st}{OPEN_DOORS}")
    if len(dense_layers(task, loaded.model.task_head(task.name))) > 1:
        return (f'head "{task.head.name}" has two linear layers, BertForSequenceClassification has one; '
                f"{st}{OPEN_DOORS}")
    return None


def _one_of_both(task: ResolvedTask) -> bool:
    return task.pairing.name == "cross_encoder" and task.pairing.sequences == 1


def export_transformers(loaded: ModelFolder, task: ResolvedTask, out: Path, split: Split,
                        rows: int) -> list[str]:
    """Write one task for transformers, its answers compared on real rows; return the report.

    Raises `ConfigError`, and writes nothing, where the classifier there cannot answer alike.
    """
    if mistake := transformers_problem(loaded, task):
        raise ConfigError(f"tasks.{task.name}: {mistake}")
    encoder = merged(loaded.model.encoder)
    (head,) = dense_layers(task, loaded.model.task_head(task.name))
    weights = {f"bert.{hugging_face_name(name, encoder.kind)}": value.detach().float().cpu().contiguous()
               for name, value in encoder.state_dict().items() if not name.startswith("pooler.")}
    weight, bias = head.weight, head.bias
    if loaded.model.task_head(task.name).pooling.name == "pooler":
        pooler: tuple[Tensor, Tensor] = encoder.pooler.dense.weight, encoder.pooler.dense.bias
    else:
        pooler = _SMALL * torch.eye(encoder.width), torch.zeros(encoder.width)
        weight = weight / _SMALL
    if task.labels.kind == "binary" and len(weight) == 1:
        weight, bias = (torch.cat([torch.zeros_like(tensor), tensor]) for tensor in (weight, bias))
    weights |= {"bert.pooler.dense.weight": pooler[0], "bert.pooler.dense.bias": pooler[1],
                "classifier.weight": weight, "classifier.bias": bias}
    with write_folder(out) as folder:
        paths = EncoderPaths(folder)
        save_tensors(paths.weights,
                     {name: value.detach().float().cpu().contiguous() for name, value in weights.items()})
        changed = write_tokenizer(loaded.tokenizer, task, folder)
        _write(paths.config, _config(loaded, task, encoder))
        _write(paths.tokenizer_settings, {
            "tokenizer_class": "PreTrainedTokenizerFast" if changed else "BertTokenizer",
            "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
            "model_max_length": task.max_length, **_special(loaded.tokenizer)})
        difference = _difference(loaded, task, folder, split, rows)
        if not difference <= TOLERANCE:
            raise ConfigError(f"tasks.{task.name}: transformers differs by {difference:.1e}, "
                              f"expected at most {TOLERANCE:g}; nothing was written")
        paths.card.write_text(_card(task, loaded.thresholds.get(task.name)), encoding="utf-8")
    return [f"{task.name}: {min(rows, len(split))} rows, largest difference {difference:.1e}",
            *([f"note: {_MULTI}"] if task.labels.kind == "multi-label" else []), f"written: {out}"]


_MULTI = ("text-embeddings-inference applies a softmax over all labels, whatever problem_type says; "
          "read its raw_scores")


def _config(loaded: ModelFolder, task: ResolvedTask, encoder: Any) -> dict[str, Any]:
    labels = task.labels
    names = list(labels.classes) or [task.name]
    problem = {"regression": "regression", "multi-label": "multi_label_classification"}.get(
        labels.kind, "single_label_classification")
    return {**written(encoder.config), "architectures": ["BertForSequenceClassification"],
            "id2label": {str(k): name for k, name in enumerate(names)},
            "label2id": {name: k for k, name in enumerate(names)}, "problem_type": problem,
            **({"function_to_apply": "none"} if labels.is_regression else {}),
            "polytask": {"task": task.name, "threshold": loaded.thresholds.get(task.name),
                         "labels": labels.to_json()}}


def _special(tokenizer: Path) -> dict[str, str]:
    beside = EncoderPaths(tokenizer.parent).tokenizer_settings
    known = read_json(beside, CheckpointError) if beside.is_file() else {}
    known = known if isinstance(known, dict) else {}
    named = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]",
             "mask_token": "[MASK]"}
    normalizing = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
    kept = {key: known[key] for key in normalizing if key in known}
    return {**named, **{key: str(known[key]) for key in named if isinstance(known.get(key), str)}, **kept}


@torch.inference_mode()
def _difference(loaded: ModelFolder, task: ResolvedTask, folder: Path, split: Split, rows: int) -> float:
    """Return the largest difference of a probability, or of a score in parts of the labels' range."""
    try:
        import transformers
    except ImportError:
        raise MissingExtra("polytask export --to transformers", "transformers") from None
    chosen = np.arange(len(split))[:rows]
    output = forward_rows(loaded.model, task, split, chosen).output
    field = task.head.output_field(task.labels.kind)
    want = scaled_score(output.field(field), task) if field == "score" else activated(
        output.field(field), task.labels)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    network = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, trust_remote_code=False).eval()
    texts = split.texts(chosen)
    worst = 0.0
    for start in range(0, len(texts), _BATCH):
        part = texts[start:start + _BATCH]
        encoded = tokenizer(*(list(column) for column in zip(*part, strict=True)), truncation=True,
                            padding=True, return_tensors="pt")
        logits = network(**encoded).logits
        scores = (logits[:, 0] if field == "score" else
                  logits.sigmoid() if task.labels.kind == "multi-label" else logits.softmax(-1))
        scale = task.labels.high - task.labels.low if field == "score" else 1.0
        worst = max(worst, float((scores - want[start:start + _BATCH]).abs().max()) / max(1.0, scale))
    return worst


def _card(task: ResolvedTask, threshold: Threshold | None) -> str:
    example = '{"text": "First text.", "text_pair": "Second text."}' if len(task.text) == 2 else '"A text."'
    lines = ["---", "library_name: transformers", "pipeline_tag: text-classification", "---", "",
             f"# {task.name}", "",
             "One task of a multitask model, exported by polytask: the same answers.", "",
             "```python", "from transformers import pipeline", "",
             f'pipeline("text-classification", "this/folder", top_k=None)({example})', "```", ""]
    if threshold is not None:
        lines += [f"{thresholds_applied(task, threshold)}; transformers has no setting for them.", ""]
    if task.labels.is_regression:
        lines += [f"Scores are not clipped to {task.labels.low:g} and {task.labels.high:g}.", ""]
    if task.labels.kind == "multi-label":
        lines += [f"{_MULTI[0].upper()}{_MULTI[1:]}.", ""]
    return "\n".join(lines)


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
