"""SMART against a network of two parameters computed by hand, and its promises on a real one."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks import BINARY, CLASSES, KINDS, MANY, SCORES, flat_batch, observe, randomize, tiny_model
from polytask.data.batch import Span, TokenBatch
from polytask.data.labels import Labels
from polytask.learn.regularizers.context import RegularizerContext
from polytask.learn.regularizers.contract import attach
from polytask.learn.regularizers.smart import SMART, divergence
from polytask.model.adapters.lora import LoRA
from polytask.model.output import Output
from polytask.model.trainable import set_trainable

TASKS = tuple(KINDS)


class Line(nn.Module):
    """Answers a · x + b for rows of one token, whose embedding is the number x."""

    def __init__(self, a: float, b: float, field: str = "logits") -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(a)), nn.Parameter(torch.tensor(b))
        self.field = field

    @property
    def encoder(self) -> Line:
        return self

    def embed(self, batch: TokenBatch) -> Tensor:
        return batch.ids[:, None].float()

    def __call__(self, batch: TokenBatch, embeddings: Tensor | None = None) -> tuple[Output]:
        x = self.embed(batch) if embeddings is None else embeddings
        return (Output().with_values(self.field, (self.a * x + self.b).squeeze(1)),)


A, B, X = 1.7, -0.4, (2.0, -1.0, 3.0)


def line_moment(labels: Labels, field: str = "logits") -> tuple[Line, RegularizerContext]:
    model = Line(A, B, field)
    batch = TokenBatch(torch.tensor([2, -1, 3]), torch.zeros(3, dtype=torch.long), (1, 1, 1),
                       (Span("t", 3, slice(0, 3), slice(0, 3)),))
    return model, observe(model, batch, labels)


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def hand(noise: list[float], settings: SMART, binary: bool) -> tuple[float, float, float]:
    """The penalty and its derivatives by a and b, for one ascent step, with pencil and paper.

    Binary: d(n) = (s(z + a n) - s(z)) a n with z = a x + b and s the sigmoid; score: d(n) = (a n)².
    """
    value = by_a = by_b = 0.0
    for x, n in zip(X, noise, strict=True):
        z = A * x + B
        p, q = sigmoid(z + A * n), sigmoid(z)
        slope = A * ((p - q) + p * (1 - p) * A * n) if binary else 2 * A * A * n
        if settings.projection == "scale":
            n = n + settings.step_size * slope
            n = settings.radius * n / (abs(n) + settings.epsilon)
        else:
            n = n + settings.step_size * slope / (abs(slope) + settings.epsilon)
            n = min(max(n, -settings.radius), settings.radius)
        p = sigmoid(z + A * n)
        if binary:
            value += (p - q) * A * n / 3
            by_a += ((p * (1 - p) * (x + n) - q * (1 - q) * x) * A * n + (p - q) * n) / 3
            by_b += (p * (1 - p) - q * (1 - q)) * A * n / 3
        else:
            value += (A * n) ** 2 / 3
            by_a += 2 * A * n * n / 3
    return value, by_a, by_b


@pytest.mark.technique("G-5", "G-6", "P-13", "M-23")
@pytest.mark.parametrize("settings", [
    SMART(noise=0.2, step_size=0.5, radius=1.0),
    SMART(noise=0.2, step_size=0.5, radius=0.3, epsilon=0.01),
    SMART(noise=0.2, step_size=0.5, radius=0.4, projection="clip"),
    SMART(noise=0.2, step_size=0.1, radius=9.0, projection="clip", epsilon=0.01),
])
@pytest.mark.parametrize("binary", [True, False])
def test_two_parameters_by_hand(settings: SMART, binary: bool) -> None:
    model, context = line_moment(BINARY if binary else SCORES, "logits" if binary else "score")
    torch.manual_seed(5)
    noise = (torch.randn(3, 1) * 0.2).flatten().tolist()
    torch.manual_seed(5)
    penalty = settings.build(model).penalty(context)
    by_a, by_b = torch.autograd.grad(penalty, (model.a, model.b), allow_unused=True)
    value, hand_a, hand_b = hand(noise, settings, binary)
    assert value > 1e-3
    assert penalty.item() == pytest.approx(value, rel=1e-4)
    assert by_a.item() == pytest.approx(hand_a, rel=1e-4, abs=1e-6)
    assert (0.0 if by_b is None else by_b.item()) == pytest.approx(hand_b, rel=1e-4, abs=1e-6)


@pytest.mark.technique("G-4", "P-12")
def test_one_step_as_the_released_code_computes_it() -> None:
    """noise + step_size · gradient of the summed divergence, over its largest entry a token."""
    model = tiny_model(("sst",))
    context = observe(model, flat_batch({"sst": (4, 6, 3)}), CLASSES)
    torch.manual_seed(7)
    penalty = SMART(noise=0.01).build(model).penalty(context)
    torch.manual_seed(7)
    start = (torch.randn_like(context.embeddings) * 0.01).requires_grad_()
    clean = context.output.logits.detach()

    def both_ways(logits: Tensor) -> Tensor:
        return (F.kl_div(F.log_softmax(logits, -1), F.softmax(clean, -1), reduction="sum")
                + F.kl_div(F.log_softmax(clean, -1), F.softmax(logits, -1), reduction="sum"))

    moved = model(context.batch, context.embeddings.detach() + start)[0].logits
    (slope,) = torch.autograd.grad(both_ways(moved), start)
    step = (start + 1e-3 * slope).detach()
    noise = step / (step.norm(p=math.inf, dim=-1, keepdim=True) + 1e-6)
    assert noise.abs().max().item() == pytest.approx(1.0, abs=1e-3)
    expected = both_ways(model(context.batch, context.embeddings + noise)[0].logits) / 3
    assert penalty.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.technique("P-13")
def test_divergences_agree_with_torchs_on_every_kind() -> None:
    chance = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 5, 3, generator=chance).unbind()
    both = (F.kl_div(a.log_softmax(-1), b.softmax(-1), reduction="none")
            + F.kl_div(b.log_softmax(-1), a.softmax(-1), reduction="none")).sum(-1)
    torch.testing.assert_close(divergence(Output(logits=a), Output(logits=b), CLASSES), both)
    p, q = torch.distributions.Bernoulli(logits=a), torch.distributions.Bernoulli(logits=b)
    each = (torch.distributions.kl_divergence(p, q) + torch.distributions.kl_divergence(q, p))
    torch.testing.assert_close(divergence(Output(logits=a), Output(logits=b), MANY), each.sum(-1))
    torch.testing.assert_close(
        divergence(Output(logits=a[:, 0]), Output(logits=b[:, 0]), BINARY), each[:, 0])
    # Two logits for two classes are one distribution, not two.
    two = divergence(Output(logits=a[:, :2]), Output(logits=b[:, :2]), BINARY)
    one = divergence(Output(logits=a[:, 1] - a[:, 0]), Output(logits=b[:, 1] - b[:, 0]), BINARY)
    torch.testing.assert_close(two, one)
    torch.testing.assert_close(
        divergence(Output(score=a[:, 0]), Output(score=b[:, 0]), BINARY), (a - b)[:, 0].square())


@pytest.mark.parametrize("task", TASKS)
def test_the_released_codes_variant_has_the_value_and_half_the_gradient(task: str) -> None:
    """smart-pytorch's sym_kl_loss: KL(sg(q) | p) + KL(sg(p) | q); half as steep near equal outputs."""
    labels, outputs = KINDS[task]
    field = "score" if labels.is_regression else "logits"
    shape = (4,) if outputs == 1 else (4, outputs)
    base = torch.randn(shape, generator=torch.Generator().manual_seed(2)).double()
    one = (base + 1e-4 * torch.randn(shape, generator=torch.Generator().manual_seed(3))).requires_grad_()
    other = base.clone()
    slopes = {}
    for detach in (False, True):
        value = divergence(Output(**{field: one}), Output(**{field: other}), labels, detach)
        assert torch.equal(value, divergence(Output(**{field: one}), Output(**{field: other}), labels))
        (slopes[detach],) = torch.autograd.grad(value.sum(), one)
    share = 1.0 if labels.is_regression else 0.5  # of a squared difference the target was constant here
    torch.testing.assert_close(slopes[True], share * slopes[False], rtol=1e-2, atol=1e-7)


