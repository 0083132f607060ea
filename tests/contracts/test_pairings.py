"""What every registered pairing promises: a row's vector comes from its own sequences."""

from __future__ import annotations

import pytest
import torch

from polytask.core.registry import Family
from polytask.data.collate import InputLayout
from polytask.data.stored_task import layout_problem
from polytask.model.pairings.contract import Pairing
from polytask.serve.text_engine import _pairing

MEMBERS = Family.all["pairings"].members
ROWS, WIDTH = 5, 8


PLAIN = [MEMBERS[name]() for name in sorted(MEMBERS)]
SYMMETRIC = [type(each)(symmetric=True) for each in PLAIN if hasattr(each, "symmetric")]


@pytest.fixture(params=PLAIN + SYMMETRIC, ids=lambda p: p.name + "-both" * getattr(p, "symmetric", False))
def pairing(request: pytest.FixtureRequest) -> Pairing:
    return request.param


def test_fills_the_vectors_that_it_promises(pairing: Pairing) -> None:
    output = pairing.build(WIDTH)(torch.randn(ROWS * pairing.sequences, WIDTH))
    assert output.u.shape == (ROWS, WIDTH)
    assert output.vector.shape == (ROWS, pairing.width(WIDTH))
    assert (output.v is not None) == pairing.two_vectors
    assert output.logits is None and output.score is None


def test_a_row_sees_its_own_sequences_only(pairing: Pairing) -> None:
    module = pairing.build(WIDTH)
    pooled = torch.randn(ROWS, pairing.sequences, WIDTH)
    order = torch.randperm(ROWS)
    vector = module(pooled.flatten(0, 1)).vector
    assert torch.equal(module(pooled[order].flatten(0, 1)).vector, vector[order])


def test_the_gradient_reaches_what_the_head_sees(pairing: Pairing) -> None:
    pooled = torch.randn(ROWS * pairing.sequences, WIDTH, requires_grad=True)
    pairing.build(WIDTH)(pooled).vector.square().sum().backward()
    assert pooled.grad.isfinite().all() and (pooled.grad[0] != 0).any()


@pytest.mark.parametrize("pairing", SYMMETRIC, ids=lambda p: p.name)
def test_a_symmetric_one_sees_every_sequence_and_none_of_the_order(pairing: Pairing) -> None:
    pooled = torch.randn(ROWS, pairing.sequences, WIDTH, requires_grad=True)
    exchange = [1, 0, 3, 2][:pairing.sequences]
    module = pairing.build(WIDTH)
    vector = module(pooled.flatten(0, 1)).vector
    assert torch.equal(module(pooled[:, exchange].flatten(0, 1)).vector, vector)
    vector.square().sum().backward()
    assert (pooled.grad != 0).any(-1).all()


def test_has_texts_and_sequences(pairing: Pairing) -> None:
    assert pairing.texts in (1, 2) and pairing.sequences in (1, 2, 3, 4)


def test_its_layout_is_stored_and_served_under_its_name(pairing: Pairing) -> None:
    layout = InputLayout.of(pairing, 16)
    assert layout_problem(layout) is None
    if type(pairing).__module__.startswith("polytask."):  # another's own is served as the one of its layout
        assert _pairing(layout) == pairing.name
