"""What every registered pooling promises: a sequence's vector is its own affair."""

from __future__ import annotations

import pytest
import torch

from networks import tiny_bert
from polytask.core.registry import Family
from polytask.data.batch import TokenBatch
from polytask.model.poolings.contract import Pooling

MEMBERS = Family.all["poolings"].members
LENGTHS = (4, 1, 9, 2, 6)
ENCODER = tiny_bert()


def batch_of(lengths: tuple[int, ...]) -> TokenBatch:
    ids = torch.zeros(sum(lengths), dtype=torch.long)
    return TokenBatch(ids, ids, lengths)


@pytest.fixture(params=[MEMBERS[name]() for name in sorted(MEMBERS)], ids=lambda p: p.name)
def pooling(request: pytest.FixtureRequest) -> Pooling:
    return request.param


def test_gives_one_finite_vector_a_sequence(pooling: Pooling) -> None:
    hidden = torch.randn(sum(LENGTHS), ENCODER.width)
    pooled = pooling.pool(hidden, batch_of(LENGTHS), ENCODER)
    assert pooled.shape == (len(LENGTHS), ENCODER.width) and pooled.isfinite().all()


def test_what_else_is_in_the_batch_changes_no_bit(pooling: Pooling) -> None:
    hidden = torch.randn(sum(LENGTHS), ENCODER.width)
    pooled = pooling.pool(hidden, batch_of(LENGTHS), ENCODER)
    parts = hidden.split(LENGTHS)
    order = [3, 0, 4, 2, 1]
    moved = pooling.pool(torch.cat([parts[i] for i in order]),
                         batch_of(tuple(LENGTHS[i] for i in order)), ENCODER)
    for place, i in enumerate(order):
        alone = pooling.pool(parts[i], batch_of((LENGTHS[i],)), ENCODER)
        # A matrix product (the pooler's) may round otherwise for another number of rows.
        torch.testing.assert_close(alone[0], pooled[i], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(moved[place], pooled[i], rtol=1e-6, atol=1e-6)
        if not pooling.trains_pooler:
            assert torch.equal(alone[0], pooled[i]) and torch.equal(moved[place], pooled[i])


def test_the_gradient_reaches_every_sequence_and_stays_in_it(pooling: Pooling) -> None:
    hidden = torch.randn(sum(LENGTHS), ENCODER.width, requires_grad=True)
    pooled = pooling.pool(hidden, batch_of(LENGTHS), ENCODER)
    for i in range(len(LENGTHS)):
        (grad,) = torch.autograd.grad(pooled[i].sum(), hidden, retain_graph=True)
        own = grad.split(LENGTHS)[i]
        assert own.isfinite().all() and own.count_nonzero() > 0
        assert grad.count_nonzero() == own.count_nonzero()


def test_pools_in_bf16(pooling: Pooling) -> None:
    hidden = torch.randn(sum(LENGTHS), ENCODER.width).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        pooled = pooling.pool(hidden, batch_of(LENGTHS), ENCODER)
    assert pooled.dtype == torch.bfloat16 and pooled.isfinite().all()
