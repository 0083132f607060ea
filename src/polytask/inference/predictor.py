"""A trained model at work: `pk.load(folder)`, then `predict` and `embed`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from polytask.core.atomic_files import read_folder
from polytask.core.errors import ConfigError
from polytask.core.paths import ModelPaths
from polytask.core.user_modules import trusted, trusting
from polytask.data.collate import InputLayout, by_length, collate
from polytask.data.dataset import Split
from polytask.data.decisions import Decision, Threshold
from polytask.data.tokenization import Tokenizer
from polytask.inference.contract import Predictor, Text, listed_texts, text_rows
from polytask.inference.forward import attention, autocast_of, forward_tasks
from polytask.model.multitask import MultiTask
from polytask.model.poolings import Pooling
from polytask.tasks.model_folder import ModelFolder, load_model, required_model_folder, save_model
from polytask.tasks.resolved_task import ResolvedTask


class Model(Predictor[ResolvedTask]):
    """A model that torch computes. Thread-safe: nothing in it changes."""

    def __init__(self, loaded: ModelFolder, folder: Path) -> None:
        super().__init__(folder, loaded.tasks, Tokenizer(loaded.tokenizer))
        self.network: MultiTask = loaded.model.eval()
        self.thresholds: dict[str, Threshold] = loaded.thresholds
        self._held = loaded

    @property
    def tokenizer_file(self) -> Path:
        """The tokenizer.json of the model."""
        return self._held.tokenizer

    @property
    def pooling(self) -> Pooling:
        """What makes the vectors of `embed`."""
        return self._held.pooling

    def decide(self, tasks: Sequence[ResolvedTask], split: Split) -> dict[str, Decision]:
        """Return the labels and scores of several tasks for the same rows."""
        by_task = forward_tasks(self.network, tasks, split)
        return {task.name: by_task[task.name].decide(task, self.thresholds.get(task.name))
                for task in tasks}

    @torch.inference_mode()
    def embed(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """Return the pooled vector of each text: (texts, width) float32."""
        rows = text_rows(listed_texts(texts), 1, "")
        width = self.network.encoder.width
        vectors = np.zeros((len(rows), width), dtype=np.float32)
        if not rows:
            return vectors
        split = self._store.unlabeled(rows)
        task = next(iter(self.tasks.values()))
        layout = InputLayout(1, 1, task.max_length)
        device = next(self.network.parameters()).device
        for places in by_length(split.lengths(layout).kept.sum(axis=1), 4096):
            batch = collate([split.select("", layout, places)], split.special_tokens).to(device)
            with autocast_of(self.network):
                hidden = self.network.encoder(batch)
                vectors[places] = self._held.pooling.pool(hidden, batch, self.network.encoder).float().cpu()
        return vectors

    def attention(self, task: str, text: Text) -> tuple[list[str], NDArray[np.float32]]:
        """Return the tokens of a text or pair, and what each attends to in every layer and head (S-25).

        The maps are (layers, heads, tokens, tokens); a pair stands in one sequence. Raises
        `ConfigError` where the encoder keeps no attention.
        """
        spec = self.task(task)
        if not hasattr(self.network.encoder, "attentions"):
            raise ConfigError(f"{self.folder}: the encoder keeps no attention; expected a BERT or an "
                              "encoder of transformers")
        ids, maps = attention(self.network, spec, self.split(spec, [text]), 0)
        named = self._tokenizer.inner.id_to_token
        return [named(number) or str(number) for number in ids], maps.numpy()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model as a folder of its own."""
        card = ModelPaths(self.folder).card
        save_model(self.network, self.tasks, self._held.tokenizer, folder, self.thresholds,
                   card.read_text(encoding="utf-8") if card.is_file() else "")


def load(folder: str | Path, trust: bool = False) -> Model:
    """Read a run's best model, or a model folder. Raises `RunError` if there is none.

    trust: import the modules that the folder names for custom components. Without it none of
    its code is run, and `UntrustedCode` says what would be.
    """
    model_path = required_model_folder(folder)
    with trusting(trust or trusted()):
        model = read_folder(model_path, lambda place: Model(load_model(place), model_path))
    model.network.to("cuda" if torch.cuda.is_available() else "cpu")
    return model
