"""Norms against plain sums in double precision, and whose weights they cover."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from networks import CLASSES, SCORES, flat_batch, observe, tiny_bert, tiny_model
from polytask.core.errors import ConfigError
from polytask.core.registry import Family
from polytask.core.settings import to_table
from polytask.data.labels import Labels
from polytask.learn.regularizers.context import RegularizerContext
from polytask.learn.regularizers.contract import attach, regularizer
from polytask.learn.regularizers.norm import Norm, norm
from polytask.model.heads.linear import Linear
from polytask.model.heads.shared import Shared
from polytask.model.multitask import MultiTask, build_task_head
from polytask.model.pairings.single import Single
from polytask.model.poolings.cls import Cls
from polytask.model.trainable import set_trainable

SHAPES = ((7, 5), (5,), (3, 4, 2), (1,))


def weights(seed: int = 0) -> list[nn.Parameter]:
    chance = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=chance)) for shape in SHAPES]


def plainly(values: list[Tensor], p: float, squared: bool) -> Tensor:
    """The norm from its definition."""
    flat = torch.cat([value.flatten() for value in values])
    if p == math.inf:
        return flat.abs().max()
    total = (flat.abs() ** p).sum()
    return total if p == 1 or squared else total.sqrt()


@pytest.mark.technique("M-21", "M-22", "G-8", "G-9")
@pytest.mark.parametrize(("p", "squared"), [(1, True), (2, True), (2, False), (math.inf, True)])
def test_value_and_gradient_are_those_of_the_definition(p: float, squared: bool) -> None:
    ours = weights()
    double = [w.detach().double().requires_grad_() for w in ours]
    value, expected = norm(ours, p, squared), plainly(double, p, squared)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=0)
    (0.3 * value).backward()
    (0.3 * expected).backward()
    for one, other in zip(ours, double, strict=True):
        gradient = torch.zeros_like(one) if one.grad is None else one.grad
        torch.testing.assert_close(gradient.double(), other.grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("p", [1, 2])
def test_sums_of_millions_of_weights_are_exact(p: float) -> None:
    long = torch.randn(5_000_000, generator=torch.Generator().manual_seed(3)).view(5000, 1000) * 0.04
    value = norm([long], p).item()
    assert value == pytest.approx((long.double().abs() ** p).sum().item(), rel=1e-6)


def test_a_large_weight_hides_none_of_a_thousand_small_tensors() -> None:
    assert norm([torch.tensor([1e8]), *torch.ones(1000, 1)], 1).item() == 1e8 + 1000


def test_the_largest_weight_alone_gets_the_gradient_of_the_largest_norm() -> None:
    values = weights()
    with torch.no_grad():
        values[2][1, 3, 0] = -9.0
    norm(values, math.inf).backward()
    assert values[2].grad is not None
    assert values[2].grad[1, 3, 0] == -1.0
    assert values[2].grad.count_nonzero() == 1
    assert all(value.grad is None for value in (values[0], values[1], values[3]))


def test_a_norm_of_zeros_has_a_finite_gradient() -> None:
    zero = nn.Parameter(torch.zeros(3, 2))
    for p, squared in ((1, True), (2, True), (2, False), (math.inf, True)):
        zero.grad = None
        norm([zero], p, squared).backward()
        assert zero.grad is not None
        assert torch.equal(zero.grad, torch.zeros(3, 2))


@pytest.mark.parametrize(("over", "inside"), [
    ("model", ("encoder.", "task_heads.")), ("encoder", ("encoder.",)),
])
def test_at_step_scope_it_covers_the_model_or_the_encoder(over: Any, inside: Any) -> None:
    model = tiny_model()
    made = attach(Norm(p=1, over=over), model)
    assert made.scope == "step"
    assert not made.acts_on("sst")
    value = made.module.penalty(RegularizerContext(model=model))
    held = [p for name, p in model.named_parameters() if name.startswith(inside)]
    assert value.item() == pytest.approx(sum(p.abs().sum().item() for p in held), rel=1e-5)
    value.backward()
    assert all((p.grad is not None) == any(p is each for each in held)
               for p in model.parameters())


@pytest.mark.technique("G-8", "G-9")
@pytest.mark.parametrize(("p", "of"), [(1, lambda flat: flat.abs().sum()),
                                       (math.inf, lambda flat: flat.abs().max())])
def test_at_task_scope_it_is_the_formula_of_surgery(p: float, of: Callable[[Tensor], Tensor]) -> None:
    """loss = mse + 0.05 · ‖weights of the STS head‖ₚ"""
    model = tiny_model()
    made = attach(Norm(p=p, over="head", tasks=("sts",), weight=0.05), model)
    assert made.scope == "task"
    assert made.acts_on("sts")
    assert not made.acts_on("sst")
    batch, target = flat_batch({"sts": (4, 6)}), torch.tensor([0.2, 0.9])
    context = observe(model, batch, SCORES, target)
    mse = (context.output.score - target).square().mean()
    loss = mse + made.weight * made.module.penalty(context)
    head = list(model.task_heads["sts"].parameters())
    by_hand = mse + 0.05 * of(torch.cat([weight.flatten() for weight in head]))
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-6)
    ours = torch.autograd.grad(loss, head, retain_graph=True)
    torch.testing.assert_close(ours, torch.autograd.grad(by_hand, head))


@pytest.mark.technique("M-21", "M-22")
@pytest.mark.parametrize(("settings", "of"), [
    (Norm(p=1), lambda flat: flat.abs().sum()), (Norm(p=2), lambda flat: flat.square().sum()),
    (Norm(p=2, squared=False), lambda flat: flat.norm())])
def test_over_the_model_it_is_the_formula_of_mfrr(
    settings: Norm, of: Callable[[Tensor], Tensor],
) -> None:
    model = tiny_model()
    made = attach(settings, model)
    assert made.scope == "step"
    flat = torch.cat([weight.flatten() for weight in model.parameters()])
    assert made.module.penalty(RegularizerContext(model=model)).item() == pytest.approx(
        of(flat.double()).item(), rel=1e-6)


def test_every_task_has_its_own_head_when_none_is_named() -> None:
    model = tiny_model()
    made = attach(Norm(p=2, over="head"), model)
    assert made.acts_on("sst")
    assert made.acts_on("sts")
    for task in model.tasks:
        value = made.module.penalty(RegularizerContext(model=model, task=task))
        expected = sum(p.square().sum().item() for p in model.task_heads[task].parameters())
        assert value.item() == pytest.approx(expected, rel=1e-5)


def test_a_layer_that_heads_share_belongs_to_each_of_them() -> None:
    encoder, shared = tiny_bert(), nn.ModuleDict()
    task_heads = {task: build_task_head(encoder, Cls(), Single(), head, labels, outputs, shared)
                for task, head, labels, outputs in (
                    ("sts", Shared(hidden=6), SCORES, 1), ("sst", Linear(), CLASSES, 3))}
    model = MultiTask(encoder, task_heads, shared)
    made = attach(Norm(p=1, over="head"), model)
    own = [*model.task_heads["sts"].parameters(), *model.shared["shared"].parameters()]
    assert made.module.penalty(RegularizerContext(model=model, task="sts")).item() == pytest.approx(
        sum(p.abs().sum().item() for p in own), rel=1e-5)
    alone = sum(p.abs().sum().item() for p in model.task_heads["sst"].parameters())
    assert made.module.penalty(RegularizerContext(model=model, task="sst")).item() == pytest.approx(
        alone, rel=1e-5)


def test_weights_that_are_not_trained_are_left_out() -> None:
    model = tiny_model()
    set_trainable(model, (1,))
    value = attach(Norm(p=1, over="encoder"), model).module.penalty(RegularizerContext(model=model))
    layer = sum(p.abs().sum().item() for p in model.encoder.layers[1].parameters())
    assert value.item() == pytest.approx(layer, rel=1e-5)
    set_trainable(model, "frozen")
    with pytest.raises(ConfigError, match=r'norm: over = "encoder" matches no trained weight'):
        attach(Norm(over="encoder"), model)


def test_the_weights_are_not_part_of_its_state() -> None:
    assert not attach(Norm(), tiny_model()).module.state_dict()


@pytest.mark.parametrize(("table", "said"), [
    ({"type": "norm", "p": 3}, "p: found 3, expected 1, 2 or inf"),
    ({"type": "norm", "p": "inff"}, "p found 'inff', expected a number"),
    ({"type": "norm", "over": "heads"}, "over found 'heads'"),
    ({"type": "norm", "tasks": ["sst"]}, 'a norm over the model belongs to no task; set over = "head"'),
    ({"type": "norm", "weight": -0.1}, "weight: found -0.1, expected a number of 0 or more"),
    ({"type": "smart", "weight": -0.1}, "weight found -0.1, expected greater than or equal to 0"),
    ({"type": "smart", "steps": 0}, "steps found 0, expected greater than or equal to 1"),
    ({"type": "smart", "momentum": 1.5}, "momentum found 1.5, expected less than or equal to 1"),
    ({"type": "smart", "projection": "clib"}, 'did you mean "clip"?'),
    ({"type": "smart", "epsilom": 1.0}, 'epsilom is not a setting; did you mean "epsilon"?'),
    ("smrt", '"smrt" is not a regularizer; did you mean "smart"?'),
])
def test_wrong_settings_are_reported(table: Any, said: str) -> None:
    from polytask.core.settings import from_table
    from polytask.learn.train_settings import Train

    with pytest.raises(ConfigError) as error:
        from_table(Train, {"regularizers": [table]}, "a.toml", "train")
    assert said in str(error.value)
    assert str(error.value).startswith("a.toml: train.regularizers.0")


def test_inf_is_read_from_toml() -> None:
    made = regularizer.read({"type": "norm", "p": math.inf})
    assert made.p == math.inf
    assert regularizer.read(to_table(made)) == made


def test_tasks_that_do_not_exist_are_reported() -> None:
    settings = Norm(over="head", tasks=("stss",))
    assert settings.problem(("sst", "sts")) == (
        'tasks: found "stss", expected tasks of this run; did you mean "sts"?')
    with pytest.raises(ConfigError, match=r'regularizer norm: tasks: found "stss"'):
        attach(settings, tiny_model())


def test_a_users_own_regularizer_is_one_class() -> None:
    from polytask.learn.regularizers.contract import Penalty

    known = dict(regularizer.members)
    try:
        @regularizer
        class Loud:
            """Penalizes large logits."""

            power: float = 2.0
            """Of the logits."""

            def build(self, model: Any) -> Penalty:
                power = self.power

                class Made(Penalty):
                    def penalty(self, context: RegularizerContext) -> Tensor:
                        return context.output.logits.abs().pow(power).mean()

                return Made()

        settings = regularizer.read({"type": Loud.reference, "weight": 0.5, "tasks": ["sst"]})
        made = attach(settings, tiny_model())
        assert (made.name, made.weight, made.scope, made.perturbs) == ("loud", 0.5, "task", False)
        assert made.acts_on("sst")
        assert not made.acts_on("sts")
        context = observe(tiny_model(), flat_batch({"sst": (3, 4)}), Labels("classes", ("a", "b")))
        assert made.module.penalty(context) > 0
        assert isinstance(Family.all["regularizers"], Family)
    finally:
        regularizer.members.clear()
        regularizer.members.update(known)
