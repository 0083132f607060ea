"""bf16 on a CPU rounds what enters and leaves a product, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from foreign import FLAT
from networks import flat_batch, randomize
from polytask.model import flat_encoder
from polytask.model.adapters.pal import PAL
from polytask.model.attention import attend
from polytask.model.dropout import added_norm, dropout
from polytask.model.families import build_flat
from polytask.model.flat_config import read_flat
from polytask.model.flat_encoder import FlatEncoder
from polytask.model.positions import Rotary

transformers = pytest.importorskip("transformers")
LENGTHS, HEADS, WIDTH = (5, 31, 1, 16, 33, 16), 2, 16
TOKENS = sum(LENGTHS)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(7)


def bf16() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


def test_attention_is_that_of_float32_rounded_once() -> None:
    qkv = (4 * torch.randn(TOKENS, 3 * WIDTH)).bfloat16()
    by_output = torch.randn(TOKENS, WIDTH).bfloat16()
    made = {}
    for dtype in (torch.bfloat16, torch.float32):
        given = qkv.to(dtype).requires_grad_()
        torch.manual_seed(3)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            out = attend(given, LENGTHS, HEADS, 0.3)
            (gradient,) = torch.autograd.grad(out, given, by_output.to(dtype))  # under autocast, too
        assert out.dtype == gradient.dtype == dtype
        made[dtype] = out.detach(), gradient
    for rounded, exact in zip(made[torch.bfloat16], made[torch.float32], strict=True):
        assert torch.equal(rounded, exact.bfloat16())


@pytest.mark.parametrize("p", [0.0, 0.3])
def test_the_residual_stays_in_float32(p: float) -> None:
    norm, (residual, x, weight) = nn.LayerNorm(WIDTH), torch.randn(3, TOKENS, WIDTH)
    x = x.bfloat16()
    made = {}
    for dtype in (torch.bfloat16, torch.float32):
        both = residual.clone().requires_grad_(), x.to(dtype).requires_grad_()
        torch.manual_seed(3)
        with bf16():
            out = added_norm(*both, norm, p)
        by_residual, by_x = torch.autograd.grad((out * weight).sum(), both)
        assert out.dtype == by_residual.dtype == torch.float32 and by_x.dtype == dtype
        made[dtype] = out.detach(), by_residual, by_x
    for rounded, exact in zip(made[torch.bfloat16], made[torch.float32], strict=True):
        assert torch.equal(rounded, exact.to(rounded.dtype))


def test_what_dropout_keeps_is_scaled_exactly() -> None:
    x = torch.randn(4096).bfloat16().requires_grad_()
    weight = torch.randn(4096).bfloat16()
    out = dropout(x, 0.1)
    (gradient,) = torch.autograd.grad(out, x, weight)
    stays = out != 0
    assert 0.85 < stays.float().mean() < 0.95
    for found, plain in ((out, x), (gradient, weight)):
        expected = (plain.float() * (1 / 0.9)).bfloat16()
        assert torch.equal(found.detach(), torch.where(stays, expected, 0).detach())


def test_rotations_keep_the_digits_of_their_angles() -> None:
    positions = torch.arange(500)
    rotary = Rotary(positions, 8, HEADS, {False: 10_000.0}, (False,), 4)
    qkv = torch.randn(500, 3 * WIDTH).bfloat16()
    exact = rotary.turn(0, qkv.float().requires_grad_())
    turned = rotary.turn(0, qkv.clone().requires_grad_())
    assert turned.dtype == torch.bfloat16 and torch.equal(turned, exact.bfloat16())


def built(kind: str) -> FlatEncoder:
    model_type, sizes = FLAT[kind]
    config = transformers.AutoConfig.for_model(model_type, **sizes | {"hidden_size": 48})
    encoder = build_flat(read_flat(config.to_dict())).train()
    encoder.set_dropout(0.0)
    return encoder


def passed(encoder: FlatEncoder, run: Callable[[], Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the output of a pass, and the gradient of every parameter."""
    encoder.zero_grad()
    out = run()
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(2))
    (out.float() * weight).mean().backward()
    gradients = {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}
    return out.detach(), {name: gradient.clone() for name, gradient in gradients.items()}


@pytest.mark.parametrize("kind", ["bert", "mpnet", "deberta-v3", "modernbert", "albert"])
def test_an_encoder_gives_what_float32_gives_to_the_rounding(kind: str) -> None:
    encoder, batch = built(kind), flat_batch({"sst": (4, 11, 1, 30, 7)})
    exact, by_exact = passed(encoder, lambda: encoder(batch))
    with bf16():
        rounded, by_rounded = passed(encoder, lambda: encoder(batch))
    assert rounded.dtype == torch.float32 and rounded.shape == exact.shape
    difference = (rounded - exact).abs()
    assert 1e-4 < difference.max() < 0.15 and difference.mean() < 0.02
    assert by_rounded.keys() == by_exact.keys()
    for name, gradient in by_exact.items():
        if gradient.norm() > 1e-6:  # a key's bias has none
            agreement = torch.cosine_similarity(by_rounded[name].flatten(), gradient.flatten(), 0)
            assert agreement > 0.98, name


def test_the_layers_see_few_numbers_of_tokens_and_the_caller_its_own(
        monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, seen = built("bert"), []
    PAL(size=8, heads=2).attach(SimpleNamespace(encoder=encoder), ["sst", "sts"])  # type: ignore[arg-type]
    randomize(encoder.adapter, "weight")
    encoder.layers[0].register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    made = {}
    for size in (1, 64):
        monkeypatch.setattr(flat_encoder, "_ROWS", size)
        for rows in ((3, 11), (30, 20, 30, 1)):
            batch = flat_batch({"sst": rows, "sts": (5,)})
            with bf16():
                made[size, rows] = passed(encoder, lambda batch=batch: encoder(batch))
    assert seen == [19, 86, 64, 128]
    for rows in ((3, 11), (30, 20, 30, 1)):
        (plain, by_plain), (filled, by_filled) = made[1, rows], made[64, rows]
        assert len(filled) == sum(rows) + 5
        torch.testing.assert_close(filled, plain, rtol=0, atol=0.05)
        assert by_filled.keys() == by_plain.keys()
        for name, gradient in by_plain.items():
            tolerance = 0.05 * float(gradient.abs().max())
            torch.testing.assert_close(by_filled[name], gradient, rtol=0.05, atol=tolerance)


def test_float32_and_what_is_looked_into_are_not_filled() -> None:
    encoder, seen = built("bert"), []
    encoder.layers[0].register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    batch = flat_batch({"sst": (4, 11)})
    encoder(batch)
    with bf16():
        assert len(encoder.hidden_states(batch)[-1]) == 15
        assert len(encoder.attentions(batch)[0]) == 2
        assert len(encoder.lower(batch, 1)) == 15
    assert seen == [15, 15, 15, 64]
