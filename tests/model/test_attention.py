"""Attention over blocks equals the textbook, with biases and windows, forward and backward."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from polytask.model import attention
from polytask.model.attention import PLAIN, Scoring, attend, attention_maps
from polytask.model.attention_plan import _planned, _windowed, groups_of_like_length, planned
from polytask.model.varlen_attention import has_varlen, sequence_starts

LENGTHS, HEADS, WIDTH = (5, 31, 1, 16, 33, 16), 2, 16


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(7)


def scorings(dtype: torch.dtype) -> dict[str, tuple[Scoring, list[Tensor]]]:
    """What attention may be asked for, each with the tensors that its bias comes from."""
    table = torch.randn(HEADS, 40, 40, dtype=dtype, requires_grad=True)
    weight = torch.randn(WIDTH // HEADS, 40, dtype=dtype, requires_grad=True)
    return {
        "plain": (PLAIN, []),
        "scaled": (Scoring(scale=0.3), []),
        "a bias for all": (Scoring(bias=lambda n, _: table[None, :, :n, :n]), [table]),
        "a bias of content": (Scoring(bias=lambda n, qk: qk()[0] @ weight[:, :n]
                                      + (qk()[1] @ weight[:, :n]).transpose(-1, -2)), [weight]),
        "a window": (Scoring(window=4), []),
        "a window one short of the longest": (Scoring(window=max(LENGTHS) - 2), []),
        "a window and a bias": (Scoring(window=3, bias=lambda n, _: table[None, :, :n, :n]), [table]),
    }


def textbook(qkv: Tensor, scoring: Scoring) -> Tensor:
    """Each sequence by itself, from the formula."""
    out, start = [], 0
    for n in LENGTHS:
        q, k, v = qkv[start:start + n].view(n, 3, HEADS, -1).permute(1, 2, 0, 3).unbind()
        scale = scoring.scale if scoring.scale is not None else 1 / math.sqrt(q.shape[-1])
        scores = scale * q @ k.transpose(1, 2)
        if scoring.bias is not None:
            scores = scores + scoring.bias(n, lambda q=q, k=k: (q[None], k[None]))[0]
        if scoring.window is not None:
            at = torch.arange(n)
            scores = scores.masked_fill((at[:, None] - at).abs() > scoring.window, -math.inf)
        out.append((scores.softmax(-1) @ v).transpose(0, 1).reshape(n, -1))
        start += n
    return torch.cat(out)


@pytest.mark.parametrize("path", ["by hand", "by torch"])
@pytest.mark.parametrize("name", list(scorings(torch.float64)))
def test_it_equals_the_textbook_with_every_gradient(
    name: str, path: str, monkeypatch: pytest.MonkeyPatch,
) -> None:
    scoring, tables = scorings(torch.float64)[name]
    qkv = torch.randn(sum(LENGTHS), 3 * WIDTH, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(sum(LENGTHS), WIDTH, dtype=torch.float64)
    if path == "by torch":
        monkeypatch.setattr(attention, "fused", lambda *tensors: False)
    ours, theirs = attend(qkv, LENGTHS, HEADS, 0.0, scoring), textbook(qkv, scoring)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    own = torch.autograd.grad((ours * weight).sum(), [qkv, *tables])
    other = torch.autograd.grad((theirs * weight).sum(), [qkv, *tables])
    for a, b in zip(own, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", list(scorings(torch.float32)))
def test_maps_are_rows_of_probabilities_within_the_window(name: str) -> None:
    scoring, _ = scorings(torch.float32)[name]
    qkv = torch.randn(sum(LENGTHS), 3 * WIDTH)
    values = qkv[:, 2 * WIDTH:]
    start, mixed = 0, attend(qkv, LENGTHS, HEADS, 0.0, scoring)
    for n, weights in zip(LENGTHS, attention_maps(qkv, LENGTHS, HEADS, scoring), strict=True):
        torch.testing.assert_close(weights.sum(-1), torch.ones(HEADS, n))
        far = (torch.arange(n)[:, None] - torch.arange(n)).abs() > (scoring.window or n)
        assert not weights[:, far].any()
        v = values[start:start + n].view(n, HEADS, -1).transpose(0, 1)
        torch.testing.assert_close((weights @ v).transpose(0, 1).reshape(n, -1), mixed[start:start + n],
                                   rtol=1e-4, atol=1e-5)
        start += n


def test_a_plan_is_made_once_a_batch_and_window() -> None:
    device = torch.device("cpu")
    plan = planned(LENGTHS, device, None)
    assert planned(LENGTHS, device, None) is plan
    assert planned(LENGTHS, device, 4) is not plan


def test_a_window_that_every_sequence_fits_into_needs_no_plan_of_its_own() -> None:
    qkv = torch.randn(sum(LENGTHS), 3 * WIDTH)
    _planned.cache_clear()
    expected = attend(qkv, LENGTHS, HEADS, 0.0)
    assert torch.equal(attend(qkv, LENGTHS, HEADS, 0.0, Scoring(window=32)), expected)
    assert _planned.cache_info().currsize == 1
    assert not torch.allclose(attend(qkv, LENGTHS, HEADS, 0.0, Scoring(window=30)), expected)


def test_sequences_of_like_length_go_together() -> None:
    groups = groups_of_like_length(LENGTHS)
    assert sorted(s for group in groups for s in group) == list(range(len(LENGTHS)))
    for group in groups:
        longest = LENGTHS[group[0]]
        assert all(0.75 * longest - 2 <= LENGTHS[s] <= longest for s in group)
    assert groups_of_like_length((0, 3, 0)) == [[1]]


@pytest.mark.parametrize(("dtype", "window"), [(torch.bfloat16, 4), (torch.float32, None)])
def test_a_gpu_takes_the_flat_batch_as_it_is(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, window: int | None,
) -> None:
    """Where there is one (here: said to), one kernel for all lengths; biases are not the kernel's."""
    asked: list[tuple[Any, ...]] = []

    def kernel(q: Tensor, k: Tensor, v: Tensor, *given: Any, **named: Any) -> tuple[Tensor]:
        asked.append((q.shape, *given, *named.values()))
        return (v,)

    monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", kernel)
    monkeypatch.setattr(torch.ops.aten, "_efficient_attention_forward", kernel)
    monkeypatch.setattr(attention, "has_varlen", lambda *_: True)
    qkv = torch.randn(sum(LENGTHS), 3 * WIDTH, dtype=dtype)
    assert torch.equal(attend(qkv, LENGTHS, HEADS, 0.1, Scoring(window=window)), qkv[:, 2 * WIDTH:])
    (shape, *given), = asked
    starts = next(each for each in given if isinstance(each, Tensor))
    assert starts.dtype == torch.int32 and starts.tolist() == [0, *torch.tensor(LENGTHS).cumsum(0).tolist()]
    numbers = [each for each in given if not isinstance(each, Tensor)]
    assert shape[-3:] == (102, HEADS, 8) and 0.1 in numbers and numbers.count(33) == 2
    assert numbers[-3:] == [8**-0.5, 4, 4] if window else numbers[-1] == 8**-0.5
    asked.clear()
    attend(qkv, LENGTHS, HEADS, 0.0, scorings(dtype)["a bias for all"][0])
    assert not asked


