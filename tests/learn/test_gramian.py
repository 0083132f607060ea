"""Gramians, cosines and sums of gradient lists against the same on one dense matrix."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from networks import gradient_lists
from polytask.learn.gramian import GradientList, RowGradient, cosines, gramian, recombine


@pytest.mark.parametrize("seed", range(4))
def test_the_gramian_of_lists_is_that_of_the_matrix(seed: int) -> None:
    made, matrix = gradient_lists(seed)
    found = gramian(made)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, matrix @ matrix.T, rtol=1e-5, atol=2e-2)
    assert torch.equal(found, found.T)


def test_the_gramian_of_half_precision_gradients_is_summed_in_float32() -> None:
    ones: list[GradientList] = [[torch.full((100_000,), 0.1, dtype=torch.bfloat16)] for _ in range(2)]
    value = float(torch.tensor(0.1, dtype=torch.bfloat16)) ** 2 * 100_000
    assert gramian(ones)[0, 1].item() == pytest.approx(value, rel=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_recombining_is_the_weighted_sum(seed: int) -> None:
    made, matrix = gradient_lists(seed)
    weights = torch.tensor([0.5, -2.0, 1.5], dtype=torch.float64)
    expected = weights @ matrix
    places = [gradient.data_ptr() for gradient in made[0][:2] if isinstance(gradient, Tensor)]
    found = recombine(weights, made)
    assert [found[i].data_ptr() for i in (0, 1)] == places, "the sum takes no memory of its own"  # type: ignore[union-attr]
    assert isinstance(found[2], RowGradient)
    assert isinstance(found[4], Tensor)
    assert found[5] is None
    flat = torch.cat([(each.dense() if isinstance(each, RowGradient) else each).flatten()
                      for each in found if each is not None])
    torch.testing.assert_close(flat.double(), expected, rtol=1e-5, atol=1e-4)


def test_row_gradients_add_up_the_tokens_of_a_word() -> None:
    summed = RowGradient.summed(torch.tensor([7, 2, 7]), torch.tensor([[1.0], [2.0], [4.0]]), 9)
    assert summed.rows.tolist() == [2, 7]
    assert summed.values.tolist() == [[2.0], [5.0]]
    assert summed.dense().flatten().tolist() == [0, 0, 2, 0, 0, 0, 0, 5, 0]


def test_row_gradients_without_common_rows_are_orthogonal() -> None:
    def one(*ids: int) -> GradientList:
        return [RowGradient.summed(torch.tensor(ids, dtype=torch.long), torch.ones(len(ids), 3), 9)]

    assert gramian([one(1, 2), one(3), one()]).tolist() == [[6, 0, 0], [0, 3, 0], [0, 0, 0]]


def test_cosines() -> None:
    gradients = torch.tensor([[3.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [0.0, 0.0]]).double()
    assert cosines(gradients @ gradients.T).tolist() == [
        [1, 0, -1, 0], [0, 1, 0, 0], [-1, 0, 1, 0], [0, 0, 0, 0]]


def test_rows_of_one_step_are_summed_in_place() -> None:
    rows = torch.tensor([1, 4])
    one, other = (RowGradient(rows, torch.full((2, 3), value), 6) for value in (1.0, 10.0))
    (found,) = recombine([2.0, 0.5], [[one], [other]])
    assert isinstance(found, RowGradient)
    assert found.rows is rows and found.values.data_ptr() == one.values.data_ptr()
    assert found.values.tolist() == [[7.0] * 3] * 2


def test_a_parameter_that_no_task_reaches_has_no_gradient() -> None:
    assert recombine([1.0, 1.0], [[None], [None]]) == [None]
    assert gramian([[None], [None]]).tolist() == [[0, 0], [0, 0]]


def test_a_gradient_that_is_not_a_number_shows_in_the_gramian() -> None:
    bad: GradientList = [torch.tensor([1.0, float("nan")])]
    assert gramian([bad, [torch.ones(2)]]).isnan().tolist() == [[True, True], [True, False]]
