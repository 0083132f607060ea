"""What every registered regularizer promises, in every form that it has."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch

from networks import KINDS, flat_batch, observe, tiny_model
from polytask.core.registry import describe
from polytask.core.settings import to_table
from polytask.learn.regularizers.context import RegularizerContext
from polytask.learn.regularizers.contract import Attached, attach, regularizer

FORMS: dict[str, dict[str, dict[str, Any]]] = {
    "norm": {"l1": {"p": 1}, "l2": {"p": 2}, "euclid": {"p": 2, "squared": False},
             "inf": {"p": math.inf}, "encoder": {"p": 1, "over": "encoder"},
             "head": {"p": 1, "over": "head"}},
    "smart": {"plain": {}, "clip": {"projection": "clip", "radius": 0.1, "step_size": 0.1},
              "steps": {"steps": 3, "noise": 0.1}, "bregman": {"bregman": 1.0}},
}
CASES = [(name, form) for name in sorted(regularizer.members) for form in FORMS.get(name, {"": {}})]
TASKS = tuple(KINDS)


def at_work(name: str, form: str, dropout: float = 0.1) -> tuple[Attached, Any]:
    """A regularizer and its model, which has moved since it was built."""
    torch.manual_seed(0)
    model = tiny_model(TASKS, dropout).train()
    made = attach(regularizer.members[name](**FORMS.get(name, {}).get(form, {})), model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made, model


def moments(made: Attached, model: Any) -> list[RegularizerContext]:
    """A context of every task, or the one of a step."""
    if made.scope == "step":
        return [RegularizerContext(model=model)]
    return [observe(model, flat_batch({task: (5, 8, 3)}), labels)
            for task, (labels, _) in KINDS.items()]


@pytest.mark.parametrize(("name", "form"), CASES)
def test_it_is_finite_positive_and_differentiable(name: str, form: str) -> None:
    made, model = at_work(name, form)
    for context in moments(made, model):
        model.zero_grad()
        penalty = made.module.penalty(context)
        assert penalty.dim() == 0
        assert penalty.dtype == torch.float32
        assert torch.isfinite(penalty)
        assert penalty > 0
        penalty.backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
        assert sum(gradient.abs().sum() for gradient in gradients) > 0


@pytest.mark.parametrize(("name", "form"), CASES)
def test_small_steps_down_its_gradient_lower_it(name: str, form: str) -> None:
    made, model = at_work(name, form, 0.0)
    for number in range(len(moments(made, model))):
        values = []
        for _ in range(6):
            torch.manual_seed(3)
            penalty = made.module.penalty(moments(made, model)[number])
            values.append(penalty.item())
            model.zero_grad()
            penalty.backward()
            with torch.no_grad():
                size = math.sqrt(sum(p.grad.square().sum().item() for p in model.parameters()
                                     if p.grad is not None))
                for parameter in model.parameters():
                    if parameter.grad is not None:
                        parameter.sub_(0.01 / size * parameter.grad)
        assert values[-1] < values[0]


@pytest.mark.parametrize(("name", "form"), CASES)
def test_it_moves_no_weight_and_keeps_no_gradient_by_itself(name: str, form: str) -> None:
    made, model = at_work(name, form)
    before = copy.deepcopy(model.state_dict())
    for context in moments(made, model):
        made.module.penalty(context)
        made.module.after_step()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not [p for p in made.module.parameters() if p.requires_grad]


@pytest.mark.parametrize(("name", "form"), CASES)
def test_its_state_is_all_it_needs_to_go_on(name: str, form: str) -> None:
    def run(steps: int, held: dict[str, Any] | None = None, first: int = 0) -> Any:
        made, model = at_work(name, form)
        if held is not None:
            model.load_state_dict(held["model"])
            made.module.load_state_dict(held["module"])
        for number in range(first, first + steps):
            torch.manual_seed(number)
            model.zero_grad()
            penalties = [made.module.penalty(context) for context in moments(made, model)]
            torch.stack(penalties).sum().backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.grad is not None:
                        parameter.sub_(0.01 * parameter.grad)
            made.module.after_step()
        return {"model": copy.deepcopy(model.state_dict()),
                "module": copy.deepcopy(made.module.state_dict())}

    through, stopped = run(4), run(2)
    resumed = run(2, stopped, first=2)
    for part in ("model", "module"):
        assert through[part].keys() == resumed[part].keys()
        for key, value in through[part].items():
            assert torch.equal(value, resumed[part][key]), key


@pytest.mark.parametrize(("name", "form"), CASES)
def test_it_is_recognized_by_its_table(name: str, form: str) -> None:
    settings = regularizer.members[name](**FORMS.get(name, {}).get(form, {}))
    assert regularizer.read(to_table(settings)) == settings
    told = describe(type(settings))
    assert told["doc"].endswith(".")
    assert all(field["doc"] for field in told["fields"])
    assert {"weight", "tasks"} <= {field["name"] for field in told["fields"]}