def test_places_first_asked_for_by_a_prediction_serve_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "fused", lambda *_: False)  # as on a GPU: places are saved
    _planned.cache_clear()
    sequence_starts.cache_clear()
    qkv = torch.randn(sum(LENGTHS), 3 * WIDTH, requires_grad=True)
    with torch.inference_mode():
        attend(qkv.detach(), LENGTHS, HEADS, 0.0)
        starts = sequence_starts(LENGTHS, qkv.device)
    attend(qkv, LENGTHS, HEADS, 0.0).sum().backward()
    assert qkv.grad.isfinite().all() and not starts.is_inference()


def test_only_a_few_windows_are_kept() -> None:
    for longest in range(20, 40):
        planned((longest, 3), torch.device("cpu"), 4)
    assert _windowed.cache_info().currsize <= 8


def test_float32_drops_weights_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The float32 kernel drops other weights in its backward pass (pytorch/pytorch#115590)."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))

    class OnGpu:
        is_cuda, device = True, "cuda"

        def __init__(self, dtype: torch.dtype) -> None:
            self.dtype = dtype

        def __len__(self) -> int:
            return 1

    takes = {(dtype, p): has_varlen(OnGpu(dtype), 32, None, p)
             for dtype in (torch.float32, torch.bfloat16) for p in (0.0, 0.1)}
    assert takes == {(torch.float32, 0.0): True, (torch.float32, 0.1): False,
                     (torch.bfloat16, 0.0): True, (torch.bfloat16, 0.1): True}
    asked: list[float] = []
    monkeypatch.setattr(attention, "has_varlen", lambda qkv, head_width, window, p: asked.append(p))
    attend(torch.randn(sum(LENGTHS), 3 * WIDTH), LENGTHS, HEADS, 0.1)
    assert asked == [0.1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 3e-2)])
