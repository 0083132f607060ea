"""The moving average of the weights: its formula, its place during an evaluation, its state."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from polytask.learn.ema import EMA


def walked(decay: float, values: list[float]) -> tuple[nn.Linear, EMA]:
    model = nn.Linear(2, 1, bias=False)
    nn.init.constant_(model.weight, values[0])
    ema = EMA(model, decay)
    for value in values[1:]:
        nn.init.constant_(model.weight, value)
        ema.update()
    return model, ema


def test_the_average_is_the_formula() -> None:
    values = [1.0, 3.0, -2.0, 4.0]
    _, ema = walked(0.75, values)
    expected = values[0]
    for value in values[1:]:
        expected = 0.75 * expected + 0.25 * value
    assert ema.averages[0].flatten().tolist() == pytest.approx([expected] * 2)


def test_it_stands_in_the_model_inside_the_block_alone_even_if_that_fails() -> None:
    model, ema = walked(0.5, [0.0, 2.0])
    with pytest.raises(ValueError, match="failed"), ema.applied():  # noqa: PT012
        assert model.weight.flatten().tolist() == [1.0, 1.0]
        raise ValueError("failed")
    assert model.weight.flatten().tolist() == [2.0, 2.0]


def test_weights_that_are_not_trained_are_not_averaged() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).requires_grad_(False)
    model[1].requires_grad_(True)
    assert len(EMA(model, 0.9).averages) == 2


def test_its_state_is_restored_into_the_same_memory() -> None:
    _, ema = walked(0.5, [0.0, 2.0])
    state = [average.clone() for average in ema.state()]
    ema.averages[0].zero_()
    place = ema.averages[0].data_ptr()
    ema.restore(state)
    assert torch.equal(ema.averages[0], state[0]) and ema.averages[0].data_ptr() == place
