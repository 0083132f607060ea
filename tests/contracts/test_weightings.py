"""What every registered weighting promises."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.core.errors import ConfigError
from polytask.core.settings import to_table
from polytask.learn.checkpoint import pack, unpack
from polytask.learn.weightings.contract import WeightingModule, weighting

TASKS = ("sst", "quora", "sts")
KINDS = {"sst": "ordinal", "quora": "binary", "sts": "regression"}
TABLES: dict[str, list[Any]] = {
    "fixed": [{"type": "fixed", "weights": {"sst": 0.1, "sts": 0.0}}],
    "torchjd": [],
    "automatic": [{"type": "automatic", "lr": 1e-4}],
}
OURS = [table for name in sorted(weighting.members) for table in TABLES.get(name, [name])]

quick = settings(derandomize=True, database=None, deadline=None, max_examples=30)
values = st.floats(0.01, 20)


def module(table: Any) -> WeightingModule:
    built = weighting.read(table).build(TASKS, KINDS)
    assert isinstance(built, WeightingModule)
    return built


# What only a weighting promises whose module says that it is affine; one that is not says so.
AFFINE = [table for table in OURS if module(table).affine]


def test_every_weighting_is_under_test() -> None:
    read = {weighting.read(table).reference for table in OURS}
    assert read == set(weighting.members) - {"torchjd"}


@pytest.mark.parametrize("table", OURS, ids=str)
@quick
@given(losses=st.dictionaries(st.sampled_from(TASKS), values, min_size=1))
def test_every_loss_given_is_weighted_with_a_gradient(table: Any, losses: dict[str, float]) -> None:
    built = module(table)
    leaves = {task: torch.tensor(loss, requires_grad=True) for task, loss in losses.items()}
    weighted = built(leaves)
    assert list(weighted) == list(losses)
    assert all(term.shape == () and term.isfinite() for term in weighted.values())
    sum(weighted.values()).backward()
    assert all(leaf.grad is not None and leaf.grad.isfinite() for leaf in leaves.values())
    report = built.report()
    assert "weight" in report and all(set(row) <= set(TASKS) for row in report.values())
    assert all(math.isfinite(value) for row in report.values() for value in row.values())


@pytest.mark.parametrize("table", AFFINE, ids=str)
@quick
@given(losses=st.dictionaries(st.sampled_from(TASKS), values, min_size=1), moved=st.floats(-0.5, 1))
def test_the_weight_reported_is_what_a_loss_counts(
    table: Any, losses: dict[str, float], moved: float
) -> None:
    built = module(table)
    with torch.no_grad():
        for learned in built.parameters():
            assert learned.dtype == torch.float32
            learned += moved if abs(learned.item() + moved) > 0.1 else 0.0
    leaves = {task: torch.tensor(loss, requires_grad=True) for task, loss in losses.items()}
    weighted = built(leaves)
    assert list(weighted) == list(losses)
    sum(weighted.values()).backward()
    report = built.report()
    for task in losses:
        grad = leaves[task].grad
        assert grad is not None
        assert grad.item() == pytest.approx(report["weight"][task], rel=1e-5)
    assert all(set(row) == set(TASKS) for row in report.values())
    assert all(math.isfinite(value) for row in report.values() for value in row.values())


@pytest.mark.parametrize("table", AFFINE, ids=str)
def test_a_loss_has_the_same_term_alone_and_among_others(table: Any) -> None:
    built = module(table)
    losses = {task: torch.tensor(0.3 * n + 0.2) for n, task in enumerate(TASKS)}
    together = built(losses)
    for task in TASKS:
        assert built({task: losses[task]})[task].item() == together[task].item()
    backwards = built(dict(reversed(losses.items())))
    assert {task: loss.item() for task, loss in backwards.items()} == {
        task: loss.item() for task, loss in together.items()}


@pytest.mark.parametrize("table", OURS, ids=str)
def test_what_is_learned_survives_its_state(table: Any) -> None:
    first, second = module(table), module(table)
    with torch.no_grad():
        for learned in first.parameters():
            learned.add_(torch.rand(()))
    tensors: dict[str, torch.Tensor] = {}
    skeleton = pack(dict(first.state_dict()), tensors)
    second.load_state_dict(unpack(skeleton, tensors))
    assert first.report() == second.report()


@pytest.mark.parametrize("table", OURS, ids=str)
def test_half_precision_losses_are_weighed_in_float32(table: Any) -> None:
    built = module(table)
    weighted = built({task: torch.tensor(0.3, dtype=torch.bfloat16) for task in TASKS})
    if any(True for _ in built.parameters()):
        assert all(loss.dtype == torch.float32 for loss in weighted.values())


@pytest.mark.parametrize("table", OURS, ids=str)
def test_settings_survive_their_table(table: Any) -> None:
    chosen = weighting.read(table)
    assert weighting.read(to_table(chosen)) == chosen
    assert chosen.problem(TASKS) is None


def test_a_weighting_that_draws_its_weights_is_none_of_the_affine() -> None:
    assert weighting.members["own_parts:Squared"] and "own_parts:Squared" not in AFFINE
    assert "sum" in AFFINE and "automatic" in [table["type"] for table in AFFINE if isinstance(table, dict)]


def test_a_weighting_needs_a_module() -> None:
    class Empty:
        """Nothing."""

    with pytest.raises(ConfigError, match='weighting "empty" lacks "build"'):
        weighting(Empty)


@pytest.mark.parametrize("table", AFFINE, ids=str)
@quick
@given(losses=st.lists(values, min_size=3, max_size=3), parts=st.integers(2, 4))
def test_a_step_of_an_affine_weighting_can_be_cut_into_parts(
    table: Any, losses: list[float], parts: int
) -> None:
    """f(M l / M) / M summed over M parts of a step is f(l)."""
    built = module(table)
    whole = built({task: torch.tensor(loss) for task, loss in zip(TASKS, losses, strict=True)})
    shares = [0.5, 1.5] + [1.0] * (parts - 2)
    for number, task in enumerate(TASKS):
        cut = sum(built({task: torch.tensor(losses[number] * share)})[task] for share in shares)
        assert (cut / parts).item() == pytest.approx(whole[task].item(), rel=1e-4, abs=1e-6)
