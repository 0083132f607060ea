"""What every registered adapter promises, whatever it does."""

from __future__ import annotations

import pytest
import torch

from networks import flat_batch, tiny_model
from polytask.model.adapters.contract import adapter
from polytask.model.adapters.lora import merged
from polytask.model.multitask import MultiTask
from polytask.model.trainable import parameter_groups, set_trainable

NAMES = sorted(adapter.members)
TINY = {"pal": {"size": 12, "heads": 3}, "lora": {"rank": 3}}
BATCH = {"sst": (4, 7, 3), "quora": (5, 5), "sts": (9, 2, 6)}


def attached(name: str) -> tuple[MultiTask, MultiTask]:
    """A model and its copy with the adapter."""
    if name == "lora":
        pytest.importorskip("peft")
    plain, made = tiny_model(), tiny_model()
    made.load_state_dict(plain.state_dict())
    adapter.members[name](**TINY.get(name, {})).attach(made, made.tasks)
    set_trainable(made)
    return plain, made


def train(model: MultiTask, steps: int = 25) -> list[float]:
    """Train on one batch to a fixed answer; return the losses."""
    torch.manual_seed(1)
    optimizer = torch.optim.AdamW(parameter_groups(model, lr=1e-2, weight_decay=0.1))
    batch, losses = flat_batch(BATCH), []
    for _ in range(steps):
        optimizer.zero_grad()
        sst, quora, sts = model(batch)
        loss = (torch.nn.functional.cross_entropy(sst.logits, torch.tensor([0, 1, 2]))
                + (quora.logits.sigmoid() - torch.tensor([0.0, 1.0])).square().sum()
                + (sts.score - torch.tensor([0.0, 1.0, 0.5])).square().sum())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", NAMES)
def test_attaching_changes_nothing(name: str) -> None:
    plain, made = attached(name)
    batch = flat_batch(BATCH)
    torch.testing.assert_close(made.encoder(batch), plain.encoder(batch), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_frozen_stays_bit_equal_and_the_rest_learns(name: str) -> None:
    _, made = attached(name)
    before = {key: value.clone() for key, value in made.state_dict().items()}
    losses = train(made)
    assert losses[-1] < 0.5 * losses[0]
    for key, parameter in made.named_parameters():
        same = torch.equal(parameter, before[key])
        assert same or parameter.requires_grad, f"{key} is frozen and moved"
    own = [key for key in before if key.startswith("encoder.adapter.") or ".lora_" in key]
    assert own
    still = [key for key in own if torch.equal(made.state_dict()[key], before[key])]
    assert not still, f"never trained: {still}"


@pytest.mark.parametrize("name", NAMES)
def test_it_adds_as_many_parameters_as_it_says(name: str) -> None:
    plain, made = attached(name)
    settings = adapter.members[name](**TINY.get(name, {}))
    added = (sum(p.numel() for p in made.encoder.parameters())
             - sum(p.numel() for p in plain.encoder.parameters()))
    assert added in (settings.num_parameters(plain.encoder),
                     settings.num_parameters(plain.encoder) * len(made.tasks))
    said = settings.describe(made.encoder, made.tasks)
    assert f"{settings.num_parameters(plain.encoder):,}" in said


@pytest.mark.parametrize("name", NAMES)
def test_it_has_a_sentence_for_the_model_card(name: str) -> None:
    said = adapter.members[name]().about()
    assert said.endswith(".")
    assert name in said.lower()


@pytest.mark.parametrize("name", NAMES)
def test_a_sequence_does_not_see_the_others_of_the_batch(name: str) -> None:
    _, made = attached(name)
    train(made, 3)
    batch = flat_batch(BATCH)
    whole = made.encoder(batch)
    for span in batch.spans:
        alone = made.encoder(batch.narrow(span))
        torch.testing.assert_close(whole[span.tokens], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_saved_and_merged_without_loss(name: str) -> None:
    _, made = attached(name)
    train(made, 3)
    made.eval()
    batch = flat_batch(BATCH)
    expected = made.encoder(batch)
    _, again = attached(name)
    again.load_state_dict(made.state_dict())
    assert torch.equal(again.eval().encoder(batch), expected)
    torch.testing.assert_close(merged(made.encoder)(batch), expected, rtol=1e-4, atol=1e-5)