@pytest.mark.technique("G-4", "P-12")
def test_detached_divergence_is_torchs_kl_with_constant_targets() -> None:
    a, b = (torch.randn(5, 3, requires_grad=True) for _ in range(2))
    ours = divergence(Output(logits=a), Output(logits=b), CLASSES, detach=True).sum()
    theirs = (F.kl_div(a.log_softmax(-1), b.softmax(-1).detach(), reduction="sum")
              + F.kl_div(b.log_softmax(-1), a.softmax(-1).detach(), reduction="sum"))
    torch.testing.assert_close(ours, theirs)
    for one, other in zip(torch.autograd.grad(ours, [a, b]), torch.autograd.grad(theirs, [a, b]),
                          strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.technique("G-4", "P-12")
def test_the_sum_is_the_mean_times_the_rows_of_the_draw() -> None:
    values = {}
    for reduction in ("mean", "sum"):
        torch.manual_seed(0)
        model, context = line_moment(BINARY)
        values[reduction] = SMART(reduction=reduction).build(model).penalty(context).item()  # type: ignore[arg-type]
    assert values["sum"] == pytest.approx(3 * values["mean"], rel=1e-5)
    torch.manual_seed(0)
    model, context = line_moment(BINARY)
    half = SMART(reduction="sum").build(model).penalty(replace(context, share=0.5)).item()
    assert half == pytest.approx(2 * values["sum"], rel=1e-5)  # the step multiplies it by the share


@pytest.mark.parametrize("task", TASKS)
def test_without_noise_the_same_masks_leave_exactly_nothing(task: str) -> None:
    model = tiny_model(TASKS, dropout=0.5).train()
    batch = flat_batch({task: (6, 9, 4, 7)})
    context = observe(model, batch, KINDS[task][0])
    assert SMART(noise=0.0).build(model).penalty(context).item() == 0.0
    other = model(batch)[0]
    assert divergence(other, context.output, KINDS[task][0]).max() > 0  # other masks, other answers


def test_the_ascent_keeps_no_gradient_and_disturbs_no_random_number() -> None:
    model = tiny_model(TASKS, dropout=0.5).train()
    context = observe(model, flat_batch({"sst": (6, 9, 4)}), CLASSES)
    torch.manual_seed(3)
    torch.randn_like(context.embeddings)
    expected = torch.get_rng_state()
    torch.manual_seed(3)
    penalty = SMART(steps=3, noise=0.1).build(model).penalty(context)
    assert torch.equal(torch.get_rng_state(), expected)  # the first noise was all that was drawn
    assert all(p.grad is None for p in model.parameters())
    penalty.backward()
    assert model.encoder.embeddings.word.weight.grad.abs().sum() > 0


def test_ascent_finds_noise_that_changes_more() -> None:
    torch.manual_seed(0)
    model = tiny_model(("sst",))
    randomize(model.task_heads, "")
    context = observe(model, flat_batch({"sst": (6, 9, 4, 5)}), CLASSES)

    def after(steps: int, step_size: float) -> float:
        torch.manual_seed(2)
        settings = SMART(noise=0.01, step_size=step_size, steps=steps, projection="clip", radius=0.05)
        return settings.build(model).penalty(context).item()

    still, one, five = after(1, 0.0), after(1, 0.02), after(5, 0.02)
    assert still < one < five


def test_descent_on_the_penalty_lowers_it() -> None:
    model = tiny_model(("sst",))
    randomize(model.task_heads, "")
    module = SMART(noise=0.01).build(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batch, values = flat_batch({"sst": (6, 9, 4, 5)}), []
    for _ in range(15):
        optimizer.zero_grad()
        torch.manual_seed(4)
        penalty = module.penalty(observe(model, batch, CLASSES))
        penalty.backward()
        optimizer.step()
        values.append(penalty.item())
    assert values[-1] < 0.3 * values[0]


def test_only_chosen_tasks_are_regularized() -> None:
    made = attach(SMART(tasks=("sst",)), tiny_model())
    assert made.perturbs
    assert made.scope == "task"
    assert made.acts_on("sst")
    assert not made.acts_on("quora")


def proximal(model: nn.Module, batch: TokenBatch, momentum: float = 0.9) -> Any:
    """The Bregman half alone: the smoothness half is nought without noise."""
    return SMART(noise=0.0, bregman=2.0, momentum=momentum).build(model)


def step(model: nn.Module, seed: int) -> None:
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("copied_in_training", [True, False])
def test_the_proximal_half_is_nothing_before_the_first_update(task: str, copied_in_training: bool) -> None:
    model = tiny_model(TASKS, dropout=0.5).train(copied_in_training)
    batch = flat_batch({task: (6, 9, 4)})
    module = proximal(model, batch)
    model.train()
    assert module.penalty(observe(model, batch, KINDS[task][0])).item() == 0.0
    step(model, 1)
    assert module.penalty(observe(model, batch, KINDS[task][0])).item() > 0.0


@pytest.mark.technique("M-23")
def test_the_averaged_copy_follows_by_its_momentum() -> None:
    model = tiny_model(("sst",))
    module = proximal(model, flat_batch({"sst": (3,)}), momentum=0.9)
    expected = {name: p.detach().clone() for name, p in model.named_parameters()}
    for seed in range(3):
        step(model, seed)
        module.after_step()
        expected = {name: 0.9 * old + 0.1 * p.detach()
                    for (name, p), old in zip(model.named_parameters(), expected.values(),
                                              strict=True)}
    for name, value in module.teacher.named_parameters():
        torch.testing.assert_close(value, expected[name])
        assert not value.requires_grad


@pytest.mark.technique("M-23")
def test_the_proximal_half_is_the_divergence_from_the_copys_answer() -> None:
    model, context = line_moment(BINARY)
    module = proximal(model, context.batch, momentum=0.5)
    with torch.no_grad():
        model.a.add_(0.3)
    module.after_step()  # the copy is half-way
    again = observe(model, context.batch, BINARY)
    by_hand = sum((sigmoid((A + 0.3) * x + B) - sigmoid((A + 0.15) * x + B)) * 0.15 * x
                  for x in X) / 3
    penalty = module.penalty(again)
    assert penalty.item() == pytest.approx(2.0 * by_hand, rel=1e-4)
    assert not module.teacher(context.batch)[0].logits.requires_grad
    penalty.backward()
    assert model.a.grad > 0  # back towards the copy
    assert module.teacher.a.grad is None


def test_the_copy_is_saved_and_found_again() -> None:
    model = tiny_model(("sst",))
    module = proximal(model, flat_batch({"sst": (3,)}))
    step(model, 1)
    module.after_step()
    again = proximal(model, flat_batch({"sst": (3,)}))
    again.load_state_dict(module.state_dict())
    for one, other in zip(module.teacher.parameters(), again.teacher.parameters(), strict=True):
        assert torch.equal(one, other)
    assert all(not p.requires_grad for p in again.parameters())


def test_without_a_proximal_half_no_copy_is_kept() -> None:
    module = SMART().build(tiny_model(("sst",)))
    assert module.teacher is None
    assert not module.state_dict()
    module.after_step()


def test_it_reaches_what_is_trained_when_the_embeddings_are_not() -> None:
    model = tiny_model(TASKS)
    set_trainable(model, (1,))
    module = SMART(bregman=1.0, noise=0.1).build(model)
    module.penalty(observe(model, flat_batch({"sst": (6, 9)}), CLASSES)).backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None}
    assert any(name.startswith("encoder.layers.1.") for name in reached)
    assert all(name.startswith(("encoder.layers.1.", "task_heads.sst.")) for name in reached)


def test_it_works_beside_lora() -> None:
    pytest.importorskip("peft")
    model = tiny_model(TASKS)
    LoRA(rank=2).attach(model, TASKS)
    randomize(model.encoder, ".lora_")
    module = SMART(bregman=1.0, noise=0.1).build(model)
    module.penalty(observe(model, flat_batch({"sst": (6, 9)}), CLASSES)).backward()
    inside = {name for name, p in model.encoder.named_parameters() if p.grad is not None}
    assert inside
    assert all(".lora_" in name for name in inside)
    step(model, 1)
    module.after_step()
    for one, other in zip(module.teacher.parameters(), model.parameters(), strict=True):
        assert one.shape == other.shape
