"""Gradients taken and put back, the norm over all of them, and which parameters surgery acts on."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from networks import flat_batch, tiny_bert, tiny_model
from polytask.learn.gradients import Gradients, operated, trained_by_several
from polytask.learn.gramian import RowGradient
from polytask.learn.surgery.pcgrad import PCGrad
from polytask.model.adapters.pal import PAL
from polytask.model.multitask import MultiTask
from polytask.model.trainable import set_trainable


def after_backward(narrow: bool) -> tuple[MultiTask, Gradients]:
    torch.manual_seed(0)
    model = tiny_model(("sst", "sts"))
    gradients = Gradients([model])
    batch = flat_batch({"sst": (3, 5)})
    if narrow:
        gradients.narrow([batch.ids])
    model(batch)[0].field("logits").square().sum().backward()
    return model, gradients


def test_a_narrowed_table_gives_its_few_rows_and_settles_into_the_plain_gradient() -> None:
    model, gradients = after_backward(narrow=True)
    plain, _ = after_backward(narrow=False)
    word = model.encoder.embeddings.word.weight
    taken = gradients.take(word)
    assert isinstance(taken, RowGradient)
    assert len(taken.rows) < len(word) and gradients.of(word) == []
    gradients.put(word, taken)
    gradients.settle()
    for (name, one), other in zip(model.named_parameters(), plain.parameters(), strict=True):
        if other.grad is None:
            assert one.grad is None, name
        else:
            torch.testing.assert_close(one.grad, other.grad, msg=name)


def test_what_a_penalty_adds_to_the_whole_table_joins_its_rows() -> None:
    model, gradients = after_backward(narrow=True)
    plain, _ = after_backward(narrow=False)
    word = model.encoder.embeddings.word.weight
    (word.sum() * 2).backward()
    assert len(gradients.of(word)) == 2
    taken = gradients.take(word)
    assert isinstance(taken, torch.Tensor)
    torch.testing.assert_close(taken, plain.encoder.embeddings.word.weight.grad + 2)


@pytest.mark.parametrize("whole_table", [False, True])
def test_the_norm_is_that_of_the_plain_gradient(whole_table: bool) -> None:
    model, gradients = after_backward(narrow=True)
    plain, _ = after_backward(narrow=False)
    if whole_table:
        for each in (model, plain):
            # Not the same for all dimensions of a word: a LayerNorm's gradient is orthogonal to that.
            word = each.encoder.embeddings.word.weight
            (word * torch.arange(word.numel()).view_as(word).sin()).sum().backward()
    expected = nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
    norm = gradients.norm()
    assert float(norm) == pytest.approx(float(expected), rel=1e-5)
    gradients.clip(0.5, norm)
    gradients.settle()
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        if other.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-5, atol=1e-8)


def test_clipping_leaves_what_is_small_enough() -> None:
    _, gradients = after_backward(narrow=False)
    before = [p.grad.clone() for p in gradients]
    gradients.clip(1e9, gradients.norm())
    assert all(torch.equal(p.grad, old) for p, old in zip(gradients, before, strict=True))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("narrow", [False, True])
def test_one_bad_entry_shows_in_the_norm(bad: float, narrow: bool) -> None:
    model, gradients = after_backward(narrow)
    held = gradients.of(model.encoder.embeddings.word.weight)[0]
    held.view(-1)[3] = bad
    assert not math.isfinite(float(gradients.norm()))


def test_without_gradients_the_norm_is_zero() -> None:
    model = tiny_model(("sst",))
    gradients = Gradients([model])
    assert float(gradients.norm()) == 0 and list(gradients) == []


def test_heads_and_adapters_of_a_task_are_not_trained_by_several() -> None:
    model = tiny_model(encoder=tiny_bert(num_hidden_layers=3))
    PAL(size=12, heads=3).attach(model, model.tasks)
    of = {id(p): name for name, p in model.named_parameters()}
    names = {of[id(p)] for p in trained_by_several(model, model.tasks)}
    assert not any(name.startswith(("task_heads", "encoder.adapter.tasks")) for name in names)
    assert "encoder.layers.1.up.weight" in names and "encoder.embeddings.word.weight" in names
    assert trained_by_several(model, ["sst"]) == []
    set_trainable(model, (2,))
    assert {of[id(p)].split(".")[2] for p in trained_by_several(model, ("sst", "sts"))} == {"2"}


def test_surgery_acts_on_the_layers_that_it_names() -> None:
    model = tiny_model(encoder=tiny_bert(num_hidden_layers=3))
    shared = trained_by_several(model, model.tasks)
    of = {id(p): name for name, p in model.named_parameters()}
    assert operated(None, model, shared) == operated(PCGrad(), model, shared) == [*range(len(shared))]
    some = operated(PCGrad(layers=(-1, 1)), model, shared)
    names = {of[id(shared[i])] for i in some}
    assert {name.split(".")[1] for name in names} == {"embeddings", "layers"}
    assert {name.split(".")[2] for name in names if ".layers." in name} == {"1"}
