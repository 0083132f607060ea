"""The tasks' gradients become one: by factors, by surgery on some layers, only summed if not finite."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Generator, Tensor, nn

from networks import tiny_model
from polytask.core.processes import ALONE
from polytask.learn.gradient_combiner import CombinedGradients, GradientCombiner
from polytask.learn.gradients import trained_by_several
from polytask.learn.gramian import GradientList
from polytask.learn.surgery.contract import GradientRule
from polytask.learn.surgery.pcgrad import PCGrad
from polytask.model.multitask import MultiTask

TASKS = ("sst", "quora")
FACTORS = torch.tensor([0.5, 2.0])


class ByNorm(GradientRule):
    """Weighs each gradient by its squared norm."""

    every, layers = 1, None

    def __init__(self, layers: tuple[int, ...] | None = None, heads: bool = False) -> None:
        self.layers, self.heads = layers, heads

    def weights(self, gramian: Tensor, generator: Generator) -> Tensor:
        return gramian.diagonal()


class Largest(GradientRule):
    """Takes the entry of largest size of each column, which no Gramian can."""

    every, layers, uses_gramian = 1, None, False

    def combine(self, matrix: Tensor, generator: Generator) -> Tensor:
        return matrix.gather(0, matrix.abs().argmax(0, keepdim=True)).squeeze(0)


@pytest.fixture
def model() -> MultiTask:
    torch.manual_seed(0)
    return tiny_model(TASKS)


def random_gradients(shared: Sequence[nn.Parameter]) -> list[GradientList]:
    chance = torch.Generator().manual_seed(1)
    return [[torch.randn(p.shape, generator=chance) for p in shared] for _ in TASKS]


def combined(model: MultiTask, rule: GradientRule | None, gradients: list[GradientList],
             operate: bool = True, private: Sequence[Sequence[Tensor]] = ((), ())) -> CombinedGradients:
    combiner = GradientCombiner(rule, model, trained_by_several(model, TASKS), ALONE, torch.Generator())
    copies: list[GradientList] = [[g.clone() for g in row if isinstance(g, Tensor)] for row in gradients]
    return combiner(copies, FACTORS, operate, private)


def flat(gradients: GradientList) -> Tensor:
    return torch.cat([g.flatten() for g in gradients if isinstance(g, Tensor)])


@pytest.mark.parametrize("rule", [None, ByNorm()], ids=["no surgery", "surgery not due"])
def test_without_surgery_it_is_the_weighted_sum(model: MultiTask, rule: GradientRule | None) -> None:
    shared = trained_by_several(model, TASKS)
    first, second = gradients = random_gradients(shared)
    result = combined(model, rule, gradients, operate=False)
    torch.testing.assert_close(flat(result.gradients), 0.5 * flat(first) + 2.0 * flat(second))
    assert torch.equal(result.factors, FACTORS)
    torch.testing.assert_close(result.inner[0, 1], torch.dot(flat(first), flat(second)).double(),
                               rtol=1e-4, atol=1e-2)


def test_a_rule_of_the_gramian_sees_the_weighted_gradients(model: MultiTask) -> None:
    first, second = gradients = random_gradients(trained_by_several(model, TASKS))
    a, b = 0.5 * flat(first), 2.0 * flat(second)
    found = combined(model, ByNorm(), gradients)
    torch.testing.assert_close(flat(found.gradients), a.dot(a) * a + b.dot(b) * b, rtol=1e-4, atol=1e-2)
    assert torch.equal(found.factors, FACTORS), "the heads keep the weighting's factors"


def test_a_rule_of_the_matrix_gets_the_weighted_gradients(model: MultiTask) -> None:
    first, second = gradients = random_gradients(trained_by_several(model, TASKS))
    a, b = 0.5 * flat(first), 2.0 * flat(second)
    torch.testing.assert_close(flat(combined(model, Largest(), gradients).gradients),
                               torch.where(a.abs() >= b.abs(), a, b))


def test_surgery_on_some_layers_leaves_the_others_the_sum(model: MultiTask) -> None:
    shared = trained_by_several(model, TASKS)
    first, second = gradients = random_gradients(shared)
    result = combined(model, ByNorm(layers=(1,)), gradients)
    layer = {id(p) for p in model.encoder.layers[1].parameters()}
    plain = [0.5 * a + 2.0 * b for a, b in zip(first, second, strict=True)
             if isinstance(a, Tensor) and isinstance(b, Tensor)]
    for p, found, expected in zip(shared, result.gradients, plain, strict=True):
        assert isinstance(found, Tensor)
        assert torch.allclose(found, expected, atol=1e-6) == (id(p) not in layer)


def test_a_surgery_of_the_whole_network_counts_the_heads_and_weighs_them(model: MultiTask) -> None:
    gradients = random_gradients(trained_by_several(model, TASKS))
    plain = combined(model, ByNorm(), gradients)
    whole = combined(model, ByNorm(heads=True), gradients, private=([torch.full((4,), 3.0)], []))
    expected = FACTORS * torch.tensor([
        0.25 * (plain.inner[0, 0] + 36), 4 * plain.inner[1, 1]], dtype=torch.float32)
    torch.testing.assert_close(whole.factors, expected)
    torch.testing.assert_close(whole.inner, plain.inner)


def test_the_mean_of_pcgrad_leaves_a_tasks_own_weights_whole(model: MultiTask) -> None:
    gradients = random_gradients(trained_by_several(model, TASKS))
    own = ([torch.full((4,), 3.0)], [torch.full((4,), -1.0)])
    whole, mean = (combined(model, PCGrad(reduction=reduction, heads=True), gradients, private=own)
                   for reduction in ("sum", "mean"))
    torch.testing.assert_close(mean.factors, whole.factors)
    torch.testing.assert_close(flat(mean.gradients), flat(whole.gradients) / 2)


@pytest.mark.parametrize("rule", [ByNorm(), Largest()])
def test_gradients_that_are_not_finite_are_only_summed(model: MultiTask, rule: GradientRule) -> None:
    gradients = random_gradients(trained_by_several(model, TASKS))
    broken = gradients[0][0]
    assert isinstance(broken, Tensor)
    broken[0] = float("nan")
    result = combined(model, rule, gradients)
    assert not bool(flat(result.gradients).isfinite().all())
    assert torch.equal(result.factors, FACTORS)
