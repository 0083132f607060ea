"""The engine of torch: flat batches through the network as it was trained."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from polytask.data.collate import InputLayout, collate
from polytask.data.tokenization import Tokenizer
from polytask.inference.forward import autocast_of
from polytask.inference.predictor import Model, load
from polytask.model.output import Output
from polytask.serve.engine import BatchAnswers, EncodedText, TaskAnswer
from polytask.serve.text_engine import TextEngine, scores_of, task_answers
from polytask.tasks.resolved_task import ResolvedTask


class TorchEngine(TextEngine):
    """A model folder served by torch."""

    engine = "torch"

    def __init__(self, model: Model, name: str, scores: dict[str, Any] | None = None) -> None:
        # Adapters of single tasks sit inside the encoder, so no two tasks share a pass.
        apart = any(parameter_name.startswith("encoder.adapter.tasks.")
                    for parameter_name, _ in model.network.named_parameters())
        single = InputLayout(1, 1, next(iter(model.tasks.values())).max_length)
        super().__init__(name, Tokenizer(model.tokenizer_file), single, "" if apart else single)
        self.model, self.width = model, int(model.network.encoder.width)
        self.pooling = model.pooling.name
        for task in model.tasks.values():
            self._add_task(task.name, len(task.text), task.labels, task.layout,
                           task.name if apart else task.layout, (scores or {}).get(task.name, {}),
                           task.text, model.thresholds.get(task.name))

    @torch.inference_mode()
    def answer(self, layout: Hashable, tasks: Sequence[str], inputs: Sequence[EncodedText],
               embed: bool) -> BatchAnswers:
        """Return every task's answer to every input, from one pass of the encoder."""
        network = self.model.network
        selection = self._selection(layout, inputs, tasks[0] if tasks else "")
        device = next(network.parameters()).device
        batch = collate([selection], self._tokenizer.special_tokens).to(device)
        outputs: dict[str, Output] = {}
        with autocast_of(network):
            hidden = network.encoder(batch)
            for name in tasks:
                span = replace(batch.spans[0], task=name)
                outputs[name] = network.from_pooled(name, network.pooled(hidden, batch, span))
            vectors = self.model.pooling.pool(hidden, batch, network.encoder) if embed else None
        return BatchAnswers(
            {name: self._answers(self.model.tasks[name], output) for name, output in outputs.items()},
            None if vectors is None else vectors.float().cpu().numpy())

    @torch.inference_mode()
    def attention(self, task: str, texts: tuple[str, ...]) -> tuple[list[str], NDArray[np.float32]]:
        """Return the tokens of an input, and what each gets of a layer's attention: (layers, tokens)."""
        tokens, maps = self.model.attention(task, texts[0] if len(texts) == 1 else (texts[0], texts[1]))
        return tokens, maps.mean(axis=(1, 2), dtype=np.float32)

    def _answers(self, task: ResolvedTask, output: Output) -> list[TaskAnswer]:
        decision = task.head.decide(output, task.labels, self.model.thresholds.get(task.name))
        raw = output.field(task.head.output_field(task.labels.kind)).float().cpu().numpy()
        return task_answers(task.labels, decision, raw)


def load_torch(folder: str | Path, name: str, threads: int | None) -> TorchEngine:
    """Return the engine of a run or model folder. Raises what `polytask.load` raises."""
    if threads is not None:
        torch.set_num_threads(threads)
    return TorchEngine(load(folder), name, scores_of(Path(folder)))
