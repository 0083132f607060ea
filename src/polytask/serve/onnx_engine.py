"""The engine that runs an exported graph, fp32 or int8, with ONNX Runtime and without torch."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.data.collate import Selection, sequence_lengths
from polytask.data.tokenization import Tokenizer
from polytask.inference.graph_batches import graph_batches, padded
from polytask.inference.graph_info import EMBEDDING
from polytask.inference.onnx_model import OnnxModel, load_onnx
from polytask.serve.engine import BatchAnswers, EncodedText
from polytask.serve.text_engine import TextEngine, scores_of, task_answers


class OnnxEngine(TextEngine):
    """An exported graph served by ONNX Runtime."""

    def __init__(self, model: OnnxModel, tokenizer: Tokenizer, name: str,
                 scores: dict[str, Any] | None = None) -> None:
        super().__init__(name, tokenizer, model.info.embedding, model.info.embedding)
        self.model, self.engine = model, model.engine
        widths = {output.name: output.shape[-1] for output in model.session.get_outputs()}
        self.width, self.pooling = int(widths[EMBEDDING]), model.info.pooling
        for task in model.tasks.values():
            self._add_task(task.name, len(task.text), task.labels, task.layout, task.layout,
                           (scores or {}).get(task.name, {}), task.text, task.threshold)

    def answer(self, layout: Hashable, tasks: Sequence[str], inputs: Sequence[EncodedText],
               embed: bool) -> BatchAnswers:
        """Return every task's answer to every input, from one pass of the encoder."""
        specs = [self.model.tasks[name] for name in tasks]
        outputs = list(dict.fromkeys([output for spec in specs for output in (spec.activated, spec.logits)
                                      if output] + [EMBEDDING] * embed))
        values = dict(zip(outputs, self._run(outputs, self._selection(layout, inputs)), strict=True))
        answers = {spec.name: task_answers(spec.labels, spec.decide(values[spec.activated]),
                                           values[spec.logits or spec.activated]) for spec in specs}
        return BatchAnswers(answers, values.get(EMBEDDING))

    def _run(self, outputs: Sequence[str], selection: Selection) -> list[NDArray[np.float32]]:
        """Return outputs for rows, which one pass computes unless their lengths differ too much."""
        special_tokens = self._tokenizer.special_tokens
        lengths = sequence_lengths(selection.layout, selection.columns, selection.rows, special_tokens)
        order = list(graph_batches(lengths.kept, self.model.pass_tokens))
        passes = [self.model.session.run(outputs, padded(replace(selection, rows=places), special_tokens))
                  for places in order]
        back = np.argsort(np.concatenate(order), kind="stable")
        return [np.concatenate(parts)[back] for parts in zip(*passes, strict=True)]


def load_graph(folder: str | Path, name: str, engine: str, threads: int | None) -> OnnxEngine:
    """Return the engine of an export. Raises what `load_onnx` raises."""
    model = load_onnx(folder, int8=engine == "int8", threads=threads)
    return OnnxEngine(model, Tokenizer(model.tokenizer_file), name, scores_of(Path(folder)))
