"""Each pooling equals the same thing said with a loop, whatever the threads and the number type."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from polytask.data.batch import TokenBatch
from polytask.model.bert import Bert, BertConfig
from polytask.model.poolings.cls import Cls
from polytask.model.poolings.max import Max
from polytask.model.poolings.mean import Mean
from polytask.model.poolings.pooler import Pooler

LENGTHS = (3, 1, 17, 8, 2, 40, 5)
WIDTH = 24


def batch_of(lengths: tuple[int, ...]) -> TokenBatch:
    ids = torch.zeros(sum(lengths), dtype=torch.long)
    return TokenBatch(ids, ids, lengths)


def tiny(pooler: bool = True) -> Bert:
    return Bert(BertConfig(vocab_size=30, hidden_size=WIDTH, num_hidden_layers=1,
                           num_attention_heads=2, intermediate_size=16), pooler=pooler)


def looped(hidden: Tensor, what: str) -> Tensor:
    pick = {"cls": lambda x: x[0], "mean": lambda x: sum(x) / len(x), "max": lambda x: x.amax(0)}
    return torch.stack([pick[what](part) for part in hidden.split(LENGTHS)])


@pytest.mark.technique("P-3", "P-4")
@pytest.mark.parametrize(("pooling", "what"), [(Cls(), "cls"), (Mean(), "mean"), (Max(), "max")])
def test_equals_a_loop_forward_and_backward(pooling: Cls | Mean | Max, what: str) -> None:
    hidden = torch.randn(sum(LENGTHS), WIDTH, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(len(LENGTHS), WIDTH, dtype=torch.float64)
    ours, theirs = pooling.pool(hidden, batch_of(LENGTHS), None), looped(hidden, what)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad((ours * weights).sum(), hidden),
                               torch.autograd.grad((theirs * weights).sum(), hidden))


@pytest.mark.technique("T-2", "S-2")
def test_pooler_is_the_encoders_own_layer_over_the_first_tokens() -> None:
    encoder = tiny()
    hidden = torch.randn(sum(LENGTHS), WIDTH)
    first = looped(hidden, "cls")
    dense = encoder.pooler.dense
    expected = torch.tanh(first @ dense.weight.T + dense.bias)
    torch.testing.assert_close(Pooler().pool(hidden, batch_of(LENGTHS), encoder), expected)


@pytest.mark.parametrize("pooling", [Cls(), Mean(), Max(), Pooler()], ids=lambda p: p.name)
def test_a_padded_batch_is_pooled_as_a_flat_one_whatever_the_padding_holds(
    pooling: Cls | Mean | Max | Pooler,
) -> None:
    encoder = tiny()
    hidden = torch.randn(sum(LENGTHS), WIDTH) - 4  # below 0: zeros at padding would be the largest
    padded = torch.full((len(LENGTHS), max(LENGTHS), WIDTH), 9.0)
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    padded[mask] = hidden
    torch.testing.assert_close(pooling.pool_padded(padded, mask, encoder),
                               pooling.pool(hidden, batch_of(LENGTHS), encoder))


def test_pooler_of_an_encoder_without_one_is_refused_with_a_remedy() -> None:
    said = Pooler().problem(tiny(pooler=False))
    assert said == ('pooling "pooler" needs a pooler, which this encoder lacks; '
                    'use "cls" or "mean"')
    assert Pooler().problem(tiny()) is None
    assert Mean().problem(tiny(pooler=False)) is None


@pytest.mark.parametrize("pooling", [Cls(), Mean(), Max()], ids=lambda p: p.name)
def test_bf16_keeps_its_type_and_loses_only_its_own_digits(pooling: Cls | Mean | Max) -> None:
    lengths = (500, 3)
    hidden = torch.randn(sum(lengths), WIDTH) + 1
    small = hidden.bfloat16().requires_grad_()
    pooled = pooling.pool(small, batch_of(lengths), None)
    exact = pooling.pool(small.detach().float(), batch_of(lengths), None)
    assert pooled.dtype == torch.bfloat16
    # One rounding at the end: 8 bits of mantissa. A sum kept in bf16 would be off by percents.
    torch.testing.assert_close(pooled.float(), exact, rtol=2**-8, atol=1e-3)
    pooled.float().sum().backward()
    assert small.grad is not None and small.grad.isfinite().all()


@pytest.mark.parametrize("pooling", [Cls(), Mean(), Max()], ids=lambda p: p.name)
def test_two_threads_give_the_same_bits(pooling: Cls | Mean | Max) -> None:
    lengths = tuple(torch.randint(1, 60, (64,)).tolist())
    hidden = torch.randn(sum(lengths), 128, requires_grad=True)

    def both() -> tuple[Tensor, Tensor]:
        pooled = pooling.pool(hidden, batch_of(lengths), None)
        (grad,) = torch.autograd.grad((pooled * pooled).sum(), hidden)
        return pooled, grad

    expected = both()
    torch.set_num_threads(2)
    try:
        for _ in range(8):
            assert all(torch.equal(a, b) for a, b in zip(both(), expected, strict=True))
    finally:
        torch.set_num_threads(1)
