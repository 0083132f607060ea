"""What is trained and how fast, told by the names of parameters."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from networks import flat_batch, tiny_bert, tiny_model
from polytask.core.errors import ConfigError
from polytask.model.adapters.lora import LoRA
from polytask.model.adapters.pal import PAL
from polytask.model.multitask import MultiTask
from polytask.model.trainable import (
    layer_rates,
    layers_problem,
    mixed_rate,
    parameter_groups,
    rates_problem,
    relative_rate,
    set_trainable,
    task_factors,
    trains,
)


def deep_model() -> MultiTask:
    return tiny_model(encoder=tiny_bert(num_hidden_layers=4))


def trained_names(model: MultiTask) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


def rate_of(model: MultiTask, **settings: Any) -> dict[str, float]:
    groups = parameter_groups(model, **settings)
    return {name: group["lr"] for group in groups for name in group["names"]}


def update(model: MultiTask, **settings: Any) -> set[str]:
    """Take two updates; return the names of what moved."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(parameter_groups(model, **settings))
    for _ in range(2):
        optimizer.zero_grad()
        sst, quora, sts = model(flat_batch({"sst": (4, 7), "quora": (5,), "sts": (9,)}))
        loss = sst.logits.square().sum() + quora.logits.sum() + sts.score.sum()
        loss.backward()
        optimizer.step()
    return {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}


@pytest.mark.technique("T-25")
def test_one_layer_and_the_heads_are_trained_and_nothing_else_moves() -> None:
    model = deep_model()
    set_trainable(model, (2,))
    moved = update(model, lr=1e-2, weight_decay=0.1)
    assert moved == trained_names(model)
    assert moved == {name for name in before_names(model)
                     if name.startswith(("encoder.layers.2.", "task_heads."))}


def before_names(model: MultiTask) -> list[str]:
    return [name for name, _ in model.named_parameters()]


@pytest.mark.technique("M-4", "S-6")
def test_a_frozen_encoder_trains_the_heads_alone() -> None:
    model = deep_model()
    set_trainable(model, "frozen")
    assert update(model, lr=1e-2) == {n for n in before_names(model) if n.startswith("task_heads.")}


def test_choosing_again_undoes_the_choice_before() -> None:
    model = deep_model()
    set_trainable(model, "frozen")
    set_trainable(model, "full")
    assert trained_names(model) == set(before_names(model))


def test_task_adapters_are_trained_beside_chosen_layers() -> None:
    model = tiny_model()
    PAL(size=12, heads=3).attach(model, model.tasks)
    set_trainable(model, (0,))
    assert all(name.startswith(("encoder.layers.0.", "encoder.adapter.", "task_heads."))
               for name in trained_names(model))
    assert any(name.startswith("encoder.adapter.") for name in trained_names(model))
    set_trainable(model, "frozen")
    assert all(name.startswith("task_heads.") for name in trained_names(model))


def test_low_rank_parts_follow_the_choice_and_the_weights_below_stay() -> None:
    pytest.importorskip("peft")
    model = tiny_model()
    LoRA(rank=2).attach(model, model.tasks)
    set_trainable(model, "full")
    inside = {name for name in trained_names(model) if name.startswith("encoder.")}
    assert inside
    assert all(".lora_" in name for name in inside)
    set_trainable(model, (1,))
    inside = {name for name in trained_names(model) if name.startswith("encoder.")}
    assert inside
    assert all(name.startswith("encoder.layers.1.") and ".lora_" in name for name in inside)


@pytest.mark.parametrize(("name", "layer", "encoder", "expected"), [
    ("embeddings.word.weight", 0, "full", True),
    ("embeddings.word.weight", 0, (0,), False),
    ("layers.0.up.weight", 1, (0,), True),
    ("layers.1.up.weight", 2, (0,), False),
    ("pooler.dense.weight", 3, (0, 1), False),
    ("adapter.tasks.sst.up.weight", 3, (0,), True),
    ("adapter.tasks.sst.up.weight", 3, "frozen", False),
])
def test_a_name_tells_whether_it_is_trained(
    name: str, layer: int, encoder: Any, expected: bool
) -> None:
    assert trains(name, encoder, layer) is expected


@pytest.mark.technique("T-23")
def test_each_layer_has_a_share_of_the_rate_above_it() -> None:
    model = deep_model()
    rates = rate_of(model, lr=1e-3, layer_decay=0.5)
    by_layer: dict[int, set[float]] = {}
    for name, rate in rates.items():
        if name.startswith("encoder."):
            layer = model.encoder.layer_of(name.removeprefix("encoder."))
            by_layer.setdefault(layer, set()).add(rate)
        else:
            assert rate == 1e-3
    assert by_layer == {0: {1e-3 / 16}, 1: {1e-3 / 8}, 2: {1e-3 / 4}, 3: {1e-3 / 2}, 4: {1e-3},
                        5: {1e-3}}
    for k in range(1, 5):  # η^(k-1) = ξ η^k
        assert by_layer[k - 1] == {0.5 * rate for rate in by_layer[k]}


def test_chosen_layers_have_rates_of_their_own() -> None:
    rates = rate_of(deep_model(), lr=1e-5, rates={"1": 2.0, "2": 2.0, "other": 0.5}, head_lr=1e-4)
    for name, rate in rates.items():
        if name.startswith(("encoder.layers.1.", "encoder.layers.2.")):
            assert rate == 2e-5
        elif name.startswith(("encoder.layers.", "encoder.embeddings.")):
            assert rate == 0.5e-5
        elif name.startswith("encoder.pooler."):
            assert rate == 1e-5
        else:
            assert rate == 1e-4


