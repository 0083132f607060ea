"""Frozen layers read each text once: the training is the same, to rounding, and nothing is left behind."""

from __future__ import annotations

import copy
import os
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from networks import tiny_bert, tiny_model
from polytask.commands.train import train
from polytask.config import Run
from polytask.core.errors import ConfigError, Interrupted
from polytask.core.progress import Silent
from polytask.inference.forward import forward_rows
from polytask.inference.kept_states import KeptStates, kept_depth
from polytask.learn.microbatch import TaskRows
from polytask.model import precision as precisions
from polytask.model.adapters.pal import PAL
from polytask.model.flat_encoder import FlatEncoder
from polytask.model.trainable import frozen_depth, set_trainable
from polytask.training.build import Built, build

train_command = sys.modules[train.__module__]


@pytest.fixture
def upper(small_table: dict[str, Any]) -> dict[str, Any]:
    """A run that trains its last layer alone; its checkpoint has dropout."""
    small_table["encoder"] |= {"trainable": [1], "dropout": 0.1}
    small_table["train"] |= {"epochs": 2, "max_steps": 4}
    return small_table


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {f"{path.name}/{name}": value for path in sorted((folder / "model").rglob("*.safetensors"))
            for name, value in load_file(path).items()}


def kept_of(built: Built, folder: Path, precision: str = "fp32", gigabytes: float = 1.0) -> KeptStates:
    kept = KeptStates(built.model, 1, precision, gigabytes, folder)
    for name, layout in built.layouts().items():
        for split in built.data[name].splits.values():
            kept.keep(name, split, layout, Silent())
    return kept


def test_a_training_over_kept_states_is_the_one_that_computes_them_each_time(
        upper: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[int] = []
    plain = FlatEncoder._through

    def through(self: FlatEncoder, *given: Any, **more: Any) -> torch.Tensor:
        begin, end = (*given[4:], None, None)[:2] if len(given) > 4 else (0, None)
        computed.append((end or self.num_layers) - (begin or 0))
        return plain(self, *given, **more)

    monkeypatch.setattr(FlatEncoder, "_through", through)
    train(Run.from_table(upper), tmp_path / "kept", quiet=True)
    by_kept = sum(computed)
    computed.clear()
    again = copy.deepcopy(upper)
    again["encoder"]["keep_frozen_gb"] = 0.0
    train(Run.from_table(again), tmp_path / "computed", quiet=True)
    assert by_kept < sum(computed), "layers were saved"
    one, other = weights(tmp_path / "kept"), weights(tmp_path / "computed")
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=1e-5, rtol=1e-4, msg=name)


def test_a_resumed_training_computes_the_states_again_and_ends_alike(
        upper: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.from_table(upper)
    train(run, tmp_path / "whole", quiet=True)
    stop = threading.Event()
    stop.set()
    with monkeypatch.context() as patch:
        patch.setattr(train_command, "stop_signals", lambda: nullcontext(stop))
        with pytest.raises(Interrupted):
            train(run, tmp_path / "cut", quiet=True)
    train(run, tmp_path / "cut", quiet=True, resume=True)
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("precision", "tolerance", "pairing"), [
    ("fp32", 1e-6, "cross_encoder"), ("fp16", 5e-3, "cross_encoder"), ("fp32", 1e-6, "bi_encoder"),
    ("fp32", 1e-6, "cross_bi_encoder"), ("fp32", 1e-6, {"type": "cross_bi_encoder", "symmetric": True})])
def test_a_pass_over_kept_rows_equals_one_through_all_layers(
        upper: dict[str, Any], tmp_path: Path, precision: str, tolerance: float, pairing: Any) -> None:
    upper["tasks"]["quora"]["pairing"] = pairing
    built = build(Run.from_table(upper), quiet=True)
    task, dev = built.tasks["quora"], built.data["quora"].splits["dev"]
    rows = np.arange(len(dev))[::-1][:7].copy()  # in an order of their own
    plain = forward_rows(built.model, task, dev, rows).output
    built.model.kept = kept_of(built, tmp_path, precision)
    assert built.model.kept.attach(
        built.training_set.batch([("quora", rows)])[0], [(dev, built.layouts()["quora"], rows)]).lower
    over_kept = forward_rows(built.model, task, dev, rows).output
    for name in ("vector", "logit", "logits", "score"):
        if (value := getattr(plain, name, None)) is not None:
            torch.testing.assert_close(getattr(over_kept, name), value, atol=tolerance, rtol=tolerance)


