"""PCGrad against the textbook and against torchjd."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from networks import gradient_lists
from polytask.core.errors import ConfigError
from polytask.learn.gramian import RowGradient, gramian, recombine
from polytask.learn.surgery.contract import surgery
from polytask.learn.surgery.pcgrad import PCGrad

quick = settings(derandomize=True, database=None, deadline=None, max_examples=60)


def seeded(seed: int) -> Generator:
    return torch.Generator().manual_seed(seed)


def textbook(gradients: Tensor, generator: Generator, mean: bool) -> Tensor:
    """Algorithm 1 of Yu et al. as it is printed, on the vectors themselves."""
    projected = gradients.clone()
    for i in range(len(gradients)):
        for j in torch.randperm(len(gradients), generator=generator).tolist():
            if j != i and projected[i] @ gradients[j] < 0:
                projected[i] -= (
                    projected[i] @ gradients[j] / gradients[j].norm() ** 2 * gradients[j])
    return projected.mean(0) if mean else projected.sum(0)


@pytest.mark.technique("M-19", "G-3", "P-11", "S-12")
@quick
@given(tasks=st.integers(1, 6), width=st.integers(1, 12), seed=st.integers(0, 10_000),
       mean=st.booleans())
def test_pcgrad_is_the_textbook_loop(tasks: int, width: int, seed: int, mean: bool) -> None:
    gradients = torch.randn(tasks, width, generator=seeded(seed), dtype=torch.float64)
    rule = PCGrad(reduction="mean" if mean else "sum")
    expected = textbook(gradients, seeded(seed + 1), mean)
    by_weights = rule.weights(gradients @ gradients.T, seeded(seed + 1)) @ gradients
    torch.testing.assert_close(by_weights, expected, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(rule.combine(gradients, seeded(seed + 1)), expected,
                               rtol=1e-8, atol=1e-8)


@pytest.mark.technique("G-3")
@quick
@given(tasks=st.integers(2, 5), seed=st.integers(0, 10_000))
def test_of_the_whole_network_the_mean_is_of_what_tasks_share(tasks: int, seed: int) -> None:
    """As in Tseng's Pytorch-PCGrad: projected with its head, a task's own entries are not divided."""
    shared = torch.randn(tasks, 4, generator=seeded(seed), dtype=torch.float64)
    heads = torch.block_diag(*torch.randn(tasks, 1, 2, generator=seeded(seed + 1), dtype=torch.float64))
    whole = torch.cat([shared, heads], 1)
    expected = textbook(whole, seeded(seed + 2), False)
    rule = PCGrad(reduction="mean", heads=True)
    weights = rule.weights(whole @ whole.T, seeded(seed + 2))
    torch.testing.assert_close(weights @ shared, expected[:4] / tasks, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(rule.own_factors(weights) @ heads, expected[4:], rtol=1e-8, atol=1e-8)


@quick
@given(tasks=st.integers(2, 6), seed=st.integers(0, 10_000))
def test_pcgrad_agrees_with_torchjd(tasks: int, seed: int) -> None:
    torchjd = pytest.importorskip("torchjd.aggregation")
    gradients = torch.randn(tasks, 5, generator=seeded(seed), dtype=torch.float64)
    torch.manual_seed(seed)  # it takes its orders from torch's global generator
    theirs = torchjd.PCGrad()(gradients)
    torch.testing.assert_close(PCGrad().combine(gradients, seeded(seed)), theirs)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@quick
@given(tasks=st.integers(1, 5), seed=st.integers(0, 999), scale=st.floats(0.01, 100))
def test_pcgrad_leaves_harmony_alone_and_follows_the_scale(
    reduction: str, tasks: int, seed: int, scale: float
) -> None:
    rule = PCGrad(reduction=reduction)  # type: ignore[arg-type]
    share = 1 / tasks if rule.reduction == "mean" else 1.0
    agreeing = torch.rand(tasks, 6, generator=seeded(seed)).double()  # no negative product
    assert rule.weights(agreeing @ agreeing.T, seeded(0)).tolist() == pytest.approx([share] * tasks)
    fighting = torch.randn(tasks, 6, generator=seeded(seed)).double()
    gram = fighting @ fighting.T
    weights = rule.weights(gram, seeded(0)).tolist()
    assert rule.weights(gram * scale, seeded(0)).tolist() == pytest.approx(weights)
    assert min(weights) >= share - 1e-12  # a projection only ever adds of the others' gradients


def test_the_order_matters_and_comes_from_the_generator() -> None:
    gradients = torch.tensor([[1.0, 0.0], [-0.5, 0.8], [-0.4, -0.9]], dtype=torch.float64)
    gram = gradients @ gradients.T
    found = {tuple(PCGrad().weights(gram, seeded(seed)).tolist()) for seed in range(30)}
    assert len(found) > 1
    assert PCGrad().weights(gram, seeded(3)).tolist() == PCGrad().weights(gram, seeded(3)).tolist()


def test_two_gradients_in_conflict_by_hand() -> None:
    """g1 = (1, 0), g2 = (-1, 1): g1' = (½, ½), g2' = (0, 1)."""
    gradients = torch.tensor([[1.0, 0.0], [-1.0, 1.0]], dtype=torch.float64)
    assert PCGrad().combine(gradients, seeded(0)).tolist() == [0.5, 1.5]
    assert PCGrad(reduction="mean").combine(gradients, seeded(0)).tolist() == [0.25, 0.75]


def test_a_zero_gradient_changes_nothing() -> None:
    gradients = torch.tensor([[1.0, 0.0], [0.0, 0.0], [-1.0, 1.0]], dtype=torch.float64)
    assert PCGrad().combine(gradients, seeded(0)).tolist() == [0.5, 1.5]


def test_a_gradient_whose_square_underflows_is_not_divided_by() -> None:
    """The Gramian is of float32 dots: 1e-30 squared is 0 there, 1 · -1e-30 is not."""
    gradients = torch.tensor([[1.0, 0.0], [-1e-30, 0.0]])
    gram = gramian([[g] for g in gradients])
    assert gram[1, 1] == 0 > gram[0, 1]
    weights = PCGrad().weights(gram, seeded(0))
    assert weights.isfinite().all()
    assert (weights.float() @ gradients).tolist() == [1.0, 0.0]


def test_the_path_on_two_quadratics() -> None:
    """Minima at (-1, 0) and (1, 0), the second ten times as steep across: the path in the plane.

    The steps are Definition 1 and Algorithm 1 for two tasks written out: where g1 · g2 < 0,
    g1 (1 - g1·g2/|g1|²) + g2 (1 - g1·g2/|g2|²), else g1 + g2.
    """
    def gradient(x: float, y: float) -> tuple[tuple[float, float], tuple[float, float]]:
        return (x + 1, 0.1 * y), (x - 1, y)

    rule, rate, conflicts = PCGrad(), 0.1, 0
    ours, paper = torch.tensor([0.9, 3.0], dtype=torch.float64), (0.9, 3.0)
    for _ in range(200):
        matrix = torch.tensor(gradient(*ours.tolist()), dtype=torch.float64)
        ours = ours - rate * rule.combine(matrix, seeded(0))
        (a, b), (c, d) = gradient(*paper)
        dot = a * c + b * d
        first, second = 1.0, 1.0
        if dot < 0:
            conflicts += 1
            first, second = 1 - dot / (a * a + b * b), 1 - dot / (c * c + d * d)
        paper = (paper[0] - rate * (first * a + second * c),
                 paper[1] - rate * (first * b + second * d))
        assert ours.tolist() == pytest.approx(paper, rel=1e-9, abs=1e-12)
    assert 0 < conflicts < 200
    # Theorem 1: it ends where the gradients are opposite or at the minimum of their sum.
    (a, b), (c, d) = gradient(*ours.tolist())
    cosine = (a * c + b * d) / ((a * a + b * b) * (c * c + d * d)) ** 0.5
    assert cosine == pytest.approx(-1, abs=1e-6)
    assert abs(ours[0]) < 1


# ---- gradient lists

def test_surgery_on_lists_is_surgery_on_the_matrix() -> None:
    made, matrix = gradient_lists(7)
    expected = textbook(matrix, seeded(1), mean=False)
    found = recombine(PCGrad().weights(gramian(made), seeded(1)), made)
    flat = torch.cat([(each.dense() if isinstance(each, RowGradient) else each).flatten()
                      for each in found if each is not None])
    torch.testing.assert_close(flat.double(), expected, rtol=1e-4, atol=1e-3)


# ---- settings

@pytest.mark.parametrize(("fields", "said"), [
    ({"every": 0}, "every found 0"), ({"reduction": "max"}, "reduction found 'max'"),
])
def test_settings_that_cannot_work_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        PCGrad(**fields)


@pytest.mark.parametrize(("table", "said"), [
    ("torchjd:UPGard", 'is not an aggregator of torchjd; did you mean "torchjd:UPGrad"?'),
    ("torchjd:CAGrad", "the option c is missing"),
    ({"type": "torchjd:CAGrad", "k": 1}, "k is not an option"),
    ("pcgrat", 'did you mean "pcgrad"?'),
])
def test_unknown_rules_and_options_are_refused(table: Any, said: str) -> None:
    pytest.importorskip("torchjd.aggregation")
    with pytest.raises(Exception, match=said.replace("?", r"\?")):
        surgery.read(table)


def test_a_rule_that_does_not_fit_the_tasks_is_a_problem() -> None:
    pytest.importorskip("torchjd.aggregation")

    def said(table: Any, min_tasks_per_step: int | None = None) -> str:
        return surgery.read(table).problem(["a", "b", "c"], min_tasks_per_step) or ""

    assert "lacks the task" in said({"type": "torchjd:Constant", "weights": {"a": 1}})
    assert "every task in every step" in said("torchjd:GradVac", min_tasks_per_step=1)
    assert said({"type": "torchjd:Krum", "n_byzantine": 5}) != ""
    assert said("torchjd:IMTLG", min_tasks_per_step=1) == said("pcgrad", min_tasks_per_step=1) == ""