def test_a_factor_of_zero_keeps_a_layer_as_it_is() -> None:
    model = deep_model()
    moved = update(model, lr=1e-2, weight_decay=0.1, rates={"0": 0.0, "embeddings": 0.0})
    assert not any(name.startswith(("encoder.layers.0.", "encoder.embeddings.")) for name in moved)
    assert any(name.startswith("encoder.layers.1.") for name in moved)


def test_task_adapters_have_the_rate_of_heads() -> None:
    model = tiny_model()
    PAL(size=12, heads=3).attach(model, model.tasks)
    rates = rate_of(model, lr=1e-5, head_lr=1e-3, layer_decay=0.5)
    assert {rate for name, rate in rates.items() if ".adapter." in name} == {1e-3}


def test_norms_and_biases_decay_only_when_asked() -> None:
    model = deep_model()
    for asked in (False, True):
        groups = parameter_groups(model, lr=1e-3, weight_decay=0.1, decay_norms_and_biases=asked)
        for group in groups:
            for name, parameter in zip(group["names"], group["params"], strict=True):
                vector = name.endswith(".bias") or "norm" in name
                assert vector == (parameter.dim() == 1)
                assert group["weight_decay"] == (0.0 if vector and not asked else 0.1)


def test_groups_are_few_and_hold_each_parameter_once() -> None:
    model = deep_model()
    assert len(parameter_groups(model, lr=1e-3)) == 1
    groups = parameter_groups(model, lr=1e-3, weight_decay=0.1, layer_decay=0.9)
    assert len(groups) == 2 * 5  # four lower rates and the full one, matrices and vectors
    names = [name for group in groups for name in group["names"]]
    assert sorted(names) == sorted(before_names(model))
    held = [id(p) for group in groups for p in group["params"]]
    assert len(set(held)) == len(held)


@pytest.mark.technique("T-27")
def test_a_tasks_rates_are_given_by_group_and_mixed_by_the_tasks_of_an_update() -> None:
    model = deep_model()
    tables = {"sst": {"3": 2.0}, "sts": {"other": 0.5, "embeddings": 1.0}}
    groups = parameter_groups(model, lr=1e-3, by_task=task_factors(model, tables, ("sst", "sts")))
    told = {name: group.get("task_rates") for group in groups for name in group["names"]}
    for name, rates in told.items():
        if name.startswith("encoder.layers."):
            assert rates == {"sst": 2.0 if ".3." in name else 1.0, "sts": 0.5}
        else:
            assert rates is None
    assert task_factors(model, {}, ("sst", "sts")) == {}
    assert [mixed_rate({"sst": 2.0, "sts": 0.5}, tasks) for tasks in (
        ("sst",), ("sts",), ("sst", "sts"), ("sst", "sts", "quora"))] == [2.0, 0.5, 1.25, 3.5 / 3]
    assert mixed_rate(dict.fromkeys("abc", 0.1), "abc") == 0.1


@pytest.mark.parametrize("tasks", [("sst",), ("sst", "sts"), ("sst", "sts", "quora")])
def test_mixed_times_relative_is_the_tasks_own_rate(tasks: tuple[str, ...]) -> None:
    rates = {"sst": 2.0, "sts": 0.0}
    for task in tasks:
        own = mixed_rate(rates, tasks) * relative_rate(rates, task, tasks)
        assert own == pytest.approx(rates.get(task, 1.0))
    assert relative_rate({"sst": 0.0}, "sst", ("sst",)) == 1.0


def test_layer_rates_and_decay_multiply() -> None:
    factors = layer_rates(tiny_bert(), 0.5, {"0": 3.0})
    assert factors["layers.0.up.weight"] == 1.5
    assert factors["layers.1.up.weight"] == 1.0
    assert factors["embeddings.word.weight"] == 0.25


@pytest.mark.parametrize(("rates", "said"), [
    ({"12": 1.0}, "found layer 12, expected 0 to 3: the encoder has 4 layers, counted from 0"),
    ({"-1": 1.0}, "found layer -1, expected 0 to 3: the encoder has 4 layers, counted from 0"),
    ({"embedings": 1.0}, 'found "embedings", expected the number of a layer, "embeddings" or '
                         '"other"; did you mean "embeddings"?'),
    ({"1": -0.5}, "1: found -0.5, expected a factor of 0 or more"),
    ({"1": float("nan")}, "1: found nan, expected a factor of 0 or more"),
    ({"sst": {"9": 1.0}}, "sst: found layer 9, expected 0 to 3: the encoder has 4 layers, counted "
                          "from 0"),
    ({"stss": {"1": 1.0}}, 'found a table for "stss", expected tasks of this run; did you mean '
                           '"sts"?'),
    ({"sst": {"1": 1.0}, "2": 1.0}, "found both rates and tables of tasks, expected one or the "
                                    "other; write the layers into each task's table"),
])
def test_tables_that_cannot_be_used_are_reported(rates: Any, said: str) -> None:
    assert rates_problem(rates, 4, ("sst", "sts")) == said


def test_tables_that_can_be_used_pass() -> None:
    assert rates_problem({"0": 0.0, "3": 2.0, "other": 1.0}, 4) is None
    assert rates_problem({"sst": {"0": 1.0}}, 4, ("sst",)) is None
    assert rates_problem({"11": 1.0}, None) is None  # the encoder is not known yet


def test_layers_that_do_not_exist_are_reported() -> None:
    assert layers_problem((0, 5), 6) is None
    with pytest.raises(ConfigError, match=r"encoder\.trainable: found layer 4, expected 0 to 3"):
        set_trainable(deep_model(), (4,))
    with pytest.raises(ConfigError, match=r"train\.optimizer\.layer_rates: found layer 7"):
        parameter_groups(deep_model(), lr=1e-3, rates={"7": 1.0})
