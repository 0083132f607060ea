"""The engine of torch: flat batches through the network as it was trained."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polytask.core.paths import RunPaths
from polytask.data.collate import InputLayout, Selection, collate, sequence_lengths
from polytask.data.decisions import Decision, named, probabilities
from polytask.data.labels import Labels
from polytask.data.tokenization import TokenColumn, Tokenizer
from polytask.inference.forward import autocast_of
from polytask.inference.predictor import Model, load
from polytask.model.output import Output
from polytask.serve.engine import BatchAnswers, EncodedText, TaskAnswer, TaskInfo
from polytask.tasks.task import ResolvedTask


class TorchEngine:
    """A model folder served by torch."""

    engine = "torch"

    def __init__(self, model: Model, name: str, scores: dict[str, Any] | None = None) -> None:
        self.name, self.model = name, model
        self._tokenizer = Tokenizer(model.tokenizer_file)
        self._pooling = model.pooling
        # An adapter of a task's own sits in the encoder: then no two tasks share a pass.
        apart = any(each.startswith("encoder.adapter.tasks.")
                    for each, _ in model.network.named_parameters())
        self._layouts: dict[Hashable, InputLayout] = {}
        self.tasks = {task.name: self._info(task, apart, (scores or {}).get(task.name, {}))
                      for task in model.tasks.values()}
        self.max_length = next(iter(model.tasks.values())).max_length
        self.width = int(model.network.encoder.width)
        single = InputLayout(1, 1, self.max_length)
        self.embedding_layout: Hashable = "" if apart else single
        self._layouts[self.embedding_layout] = single

    def _info(self, task: ResolvedTask, apart: bool, scores: dict[str, Any]) -> TaskInfo:
        layout = InputLayout.of(task.pairing, task.max_length)
        key: Hashable = task.name if apart else layout
        self._layouts[key] = layout
        labels = task.labels
        return TaskInfo(task.name, len(task.text), labels.kind, labels.classes,
                        (labels.low, labels.high) if labels.is_regression else None,
                        task.pairing.name, key, scores)

    def tokenize(self, inputs: Sequence[tuple[str, ...]]) -> list[EncodedText]:
        """Return the inputs as token ids."""
        ids = [np.asarray(each, np.int32)
               for each in self._tokenizer.encode([text for texts in inputs for text in texts])]
        encoded, start = [], 0
        for texts in inputs:
            encoded.append(EncodedText(tuple(ids[start:start + len(texts)])))
            start += len(texts)
        return encoded

    def tokens(self, layout: Hashable, text: EncodedText) -> tuple[int, int]:
        """Return the tokens that an input has in this layout: after cutting, and before."""
        lengths = sequence_lengths(self._layouts[layout], _columns([text]), np.zeros(1, np.int64),
                                   self._tokenizer.special_tokens)
        return int(lengths.kept.sum()), int(lengths.full.sum())

    @torch.inference_mode()
    def answer(self, layout: Hashable, tasks: Sequence[str], inputs: Sequence[EncodedText],
               embed: bool) -> BatchAnswers:
        """Return every task's answer to every input, from one pass of the encoder."""
        network = self.model.network
        selection = Selection(tasks[0] if tasks else "", self._layouts[layout], _columns(inputs),
                              np.arange(len(inputs)))
        device = next(network.parameters()).device
        batch = collate([selection], self._tokenizer.special_tokens).to(device)
        outputs: dict[str, Output] = {}
        with autocast_of(network):
            hidden = network.encoder(batch)
            for name in tasks:
                span = replace(batch.spans[0], task=name)
                outputs[name] = network.from_pooled(name, network.pooled(hidden, batch, span))
            vectors = self._pooling.pool(hidden, batch, network.encoder) if embed else None
        return BatchAnswers(
            {name: self._answers(self.model.tasks[name], output) for name, output in outputs.items()},
            None if vectors is None else vectors.float().cpu().numpy())

    def _answers(self, task: ResolvedTask, output: Output) -> list[TaskAnswer]:
        decision = task.head.decide(output, task.labels, self.model.thresholds.get(task.name))
        field = task.head.output_field(task.labels.kind)
        raw = output.field(field).float().cpu()
        rows = raw.reshape(len(raw), -1).tolist()
        return [_answer(task.labels, decision, row, tuple(rows[row])) for row in range(len(rows))]


def _answer(labels: Labels, decision: Decision, row: int, logits: tuple[float, ...]) -> TaskAnswer:
    label = named(labels, decision.labels[row])
    if labels.kind == "multi-label":
        label = label.split("|") if label else []
    score = decision.scores[row]
    return TaskAnswer(label, score.tolist() if score.ndim else float(score),
                      probabilities(labels, decision, row), logits)


def _columns(inputs: Sequence[EncodedText]) -> tuple[TokenColumn, ...]:
    """Return the token columns of some inputs, one for each text of an input."""
    columns = []
    for ids in zip(*(each.ids for each in inputs), strict=True):
        offsets = np.zeros(len(ids) + 1, np.int64)
        np.cumsum([len(each) for each in ids], out=offsets[1:])
        columns.append(TokenColumn(np.concatenate(ids), offsets))
    return tuple(columns)


def load_torch(folder: str | Path, name: str, threads: int | None) -> TorchEngine:
    """Return the engine of a run or model folder. Raises what `polytask.load` raises."""
    if threads is not None:
        torch.set_num_threads(threads)
    return TorchEngine(load(folder), name, scores_of(Path(folder)))


def scores_of(folder: Path) -> dict[str, Any]:
    """Return the dev scores of a run, task by task, or nothing."""
    results = RunPaths(folder).results
    if not results.is_file():
        return {}
    try:
        scores = json.loads(results.read_text(encoding="utf-8"))["dev"]["scores"]
    except (ValueError, KeyError, TypeError):
        return {}
    return scores if isinstance(scores, dict) else {}
