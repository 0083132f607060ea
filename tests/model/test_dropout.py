"""Dropout keeps what it promises, and the hand-written gradients are the gradients."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polytask.model.attention import attend
from polytask.model.dropout import Dropout, added_norm, dropout, kept

WIDTH, HEADS, LENGTHS = 64, 2, (5, 31, 1, 16, 33, 16)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(7)


@pytest.mark.parametrize("p", [1e-3, 0.1, 0.25, 0.9])
def test_an_element_is_dropped_with_probability_p(p: float) -> None:
    mask = kept((2048, 1024), p, torch.empty(0))
    dropped = (mask == 0).double()
    deviation = math.sqrt(p * (1 - p) / mask.numel())
    assert abs(dropped.mean() - p) < 5 * deviation
    torch.testing.assert_close(mask[mask > 0].unique(), torch.tensor([1 / (1 - p)]))
    # No row, no column and no neighbourhood is favoured.
    for axis in (0, 1):
        means = dropped.mean(axis)
        expected = p * (1 - p) / dropped.shape[axis]
        assert means.var() == pytest.approx(expected, rel=0.2)
    centred = dropped - p
    for shift, axis in ((1, 1), (2, 1), (16, 1), (1, 0), (2, 0)):
        together = (centred * centred.roll(shift, axis)).mean()
        assert abs(together) < 5 * p * (1 - p) / math.sqrt(mask.numel())


def test_the_threshold_is_rounded_at_random_so_that_p_is_exact() -> None:
    # With p between two 65536ths, draws of one element meet both thresholds: were it rounded down,
    # nothing would ever be dropped; rounded up, twice as much as should be.
    p = 0.5 / 65536
    draws = torch.stack([(kept((4096,), p, torch.empty(0)) == 0).sum() for _ in range(2000)])
    expected = 2000 * 4096 * p
    assert abs(int(draws.sum()) - expected) < 5 * math.sqrt(expected)


def test_probabilities_at_the_ends() -> None:
    x, norm = torch.randn(9, WIDTH, requires_grad=True), nn.LayerNorm(WIDTH)
    assert dropout(x, 0.0) is x and dropout(x, 0.5, training=False) is x
    assert torch.equal(dropout(x, 1.0), torch.zeros_like(x))
    torch.testing.assert_close(added_norm(x, x, norm, 0.0), norm(x + x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(added_norm(x, x, norm, 1.0), norm(x), rtol=1e-5, atol=1e-5)


def test_replayed_random_state_gives_the_same_masks() -> None:
    norm, x = nn.LayerNorm(WIDTH), torch.randn(50, WIDTH, requires_grad=True)
    qkv = torch.randn(sum(LENGTHS), 3 * WIDTH, requires_grad=True)

    def passes() -> list[Tensor]:
        return [dropout(x, 0.2), added_norm(x, x, norm, 0.2), attend(qkv, LENGTHS, HEADS, 0.2)]

    state = torch.get_rng_state()
    first, other = passes(), passes()
    torch.set_rng_state(state)
    assert all(torch.equal(a, b) for a, b in zip(first, passes(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_threads_do_not_change_a_bit() -> None:
    norm, x = nn.LayerNorm(WIDTH), torch.randn(500, WIDTH)
    lengths = LENGTHS * 8
    qkv = torch.randn(sum(lengths), 3 * WIDTH)
    made = []
    for _ in range(2):
        torch.manual_seed(3)
        torch.set_num_threads(2)
        a, b = x.clone().requires_grad_(), qkv.clone().requires_grad_()
        norm.zero_grad()
        out = [added_norm(a, a, norm, 0.2), attend(b, lengths, HEADS, 0.2)]
        sum(o.sin().sum() for o in out).backward()
        made.append([*out, a.grad, b.grad, norm.weight.grad, norm.bias.grad])
    assert all(torch.equal(a, b) for a, b in zip(*made, strict=True))


def test_gradients_of_the_torch_passes_are_the_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    norm = nn.LayerNorm(8).double()
    nn.init.normal_(norm.weight)
    x, y = (torch.randn(3, 8, dtype=torch.double, requires_grad=True) for _ in range(2))
    qkv = torch.randn(9, 24, dtype=torch.double, requires_grad=True)

    def replayed(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def run(*inputs: Tensor) -> Tensor:
            torch.manual_seed(1)  # the same mask at every evaluation
            return function(*inputs)
        return run

    for p in (0.0, 0.4):
        assert torch.autograd.gradcheck(replayed(lambda a, p=p: dropout(a * 1, p)), (x,))
        assert torch.autograd.gradcheck(
            replayed(lambda a, b, w, c, p=p: torch.func.functional_call(
                Added(p), {"norm.weight": w, "norm.bias": c}, (a, b))),
            (x, y, norm.weight, norm.bias))
        assert torch.autograd.gradcheck(
            replayed(lambda a, p=p: attend(a, (1, 3, 5), 2, p)), (qkv,))


class Added(nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        self.norm, self.p = nn.LayerNorm(8).double(), p

    def forward(self, residual: Tensor, x: Tensor) -> Tensor:
        return added_norm(residual, x, self.norm, self.p)


@pytest.mark.parametrize("p", [0.0, 0.3])
def test_added_norm_equals_torch_given_its_mask(p: float) -> None:
    norm = nn.LayerNorm(WIDTH, eps=1e-5)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    residual, x = (torch.randn(77, WIDTH, requires_grad=True) for _ in range(2))
    grad = torch.randn(77, WIDTH)
    inputs = (residual, x, norm.weight, norm.bias)
    torch.manual_seed(5)
    ours = added_norm(residual, x, norm, p)
    torch.manual_seed(5)
    mask = kept((77, WIDTH), p, torch.empty(0)) if p else torch.ones(77, WIDTH)
    theirs = norm(residual + x * mask)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    for own, other in zip(torch.autograd.grad(ours, inputs, grad),
                          torch.autograd.grad(theirs, inputs, grad), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-5)


def textbook(qkv: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """Return attention one sequence at a time; `mask` is that of all weights in a row."""
    results, start, used = [], 0, 0
    for length in LENGTHS:
        q, k, v = qkv[start:start + length].view(length, 3, heads, -1).permute(1, 2, 0, 3)
        weights = (q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])).softmax(-1)
        if mask is not None:
            weights = weights * mask[used:used + weights.numel()].view_as(weights)
        results.append((weights @ v).transpose(0, 1).flatten(1))
        start, used = start + length, used + weights.numel()
    return torch.cat(results)


def test_attention_equals_the_textbook() -> None:
    qkv = torch.randn(sum(LENGTHS), 3 * WIDTH, requires_grad=True)
    grad = torch.randn(sum(LENGTHS), WIDTH)
    ours, theirs = attend(qkv, LENGTHS, HEADS, 0.0), textbook(qkv, HEADS)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(torch.autograd.grad(ours, qkv, grad)[0],
                               torch.autograd.grad(theirs, qkv, grad)[0], rtol=1e-5, atol=2e-5)


def test_attention_with_dropout_equals_the_textbook_given_its_mask() -> None:
    """With values that are a unit matrix, the result shows the weights and so the mask."""
    total, size = sum(LENGTHS), max(LENGTHS)
    heads = 2
    d = 48  # more than the longest sequence
    qkv = torch.randn(total, 3, heads, d)
    qkv[:, 2] = 0
    start = 0
    for length in LENGTHS:
        qkv[start:start + length, 2, :, :length] = torch.eye(length)[:, None]
        start += length
    qkv = qkv.view(total, -1).requires_grad_()
    grad = torch.randn(total, heads * d)
    torch.manual_seed(9)
    ours = attend(qkv, LENGTHS, heads, 0.3)
    shown, masks, start = ours.detach().view(total, heads, d), [], 0
    for length in LENGTHS:
        kept_here = shown[start:start + length, :, :length] > 0
        masks.append(kept_here.transpose(0, 1).flatten() / 0.7)
        start += length
    mask = torch.cat(masks)
    assert size < d and abs((mask == 0).float().mean() - 0.3) < 0.03
    theirs = textbook(qkv, heads, mask)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(torch.autograd.grad(ours, qkv, grad)[0],
                               torch.autograd.grad(theirs, qkv, grad)[0], rtol=1e-5, atol=2e-5)


def test_a_number_that_is_none_is_not_hidden() -> None:
    for bad in (math.nan, math.inf):
        qkv = torch.randn(sum(LENGTHS), 3 * WIDTH)
        qkv[0, 0] = bad
        out = attend(qkv.requires_grad_(), LENGTHS, HEADS, 0.0)
        assert out[0].isnan().any() and out[LENGTHS[0]:].isfinite().all()


def test_dropout_as_a_module_follows_the_mode_and_p() -> None:
    module, x = Dropout(0.5), torch.ones(1000)
    assert 300 < int((module(x) == 0).sum()) < 700
    module.p = 0.0
    assert module(x) is x
    module.p = 0.5
    assert module.eval()(x) is x and module.now == 0


def test_without_a_gradient_or_in_half_precision_plain_operations_serve() -> None:
    qkv = torch.randn(sum(LENGTHS), 3 * WIDTH)
    expected = attend(qkv.clone().requires_grad_(), LENGTHS, HEADS, 0.0)
    with torch.no_grad():
        torch.testing.assert_close(attend(qkv, LENGTHS, HEADS, 0.0), expected,
                                   rtol=1e-5, atol=1e-5)
    half = attend(qkv.bfloat16().requires_grad_(), LENGTHS, HEADS, 0.0)
    torch.testing.assert_close(half.float(), expected, rtol=0.05, atol=0.05)
    norm = nn.LayerNorm(WIDTH)
    with torch.no_grad():
        torch.testing.assert_close(added_norm(qkv[:, :WIDTH], qkv[:, :WIDTH], norm, 0.0),
                                   F.layer_norm(2 * qkv[:, :WIDTH], (WIDTH,)), rtol=1e-5, atol=1e-5)
