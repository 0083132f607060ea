"""Queries, keys and values lie together in memory, and nothing but the copy is saved by that."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn

from foreign import FLAT
from networks import flat_batch
from polytask.model.families import build_flat
from polytask.model.flat_config import read_flat
from polytask.model.flat_encoder import SelfAttention, adjacent, stacked

transformers = pytest.importorskip("transformers")


def parts(attention: SelfAttention) -> list[nn.Linear]:
    return [attention.query, attention.key, attention.value]


def together(attention: SelfAttention) -> bool:
    return all(adjacent([getattr(part, of) for part in parts(attention)]) for of in ("weight", "bias"))


def test_the_projections_lie_together_once_they_are_used() -> None:
    attention, x = SelfAttention(8, 2, 0.0), torch.randn(3, 8)
    expected = torch.cat([part(x) for part in parts(attention)], -1)
    with torch.inference_mode():
        torch.testing.assert_close(attention.qkv(x), expected)
    assert together(attention)
    attention.load_state_dict({name: value * 2 for name, value in attention.state_dict().items()})
    assert together(attention)
    optimizer = torch.optim.AdamW(attention.parameters(), lr=0.1)
    attention.qkv(x).sum().backward()
    optimizer.step()
    assert together(attention)
    for moved in (copy.deepcopy(attention), copy.deepcopy(attention).double()):
        assert not together(moved)
        own = x.to(moved.query.weight.dtype)
        torch.testing.assert_close(moved.qkv(own), torch.cat([part(own) for part in parts(moved)], -1))
        assert together(moved)
        moved.qkv(own).sum().backward()
        assert moved.key.weight.grad is not None


def test_one_product_equals_three_with_every_gradient() -> None:
    attention = SelfAttention(8, 2, 0.0)
    x = torch.randn(5, 8, requires_grad=True)
    joined = attention.qkv(x)
    apart = torch.cat([part(x) for part in parts(attention)], -1)
    torch.testing.assert_close(joined, apart)
    weight, wanted = torch.randn_like(apart), [x, *attention.parameters()]
    ours = torch.autograd.grad((joined * weight).sum(), wanted, allow_unused=True)
    theirs = torch.autograd.grad((apart * weight).sum(), wanted, allow_unused=True)
    for own, other in zip(ours, theirs, strict=True):
        assert (own is None) == (other is None)
        if own is not None:
            torch.testing.assert_close(own, other)


def test_projections_that_were_moved_apart_are_laid_together_again() -> None:
    attention = SelfAttention(8, 2, 0.0)
    x = torch.randn(5, 8)
    expected = attention.qkv(x)
    attention.key.weight = nn.Parameter(attention.key.weight.detach().clone())
    assert not together(attention)
    assert torch.equal(attention.qkv(x), expected) and together(attention)
    attention.value = nn.Sequential(attention.value)  # wrapped, as LoRA does
    torch.testing.assert_close(attention.qkv(x), expected)


def test_tensors_of_another_order_or_place_are_not_adjacent() -> None:
    whole = torch.arange(12.0).view(6, 2)
    first, second = whole[:3], whole[3:]
    assert adjacent([first, second]) and not adjacent([second, first])
    assert not adjacent([first, second.clone()])
    assert not adjacent([whole[:, :1], whole[:, 1:]])
    expected = torch.cat([second, first])
    assert torch.equal(stacked([second, first]), expected)


def test_nothing_is_copied_without_gradients() -> None:
    attention = SelfAttention(8, 2, 0.0)
    attention.qkv(torch.randn(1, 8))
    with torch.no_grad():
        joined = stacked([part.weight for part in parts(attention)])
    assert joined.data_ptr() == attention.query.weight.data_ptr() and joined.shape == (24, 8)


@pytest.mark.parametrize("kind", ["bert", "mpnet", "deberta-v3", "modernbert"])
def test_the_padded_entry_is_traced_for_any_length(kind: str) -> None:
    model_type, sizes = FLAT[kind]
    config = transformers.AutoConfig.for_model(model_type, **sizes)
    encoder = build_flat(read_flat(config.to_dict())).eval()

    class Entry(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, ids: torch.Tensor, mask: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
            return encoder.padded(ids, mask, segments)

    def inputs(rows: int, length: int) -> tuple[torch.Tensor, ...]:
        ids = torch.randint(5, 50, (rows, length))
        return ids, torch.ones_like(ids), torch.zeros_like(ids)

    shape = {0: torch.export.Dim("rows", min=1, max=64), 1: torch.export.Dim("length", min=2, max=38)}
    program = torch.export.export(Entry(), inputs(2, 7), dynamic_shapes=(shape, shape, shape))
    for size in ((2, 7), (3, 24)):
        given = inputs(*size)
        torch.testing.assert_close(program.module()(*given), encoder.padded(*given), rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["bert", "mpnet", "deberta-v3", "modernbert"])
def test_a_gpu_gives_what_the_cpu_gives(kind: str, dropout: float) -> None:
    model_type, sizes = FLAT[kind]
    config = transformers.AutoConfig.for_model(model_type, **sizes | {"hidden_size": 48})
    encoder = build_flat(read_flat(config.to_dict())).train()
    encoder.set_dropout(0.0)
    batch = flat_batch({"sst": (4, 11, 1, 30, 7)})
    expected = encoder(batch)
    encoder.to("cuda").set_dropout(dropout)
    moved = batch.to("cuda")
    with torch.autocast("cuda", torch.bfloat16):
        half = encoder(moved)
    half.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all()
               for name, p in encoder.named_parameters() if "pooler" not in name)
    if dropout == 0:
        torch.testing.assert_close(encoder(moved).cpu(), expected, rtol=1e-4, atol=1e-4)
        assert (half.cpu().float() - expected).abs().max() < 0.15
        again = batch.to("cuda")
        with warnings.catch_warnings():  # the mode warns that it is a prototype
            warnings.simplefilter("ignore")
            torch.cuda.set_sync_debug_mode("error")  # a pass over a new batch waits for nothing
        try:
            encoder(again)
        finally:
            torch.cuda.set_sync_debug_mode("default")
