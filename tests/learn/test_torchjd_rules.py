"""Rules of torchjd by name: found, built from a table, and what they remember saved and put back."""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip("torchjd")

import torchjd.aggregation
import torchjd.scalarization

from polytask.core.errors import ConfigError, UnknownName
from polytask.learn.checkpoint import pack, unpack
from polytask.learn.torchjd_rules import (
    TorchJDRules,
    build,
    hidden,
    move,
    parameters,
    reveal,
    takes_task_values,
)

AGGREGATORS = TorchJDRules("aggregator", lambda: torchjd.aggregation, torch.eye)
SCALARIZERS = TorchJDRules("scalarizer", lambda: torchjd.scalarization, torch.ones)
TASKS = ("sst", "quora", "sts")


def test_the_rules_are_torchjds_and_no_base_class_is_one() -> None:
    assert {"UPGrad", "CAGrad", "MGDA", "PCGrad", "Sum", "Mean"} <= set(AGGREGATORS.rules())
    assert {"DWA", "FAMO", "UW", "STCH", "GeometricMean"} <= set(SCALARIZERS.rules())
    assert not {"Aggregator", "GramianWeightedAggregator"} & set(AGGREGATORS.rules())


@pytest.mark.parametrize(("name", "options", "kind", "said"), [
    ("UPGard", {}, UnknownName, 'did you mean "torchjd:UPGrad"?'),
    ("CAGrad", {}, ConfigError, "the option c is missing"),
    ("CAGrad", {"c": 0.4, "d": 1}, ConfigError, "d is not an option"),
])
def test_an_unknown_name_or_option_is_reported(
    name: str, options: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind) as error:
        AGGREGATORS.find(name, options)
    assert said in str(error.value)


def test_a_table_by_task_becomes_a_tensor_in_the_order_of_the_tasks() -> None:
    cls = AGGREGATORS.find("Constant", {"weights": {"sts": 3.0, "sst": 1.0, "quora": 2.0}})
    made = build(cls, {"weights": {"sts": 3.0, "sst": 1.0, "quora": 2.0}}, TASKS)
    matrix = torch.diag(torch.ones(3))
    assert made(matrix).tolist() == [1.0, 2.0, 3.0]
    assert takes_task_values(cls, {"weights": {}})


def test_the_number_of_tasks_is_filled_in_and_no_option() -> None:
    cls = SCALARIZERS.find("UW", {})
    assert not {"shape", "n_tasks"} & set(parameters(cls))
    for tasks in (TASKS, 3):
        weighed = build(cls, {}, tasks)
        assert sum(p.numel() for p in weighed.parameters()) == 3


@pytest.mark.parametrize(("name", "options", "min_tasks", "said"), [
    ("Constant", {"weights": {"sst": 1.0}}, None, 'weights lacks the tasks "quora", "sts"'),
    ("Constant", {"weights": {"sst": 1, "quora": 1, "stz": 1}}, None,
     'weights names "stz", which is not a task here; did you mean "sts"?'),
    ("GradVac", {}, 1, "needs every task in every step, but the schedule may give only 1 of 3"),
    ("Krum", {"n_byzantine": 9}, None, '"torchjd:Krum": '),
])
def test_what_cannot_serve_the_tasks_is_reported(
    name: str, options: dict[str, Any], min_tasks: int | None, said: str
) -> None:
    assert said in str(AGGREGATORS.misfit(name, options, TASKS, min_tasks))


def test_what_can_serve_them_passes_and_draws_no_random_number() -> None:
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    assert AGGREGATORS.misfit("UPGrad", {}, TASKS, 1) is None
    assert AGGREGATORS.misfit("Random", {}, TASKS, 1) is None
    assert torch.equal(torch.rand(3), expected)


def walked(module: Any, steps: int, seed: int) -> list[torch.Tensor]:
    torch.manual_seed(seed)
    made = []
    for _ in range(steps):
        losses = torch.rand(3) + 0.1
        made.append(module(losses.requires_grad_()).detach())
        if hasattr(module, "update"):
            module.update(losses.detach() * 0.9)
        if hasattr(module, "step"):
            module.step()
    return made


@pytest.mark.parametrize("name", ["FAMO", "DWA", "UW"])
def test_what_a_rule_remembers_survives_a_checkpoint(name: str) -> None:
    cls = SCALARIZERS.find(name, {})
    whole, first, second = (build(cls, {}, TASKS) for _ in range(3))
    expected = walked(whole, 5, 0)
    assert torch.equal(torch.stack(walked(first, 3, 0)), torch.stack(expected[:3]))
    tensors: dict[str, torch.Tensor] = {}
    skeleton = pack({"own": dict(first.state_dict()), "hidden": hidden(first)}, tensors)
    state = unpack(skeleton, {key: value.clone() for key, value in tensors.items()})
    second.load_state_dict(state["own"])

    def prime() -> None:
        second(torch.ones(3))
        if hasattr(second, "update"):
            second.update(torch.ones(3))

    reveal(second, state["hidden"], prime)
    assert torch.equal(torch.stack(walked(second, 3, 9)), torch.stack(walked(first, 3, 9)))


@pytest.mark.parametrize(("name", "options"), [
    ("Constant", {"weights": [0.2, 0.3, 0.5]}), ("ConFIG", {"pref_vector": [0.2, 0.3, 0.5]}),
    ("ExcessMTL", {})])
def test_all_that_a_rule_keeps_moves_with_it(name: str, options: dict[str, Any]) -> None:
    rule = build(AGGREGATORS.find(name, options), options, TASKS)
    rule(torch.randn(3, 5))
    move(rule, torch.device("meta"))
    kept = [value for part in rule.modules() for value in (*vars(part).values(), *part._buffers.values())
            if isinstance(value, torch.Tensor)]
    assert kept and all(value.device.type == "meta" for value in kept)
