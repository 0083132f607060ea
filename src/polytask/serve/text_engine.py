"""What the engines share: texts become token ids in a layout, decisions become answers."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.core.errors import RunError
from polytask.core.paths import RunPaths
from polytask.data.collate import InputLayout, Selection, sequence_lengths
from polytask.data.decisions import Decision, Threshold, answer_table
from polytask.data.labels import Labels
from polytask.data.tokenization import TokenColumn, Tokenizer
from polytask.serve.engine import EncodedText, TaskAnswer, TaskInfo


class TextEngine:
    """The part of a `ServedModel` that computes nothing: names, tokens, layouts."""

    def __init__(self, name: str, tokenizer: Tokenizer, embedding: InputLayout,
                 embedding_key: Hashable) -> None:
        self.name, self._tokenizer = name, tokenizer
        self.tasks: dict[str, TaskInfo] = {}
        self.max_length = embedding.max_length
        self.embedding_layout = embedding_key
        self._layouts: dict[Hashable, InputLayout] = {embedding_key: embedding}

    def _add_task(self, name: str, texts: int, labels: Labels, layout: InputLayout, key: Hashable,
                  scores: dict[str, Any], columns: Sequence[str] = (),
                  threshold: Threshold | None = None) -> None:
        self._layouts[key] = layout
        span = (labels.low, labels.high) if labels.is_regression else None
        self.tasks[name] = TaskInfo(name, texts, labels.kind, labels.classes, span, _pairing(layout), key,
                                    scores, tuple(columns), threshold, layout.symmetric)

    def attention(self, task: str, texts: tuple[str, ...]) -> tuple[list[str], NDArray[np.float32]]:
        """Return the tokens of an input, and what each gets of a layer's attention: (layers, tokens)."""
        raise RunError(f"{self.name}: this engine keeps no attention; serve it with torch")

    def tokenize(self, inputs: Sequence[tuple[str, ...]]) -> list[EncodedText]:
        """Return the inputs as token ids."""
        ids = [np.asarray(encoding, np.int32)
               for encoding in self._tokenizer.encode([text for texts in inputs for text in texts])]
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

    def _selection(self, layout: Hashable, inputs: Sequence[EncodedText], task: str = "") -> Selection:
        return Selection(task, self._layouts[layout], _columns(inputs), np.arange(len(inputs)))


def _pairing(layout: InputLayout) -> str:
    names = {(1, 1): "single", (2, 1): "cross_encoder", (2, 2): "bi_encoder", (1, 2): "twin",
             (2, 3): "cross_bi_encoder"}
    return names[layout.texts, layout.sequences - layout.symmetric]


def task_answers(labels: Labels, decision: Decision, raw: np.ndarray[Any, Any]) -> list[TaskAnswer]:
    """Return a task's answers; `raw` (rows, outputs) are the head's own numbers."""
    rows = raw.reshape(len(raw), -1).tolist()
    return [_answer(labels, decision, row, tuple(rows[row])) for row in range(len(rows))]


def _answer(labels: Labels, decision: Decision, row: int, logits: tuple[float, ...]) -> TaskAnswer:
    table = answer_table(labels, decision, row)
    return TaskAnswer(table["label"], table["score"], table.get("probabilities"), logits)


def _columns(inputs: Sequence[EncodedText]) -> tuple[TokenColumn, ...]:
    """Return the token columns of inputs, one for each text of an input."""
    columns = []
    for ids in zip(*(text.ids for text in inputs), strict=True):
        offsets = np.zeros(len(ids) + 1, np.int64)
        np.cumsum([len(piece) for piece in ids], out=offsets[1:])
        columns.append(TokenColumn(np.concatenate(ids), offsets))
    return tuple(columns)


def scores_of(folder: Path) -> dict[str, Any]:
    """Return the dev scores of a run by task; {} where there are none."""
    results = RunPaths(folder).results
    if not results.is_file():
        return {}
    try:
        scores = json.loads(results.read_text(encoding="utf-8"))["dev"]["scores"]
    except (ValueError, KeyError, TypeError):
        return {}
    return scores if isinstance(scores, dict) else {}