def test_a_gpus_kernels_give_what_the_blocks_give(dtype: torch.dtype, tolerance: float) -> None:
    lengths = (33, 1, 7, 64, 20)
    qkv = torch.randn(sum(lengths), 3 * 96, requires_grad=True)
    weight = torch.randn(sum(lengths), 96)
    mixed = attend(qkv, lengths, 12, 0.0)
    (expected,) = torch.autograd.grad((mixed * weight).sum(), qkv)
    moved = qkv.detach().to("cuda", dtype).requires_grad_()
    assert attention.has_varlen(moved, 8, None, 0.0)
    result = attend(moved, lengths, 12, 0.0)
    (gradient,) = torch.autograd.grad((result * weight.cuda()).sum(), moved)
    assert (result.cpu() - mixed).abs().max() < tolerance
    assert (gradient.cpu() - expected).abs().max() < 5 * tolerance
    dropped = attend(moved.detach(), lengths, 12, 0.5)
    assert not torch.equal(dropped, result) and (dropped.mean() - result.mean()).abs() < 0.2


ON_GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.mark.parametrize(("device", "dtype"), [
    ("cpu", torch.float32), pytest.param("cuda", torch.float32, marks=ON_GPU),
    pytest.param("cuda", torch.bfloat16, marks=ON_GPU)])
def test_the_gradient_is_that_of_the_weights_that_were_dropped(device: str, dtype: torch.dtype) -> None:
    """A forward pass from the same random state drops the same weights, so differences can be taken."""
    lengths = (5, 130, 1, 40, 70)
    qkv = torch.randn(sum(lengths), 3 * 32, device=device, dtype=dtype, requires_grad=True)
    weight, direction = torch.randn(2, *qkv.shape, device=device, dtype=dtype)
    weight = weight[:, :32]

    def loss(at: Tensor) -> Tensor:
        torch.manual_seed(3)
        return (attend(at, lengths, 2, 0.4) * weight).float().sum()

    (gradient,) = torch.autograd.grad(loss(qkv), qkv)
    # What is mixed is linear in the values, so that their difference may be taken in half precision, too.
    parts = {"queries": 0.01, "keys": 0.01, "values": 1.0} if dtype == torch.float32 else {"values": 1.0}
    for part, step in parts.items():
        along = torch.zeros_like(qkv)
        first = ["queries", "keys", "values"].index(part) * 32
        along[:, first:first + 32] = direction[:, first:first + 32]
        # With gradients on: without them a CPU takes another kernel, and that drops other weights.
        found = (loss(qkv + step * along) - loss(qkv - step * along)).detach() / (2 * step)
        expected = float((gradient * along).float().sum())
        assert float(found) == pytest.approx(expected, rel=0.02, abs=0.02 * float(gradient.float().norm()))
