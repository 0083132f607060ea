"""A trained model at work: `pk.load(folder)`, then `predict` and `embed`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from polytask.core.atomic_files import read_folder
from polytask.core.errors import ConfigError, RunError, nearest
from polytask.core.paths import ModelPaths
from polytask.core.prefetch import prefetch
from polytask.core.user_modules import trusted, trusting
from polytask.data.cache import Cache
from polytask.data.collate import InputLayout, collate
from polytask.data.dataset import DatasetStore, Split
from polytask.data.tokenization import Tokenizer
from polytask.inference.forward import attention, autocast_of, by_length, forward_tasks
from polytask.inference.records import named, probabilities
from polytask.model.heads.decisions import Decision, Threshold
from polytask.model.multitask import MultiTask
from polytask.model.poolings import Pooling
from polytask.tasks.model_folder import ModelFolder, load_model, model_folder_of, save_model
from polytask.tasks.task import ResolvedTask

# Rows that are tokenized and answered at a time: enough to sort by length with little waste.
CHUNK = 4096

Text = str | tuple[str, ...] | list[str]


@dataclass(frozen=True)
class Prediction:
    """What a task says of a row: a class's name or a number, and the score behind it."""

    label: Any
    score: Any
    probabilities: dict[str, float] | None = None
    """Of each class, in their order; None for numbers."""


class Model:
    """A model of several tasks, ready to answer. Thread-safe: nothing in it changes."""

    def __init__(self, held: ModelFolder, folder: Path) -> None:
        self.folder = folder
        self.tasks: dict[str, ResolvedTask] = held.tasks
        self.network: MultiTask = held.model.eval()
        self.thresholds: dict[str, Threshold] = held.thresholds
        self._held = held
        self._tokenizer = Tokenizer(held.tokenizer)
        self._library = DatasetStore(self._tokenizer, Path(), Cache())

    @property
    def tokenizer_file(self) -> Path:
        """The tokenizer.json of the model."""
        return self._held.tokenizer

    @property
    def pooling(self) -> Pooling:
        """What makes the vectors of `embed`."""
        return self._held.pooling

    def task(self, name: str) -> ResolvedTask:
        """Return a task of the model; raise `ConfigError` for one that it does not have."""
        if name not in self.tasks:
            raise ConfigError(f'"{name}" is no task of {self.folder}{nearest(name, self.tasks)}'
                              f" (there are {', '.join(self.tasks)})")
        return self.tasks[name]

    def split(self, task: ResolvedTask, texts: Sequence[Text]) -> Split:
        """Return texts as rows of a task."""
        return self._library.unlabeled(self._checked(task, texts))

    def _checked(self, task: ResolvedTask, texts: Sequence[Text]) -> list[tuple[str, ...]]:
        return _rows(texts, len(task.text), f' for task "{task.name}"')

    def predict(self, task: str, texts: Iterable[Text]) -> list[Prediction]:
        """Return a prediction for each text, or pair of texts."""
        return self.predict_all([task], texts)[task]

    def predict_all(self, tasks: Sequence[str], texts: Iterable[Text]) -> dict[str, list[Prediction]]:
        """Return the predictions of several tasks: task → one for each text, or pair of texts.

        Tasks that read their texts in the same way share one pass of the encoder over each text.
        """
        specs, given = [self.task(name) for name in tasks], _several(texts)
        made: dict[str, list[Prediction]] = {name: [] for name in tasks}
        rows: list[tuple[str, ...]] = []
        for spec in specs:
            rows = self._checked(spec, given)
        for chunk in prefetch(self._library.unlabeled(part) for part in _cut(rows)):
            for name, decision in self.decide(specs, chunk).items():
                labels = self.tasks[name].labels
                made[name] += [Prediction(named(labels, label), score.tolist(),
                                          probabilities(labels, decision, row))
                               for row, (label, score) in enumerate(
                                   zip(decision.labels, decision.scores, strict=True))]
        return made

    def decide(self, tasks: Sequence[ResolvedTask], split: Split) -> dict[str, Decision]:
        """Return the labels and scores of several tasks for the same rows."""
        found = forward_tasks(self.network, tasks, split)
        return {task.name: found[task.name].decide(task, self.thresholds.get(task.name)) for task in tasks}

    @torch.inference_mode()
    def embed(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """Return the pooled vector of each text: (texts, width) float32."""
        rows = _rows(_several(texts), 1, "")
        width = self.network.encoder.width
        made = np.zeros((len(rows), width), dtype=np.float32)
        if not rows:
            return made
        split = self._library.unlabeled(rows)
        task = next(iter(self.tasks.values()))
        layout = InputLayout(1, 1, task.max_length)
        device = next(self.network.parameters()).device
        for places in by_length(split.lengths(layout).kept.sum(axis=1), 4096):
            batch = collate([split.select("", layout, places)], split.special_tokens).to(device)
            with autocast_of(self.network):
                hidden = self.network.encoder(batch)
                made[places] = self._held.pooling.pool(hidden, batch, self.network.encoder).float().cpu()
        return made

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

    def push_to_hub(self, name: str, **options: Any) -> str:
        """Upload the model to the hub as `name`; return its address. Needs a login there."""
        from huggingface_hub import HfApi

        api = HfApi()
        api.create_repo(name, exist_ok=True, **options)
        return str(api.upload_folder(repo_id=name, folder_path=self.folder))


def _several(texts: Iterable[Text]) -> list[Text]:
    if isinstance(texts, str):
        raise ConfigError(f"texts: found one text, {texts[:40]!r}, expected a list of them")
    return list(texts)


def _rows(texts: Sequence[Text], width: int, whose: str) -> list[tuple[str, ...]]:
    """Return each text, or texts, as a tuple; raise `ConfigError` for what is no text."""
    made = []
    for number, text in enumerate(texts):
        row = tuple(text) if isinstance(text, tuple | list) else (text,)
        if len(row) != width or not all(isinstance(each, str) for each in row):
            raise ConfigError(f"texts[{number}]: found {text!r}, expected {width} "
                              f"text{'s' if width > 1 else ''}{whose}")
        made.append(row)
    return made


def _cut(rows: list[tuple[str, ...]]) -> Iterator[list[tuple[str, ...]]]:
    return (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))


def load(folder: str | Path, trust: bool = False) -> Model:
    """Read a run's best model, or a model folder. Raises `RunError` if there is none.

    trust: import the modules that the folder names for components of someone's own. Without it none of
    its code is run, and `UntrustedCode` says what would be.
    """
    found = model_folder_of(folder)
    if found is None:
        raise RunError(f"{folder}: has no model; expected a run that has been evaluated once, "
                       "or a model folder")
    with trusting(trust or trusted()):
        model = read_folder(found, lambda place: Model(load_model(place), found))
    model.network.to("cuda" if torch.cuda.is_available() else "cpu")
    return model
