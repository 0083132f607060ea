"""A table that stands for some of its rows trains as the whole table does."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from polytask.model.sparse_embedding import SparseEmbedding

ROWS, WIDTH = 50, 16


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(5)


def pair() -> tuple[SparseEmbedding, nn.Embedding]:
    words, whole = SparseEmbedding(ROWS, WIDTH), nn.Embedding(ROWS, WIDTH)
    whole.load_state_dict(words.state_dict())
    return words, whole


def loss(rows: Tensor) -> Tensor:
    return rows.sin().square().sum()


@pytest.mark.parametrize(("optimizer", "settings"), [
    (torch.optim.AdamW, {"lr": 0.01, "fused": True, "weight_decay": 0.1}),
    (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.0}),
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
])
def test_training_equals_that_of_the_whole_table_bit_for_bit(
    optimizer: Any, settings: dict[str, Any]
) -> None:
    words, whole = pair()
    ours, theirs = optimizer(words.parameters(), **settings), optimizer(whole.parameters(), **settings)
    for step in range(12):
        # One or two passes a step; rows come, stay away and come again.
        passes = [torch.randint(0, 30, (9,)) for _ in range(1 + step % 2)]
        words.narrow(torch.cat(passes))
        for ids in passes:
            loss(words(ids)).backward()
            loss(whole(ids)).backward()
        words.widen()
        torch.testing.assert_close(words.weight.grad, whole.weight.grad, rtol=0, atol=1e-6)
        whole.weight.grad = words.weight.grad.clone()  # orders of sums differ; the rest may not
        ours.step()
        theirs.step()
        words.weight.grad = None
        whole.weight.grad = None
        assert torch.equal(words.weight, whole.weight)


def test_the_leaf_is_a_small_tensor_of_the_rows_that_are_read() -> None:
    words, whole = pair()
    for ids in (torch.tensor([[7, 3], [3, 9]]), torch.tensor([4, 40, 40])):
        words.narrow(ids)
        leaf = words.leaf
        assert words.narrowed and leaf.shape == (len(ids.unique()), WIDTH)
        assert torch.equal(words(ids), whole(ids))
        loss(words(ids)).backward()
        expected = torch.autograd.grad(loss(whole(ids)), whole.weight)[0]
        torch.testing.assert_close(leaf.grad, expected[ids.unique()])
        assert words.weight.grad is None
        words.widen()
        torch.testing.assert_close(words.weight.grad, expected)
        words.weight.grad = None
    assert [name for name, _ in words.named_parameters()] == list(words.state_dict()) == ["weight"]


def test_the_kept_gradient_starts_from_zero_each_time() -> None:
    words, _ = pair()
    for ids in (torch.arange(5), torch.arange(3, 8)):
        words.narrow(ids)
        loss(words(ids)).backward()
        words.widen()
        filled = words.weight.grad.abs().sum(1).nonzero().squeeze(1)
        assert torch.equal(filled, ids)
        words.weight.grad = None
        assert words.weight.grad is None


def test_a_gradient_that_the_table_has_already_is_added_to() -> None:
    words, whole = pair()
    ids = torch.tensor([1, 2, 2])
    words.narrow(ids)
    (loss(words(ids)) + words.weight.square().sum()).backward()  # a penalty on all weights
    words.widen()
    (loss(whole(ids)) + whole.weight.square().sum()).backward()
    torch.testing.assert_close(words.weight.grad, whole.weight.grad)
    words.weight.grad = None
    assert words.weight.grad is None


def test_an_id_that_was_not_announced_is_refused() -> None:
    words, _ = pair()
    words.narrow(torch.tensor([1, 2]))
    with pytest.raises(IndexError):
        words(torch.tensor([1, 3]))
    words.widen()
    assert words(torch.tensor([1, 3])).shape == (2, WIDTH)
    words.narrow(torch.tensor([3]))
    with pytest.raises(IndexError):  # announced for the step before
        words(torch.tensor([1]))


def test_a_step_without_gradient_and_a_frozen_table_change_nothing() -> None:
    words, whole = pair()
    words.narrow(torch.tensor([1, 2]))
    words.widen()
    assert words.weight.grad is None
    words.weight.grad = None
    words.weight.requires_grad_(False)
    words.narrow(torch.tensor([1, 2]))
    assert torch.equal(words(torch.tensor([5])), whole(torch.tensor([5])))
    words.widen()
    assert torch.equal(copy.deepcopy(words).weight, whole.weight)


def test_a_graph_of_an_earlier_step_may_still_be_alive() -> None:
    words, _ = pair()
    held = []
    for ids in (torch.arange(5), torch.arange(3, 20)):
        words.narrow(ids)
        held.append(loss(words(ids)))
        held[-1].backward()
        words.widen()
        assert int(words.weight.grad.abs().sum(1).count_nonzero()) == len(ids)
        words.weight.grad = None