def test_gradients_of_a_joint_step_are_those_without_kept_states(
        upper: dict[str, Any], tmp_path: Path) -> None:
    built = build(Run.from_table(upper), quiet=True)
    draws = [(name, np.array([3, 0, 5])) for name in built.tasks]
    made = {}
    built.model.eval()
    for which in ("computed", "kept"):
        if which == "kept":
            built.training_set.kept = kept_of(built, tmp_path)
        batch, targets = built.training_set.batch(draws)
        assert (batch.lower is not None) == (which == "kept")
        outputs = built.model(batch)
        loss = sum(built.training_set.loss(TaskRows(*draw), output, target)
                   for draw, output, target in zip(draws, outputs, targets, strict=True))
        built.model.zero_grad()
        torch.as_tensor(loss).backward()
        made[which] = {name: p.grad.clone() for name, p in built.model.named_parameters()
                       if p.grad is not None}
    assert made["computed"].keys() == made["kept"].keys()
    assert any(name.startswith("encoder.layers.1.") for name in made["kept"])
    for name, gradient in made["computed"].items():
        torch.testing.assert_close(made["kept"][name], gradient, atol=1e-6, rtol=1e-5, msg=name)


def test_states_that_scores_come_from_are_not_rounded(
        upper: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precisions, "multiplies_bf16", lambda: True)
    seen, plain = set(), KeptStates.keep

    def keep(self: KeptStates, name: str, split: Any, *given: Any) -> None:
        seen.add((split.name, torch.is_autocast_enabled("cpu")))
        plain(self, name, split, *given)

    monkeypatch.setattr(KeptStates, "keep", keep)
    upper["train"]["precision"] = "bf16"
    train(Run.from_table(upper), tmp_path / "run", quiet=True)
    assert seen == {("train", True), ("dev", False)}


def test_what_has_no_room_is_reported_and_runs_at_every_pass(upper: dict[str, Any], tmp_path: Path) -> None:
    built = build(Run.from_table(upper), quiet=True)
    kept = kept_of(built, tmp_path, gigabytes=0.0)
    assert "no room for sst train (0.0 GB)" in kept.note()
    built.training_set.kept = kept
    assert built.training_set.batch([("sst", np.array([0]))])[0].lower is None


def test_the_files_have_no_name(upper: dict[str, Any], tmp_path: Path) -> None:
    built = build(Run.from_table(upper), quiet=True)
    kept = kept_of(built, tmp_path / "states")
    assert kept.used and "rows are kept in" in kept.note()
    assert os.listdir(tmp_path / "states") == []


def test_a_state_beyond_half_precision_is_refused(upper: dict[str, Any], tmp_path: Path) -> None:
    built = build(Run.from_table(upper), quiet=True)
    with torch.no_grad():
        built.model.encoder.embeddings.word.weight.mul_(1e9)
        for norm in built.model.encoder.layer(0).modules():
            if isinstance(norm, torch.nn.LayerNorm):
                norm.weight.fill_(1e6)
    with pytest.raises(ConfigError, match='too large for half precision; use "fp32"'):
        kept_of(built, tmp_path, "fp16")


def test_dropout_is_off_in_frozen_layers_and_on_above_them(upper: dict[str, Any]) -> None:
    def rates(part: torch.nn.Module) -> set[float]:
        return {module.p for module in part.modules() if hasattr(module, "p")}

    encoder = build(Run.from_table(upper), quiet=True).model.encoder
    assert rates(encoder.layer(0)) == {0.0} and rates(encoder.layer(1)) == {0.1}
    assert rates(encoder.embeddings) <= {0.0}
    upper["encoder"]["keep_frozen"] = "no"
    encoder = build(Run.from_table(upper), quiet=True).model.encoder
    assert rates(encoder.layer(0)) == {0.1}


@pytest.mark.parametrize("changes", [
    {}, {"trainable": [0, 1]}, {"trainable": [1], "keep_frozen": "no"}, {"trainable": "frozen"}])
def test_no_dropout_is_switched_off_where_no_states_are_kept(
        small_table: dict[str, Any], changes: dict[str, Any]) -> None:
    small_table["encoder"] |= {"dropout": 0.2, **changes}
    encoder = build(Run.from_table(small_table), quiet=True).model.encoder
    rates = {module.p for module in encoder.embeddings.modules() if hasattr(module, "p")}
    assert rates == {0.2}


def test_the_depth_is_what_no_gradient_reaches() -> None:
    model = tiny_model(encoder=tiny_bert(num_hidden_layers=4))
    for trainable, depth in (("full", 0), ((2, 3), 2), ((0, 3), 0), ((3,), 3), ("frozen", 4)):
        set_trainable(model, trainable)
        assert frozen_depth(model.encoder) == depth, trainable
    assert kept_depth("fp32", model) == 0, "a frozen encoder keeps pooled vectors instead"
    PAL(size=12, heads=3).attach(model, ["sst"])
    set_trainable(model, (3,))
    assert kept_depth("fp32", model) == 0, "an adapter has weights in every layer"
