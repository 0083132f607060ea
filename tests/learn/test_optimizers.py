"""The optimizer's settings: which of torch's, with which rates, and the schedule of the rates."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from networks import tiny_bert, tiny_model
from polytask.core.errors import ConfigError
from polytask.core.settings import from_table, to_table
from polytask.learn.lr_schedule import lr_factor
from polytask.learn.optimizers import Optimizer

TYPES = ["adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "asgd", "nadam", "radam",
         "rmsprop", "rprop", "sgd"]


@pytest.mark.technique("G-24")
@pytest.mark.parametrize("kind", TYPES)
def test_every_optimizer_of_torch_takes_a_quadratic_down(kind: str) -> None:
    weight = nn.Parameter(torch.tensor([[3.0, -2.0]]))
    made = Optimizer(type=kind, lr=0.1, weight_decay=0.0).build(
        [{"params": [weight], "names": ["w"], "lr": 0.1, "weight_decay": 0.0}])
    assert type(made).__name__.lower() == kind
    before = weight.square().sum().item()
    for _ in range(20):
        made.zero_grad()
        weight.square().sum().backward()
        made.step()
    assert weight.square().sum().item() < before


@pytest.mark.technique("G-7")
def test_adamw_is_torchs_fused_one_and_moves_as_the_plain_one_does() -> None:
    settings = Optimizer(lr=1e-2, weight_decay=0.1, options={"betas": [0.8, 0.95], "eps": 1e-6})
    ours, plain = tiny_model(), tiny_model()
    plain.load_state_dict(ours.state_dict())
    made = settings.build(settings.groups(ours))
    assert made.param_groups[0]["fused"] is True
    expected = torch.optim.AdamW(
        [{"params": [p], "weight_decay": 0.1 if p.dim() > 1 else 0.0} for p in plain.parameters()],
        lr=1e-2, betas=(0.8, 0.95), eps=1e-6)
    for model, optimizer in ((ours, made), (plain, expected)):
        for seed in range(3):
            torch.manual_seed(seed)
            for parameter in model.parameters():
                parameter.grad = torch.randn_like(parameter)
            optimizer.step()
    for (name, one), other in zip(ours.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6, msg=name)


def test_a_choice_of_form_is_kept() -> None:
    weight = nn.Parameter(torch.zeros(1))
    made = Optimizer(options={"foreach": True}).build([{"params": [weight]}])
    assert not made.param_groups[0]["fused"]
    assert made.param_groups[0]["foreach"]


@pytest.mark.technique("T-23")
def test_groups_take_what_the_settings_say() -> None:
    model = tiny_model(encoder=tiny_bert(num_hidden_layers=3))
    settings = Optimizer(lr=1e-3, head_lr=1e-2, layer_decay=0.5, weight_decay=0.2,
                         decay_norms_and_biases=True, layer_rates={"2": 3.0})
    rates = {name: (group["lr"], group["weight_decay"])
             for group in settings.groups(model) for name in group["names"]}
    assert rates["encoder.layers.2.up.weight"] == (3e-3, 0.2)
    assert rates["encoder.layers.1.up.bias"] == (5e-4, 0.2)
    assert rates["task_heads.sst.head.layers.1.weight"] == (1e-2, 0.2)
    assert not any("task_rates" in group for group in settings.groups(model, model.tasks))


def test_tables_of_tasks_are_factors_of_the_rates_of_their_groups() -> None:
    model = tiny_model()
    settings = Optimizer(lr=1e-3, layer_rates={"sst": {"1": 2.0}})
    of = {name: group.get("task_rates") for group in settings.groups(model, ("sst", "sts"))
          for name in group["names"]}
    assert {group["lr"] for group in settings.groups(model, ("sst", "sts"))} == {1e-3}
    for name, rates in of.items():
        inside = name.startswith("encoder.layers.1.")
        assert rates == ({"sst": 2.0, "sts": 1.0} if inside else None), name
    with pytest.raises(ConfigError, match="expected tasks of this run"):
        settings.groups(model, ("quora",))


def test_settings_survive_toml() -> None:
    settings = Optimizer(type="sgd", options={"momentum": 0.9}, layer_rates={"sst": {"1": 2.0}})
    assert from_table(Optimizer, to_table(settings), "a.toml") == settings


@pytest.mark.parametrize(("table", "said"), [
    ({"type": "adamm"}, 'type: "adamm" is not an optimizer; did you mean "adam'),
    ({"type": "lbfgs"}, 'type: "lbfgs" is not an optimizer'),
    ({"type": "sgd", "options": {"momentun": 0.9}},
     'options.momentun: is not an argument of torch\'s sgd; did you mean "momentum"?'),
    ({"options": {"lr": 0.9}}, 'options.lr: belongs beside "options", not in it'),
    ({"options": {"betas": [0.9, 1.5]}}, "options: torch's adamw refuses them (Invalid beta"),
    ({"type": "sgd", "options": {"nesterov": True}}, "options: torch's sgd refuses them"),
    ({"lr": -1.0}, "lr found -1.0, expected greater than 0"),
    ({"layer_decay": 1.5}, "layer_decay found 1.5, expected less than or equal to 1"),
    ({"warmup": 1.0}, "warmup found 1.0, expected less than 1"),
    ({"layer_rates": {"embedings": 2.0}}, 'did you mean "embeddings"?'),
    ({"laier_decay": 0.9}, 'laier_decay is not a setting; did you mean "layer_decay"?'),
])
def test_wrong_settings_are_reported(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        from_table(Optimizer, table, "a.toml")
    assert said in str(error.value)


def test_a_problem_with_the_run_is_reported() -> None:
    settings = Optimizer(layer_rates={"sst": {"7": 2.0}})
    assert settings.problem(("sst",)) is None
    encoder = SimpleNamespace(num_layers=6)
    assert settings.problem(("sst",), encoder) == (
        "layer_rates: sst: found layer 7, expected 0 to 5: the encoder has 6 layers, counted from 0")
    albert = SimpleNamespace(num_layers=6, shared_layers=True, kind="albert")
    assert settings.problem(("sst",), albert) == settings.problem(("sst",), encoder)
    assert "share their weights" in str(Optimizer(layer_decay=0.9).problem(("sst",), albert))
    assert Optimizer(layer_decay=0.9).problem(("sst",), tiny_bert()) is None
    assert Optimizer().problem(("sst",), albert) is None
    assert "did you mean" in str(Optimizer(layer_rates={"stt": {"1": 2.0}}).problem(("sst",), encoder))


@pytest.mark.parametrize(("lr_schedule", "after"), [
    ("constant", lambda done: 1.0),
    ("linear", lambda done: 1 - done),
    ("cosine", lambda done: (1 + math.cos(math.pi * done)) / 2),
])
def test_rates_rise_in_the_warmup_and_then_follow_their_schedule(lr_schedule: Any, after: Any) -> None:
    settings = Optimizer(warmup=0.2, lr_schedule=lr_schedule)
    factors = [lr_factor(settings, step, 100) for step in range(100)]
    rise = factors[:20]
    assert rise == sorted(rise)
    assert 0 < rise[0] <= rise[-1] < 1
    assert factors[20:] == pytest.approx([after(step / 80) for step in range(80)])


def test_without_warmup_the_first_update_has_the_whole_rate() -> None:
    assert lr_factor(Optimizer(warmup=0.0), 0, 10) == 1.0
    assert lr_factor(Optimizer(warmup=0.5), 0, 1) > 0
