"""PAL against a loop written from the paper, LoRA against the matrices it changes."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from foreign import FLAT, batch_for, checkpoint, network
from networks import flat_batch, randomize, tiny_bert, tiny_model
from polytask.core.errors import ConfigError
from polytask.core.registry import describe
from polytask.model.adapters.lora import LoRA, merged
from polytask.model.adapters.pal import PAL, ProjectedAttention
from polytask.model.bert import Bert, BertConfig
from polytask.model.dropout import Dropout
from polytask.model.encoders import load_any

BATCH = {"sst": (4, 7, 3), "quora": (5, 5), "sts": (9, 2, 6)}


def projected(part: ProjectedAttention, k: int, x: Tensor, heads: int) -> Tensor:
    """What layer k gains for one sequence, from the paper's formula: (length, width)."""
    narrow = x @ part.down.weight.T + part.down.bias
    linear = part.layers[k]
    q, key, v = (narrow @ linear.weight.T + linear.bias).chunk(3, -1)
    size = q.shape[1] // heads
    mixed = []
    for h in range(heads):
        own = slice(h * size, (h + 1) * size)
        shares = torch.softmax(q[:, own] @ key[:, own].T / math.sqrt(size), -1)
        mixed.append(shares @ v[:, own])
    up = torch.cat(mixed, -1) @ part.up.weight.T + part.up.bias
    return up * 0.5 * (1 + torch.erf(up / math.sqrt(2)))


class Loop(torch.nn.Module):
    """The adapter as a loop over tasks and sequences."""

    def __init__(self, parts: Any, heads: int) -> None:
        super().__init__()
        self.parts, self.heads = parts, heads

    def forward(self, k: int, x: Tensor, batch: Any) -> Tensor:
        gained = torch.zeros_like(x)
        for span in batch.spans:
            for s in range(span.sequences.start, span.sequences.stop):
                own = slice(batch.starts[s], batch.starts[s + 1])
                gained[own] = projected(self.parts[span.task], k, x[own], self.heads)
        return gained


@pytest.mark.technique("P-15")
def test_pal_equals_a_loop_over_tasks_and_sequences() -> None:
    model = tiny_model()
    PAL(size=12, heads=3).attach(model, model.tasks)
    randomize(model.encoder.adapter)
    batch = flat_batch(BATCH)
    fast = model.encoder(batch)
    gradient = torch.autograd.grad(fast.square().sum(), model.encoder.adapter.parameters())
    parts, model.encoder.adapter = model.encoder.adapter, None
    plain = model.encoder(batch)
    model.encoder.adapter = Loop(parts.tasks, heads=3)
    slow = model.encoder(batch)
    expected = torch.autograd.grad(slow.square().sum(), parts.parameters())
    assert (slow - plain).abs().max() > 0.1
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-4)


class Constant(torch.nn.Module):
    """An adapter that adds the same to every token of every layer, and keeps what it sees."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain, self.seen = torch.randn(width), list[Tensor]()

    def forward(self, k: int, x: Tensor, batch: Any) -> Tensor:
        self.seen.append(x)
        return self.gain.expand_as(x)


@pytest.mark.technique("P-15")
@pytest.mark.parametrize("kind", sorted(FLAT.keys() - {"modernbert"}))
def test_an_adapter_sees_a_layers_input_and_joins_its_perceptron(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    encoder: Any = load_any(checkpoint(network(*FLAT[kind]), tmp_path), dropout=0.0)[0]
    batch = batch_for(encoder)
    encoder.adapter = adapter = Constant(encoder.width)
    states = encoder.hidden_states(batch)
    for state, seen in zip(states, adapter.seen, strict=False):
        torch.testing.assert_close(seen, state)
    assert len(adapter.seen) == encoder.num_layers
    encoder.adapter = None
    with torch.no_grad():
        for layer in encoder.layers:
            layer.down.bias += adapter.gain
    torch.testing.assert_close(encoder.hidden_states(batch), states, rtol=1e-4, atol=1e-5)


def test_pal_acts_on_a_tasks_own_span_only() -> None:
    model = tiny_model()
    PAL(size=12, heads=3).attach(model, ["quora"])
    batch = flat_batch(BATCH)
    before = model.encoder(batch)
    randomize(model.encoder.adapter)
    after = model.encoder(batch)
    quora = batch.spans[1].tokens
    assert torch.equal(after[: quora.start], before[: quora.start])
    assert torch.equal(after[quora.stop:], before[quora.stop:])
    assert not torch.allclose(after[quora], before[quora])


def test_a_task_gives_gradients_to_no_other_tasks_adapter() -> None:
    model = tiny_model()
    PAL(size=12, heads=3).attach(model, model.tasks)
    randomize(model.encoder.adapter)
    _, quora, _ = model(flat_batch(BATCH))
    quora.logits.sum().backward()
    reached = {name.split(".")[3] for name, p in model.named_parameters()
               if "adapter." in name and p.grad is not None and p.grad.abs().sum() > 0}
    assert reached == {"quora"}
    assert not any("adapter" in name for name, p in model.named_parameters()
                   if id(p) in set(map(id, model.shared_parameters(model.tasks))))


def test_pal_learns_from_its_start_at_zero() -> None:
    model = tiny_model()
    PAL(size=12, heads=3).attach(model, model.tasks)
    sum(output.field(each).sum() for output, each in zip(
        model(flat_batch(BATCH)), ("logits", "logits", "score"), strict=True)).backward()
    assert all(part.up.weight.grad.abs().max() > 0 for part in model.encoder.adapter.tasks.values())


@pytest.mark.technique("P-15")
def test_pal_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        encoder = Bert(BertConfig())
        model = SimpleNamespace(encoder=encoder)
        PAL().attach(model, ["sst"])
    counted = sum(p.numel() for p in encoder.adapter.parameters())
    by_hand = 768 * 204 + 204 + 204 * 768 + 768 + 12 * 3 * (204 * 204 + 204)
    assert counted == by_hand == PAL().num_parameters(encoder) == 1_819_836
    said = PAL().describe(encoder, ["sst", "quora", "sts"])
    assert said == ("pal: 1,819,836 parameters a task, 5,459,508 for 3, "
                    "4.99% of the encoder's 109,482,240")


def test_attaching_pal_again_adds_only_the_tasks_that_lack_it() -> None:
    model = tiny_model()
    PAL(size=12, heads=3).attach(model, ["sst"])
    kept = model.encoder.adapter.tasks["sst"]
    PAL(size=12, heads=3).attach(model, ["sst", "sts"])
    assert model.encoder.adapter.tasks["sst"] is kept
    assert set(model.encoder.adapter.tasks) == {"sst", "sts"}


def test_pal_drops_attention_with_the_encoders_probability() -> None:
    model = tiny_model(dropout=0.5)
    PAL(size=12, heads=3).attach(model, model.tasks)
    randomize(model.encoder.adapter)
    for module in model.encoder.modules():
        if isinstance(module, Dropout) and module is not model.encoder.adapter.tasks["sst"].dropout:
            module.p = 0.0
    batch = flat_batch({"sst": (8, 8)})
    assert not torch.equal(model.encoder(batch), model.encoder(batch))
    model.eval()
    assert torch.equal(model.encoder(batch), model.encoder(batch))


@pytest.mark.parametrize(("targets", "changed"), [
    (("query", "value"), {"query", "value"}),
    (("output", "up", "down"), {"output", "up", "down"}),
])
def test_lora_changes_its_targets_by_the_product_of_its_matrices(
    targets: tuple[str, ...], changed: set[str]
) -> None:
    pytest.importorskip("peft")
    model = tiny_model()
    before = {name: p.detach().clone() for name, p in model.encoder.named_parameters()}
    LoRA(rank=3, alpha=6.0, targets=targets).attach(model, model.tasks)
    randomize(model.encoder, ".lora_")
    low = {name: p for name, p in model.encoder.named_parameters() if ".lora_" in name}
    after = dict(merged(model.encoder).named_parameters())
    assert after.keys() == before.keys()
    seen = set()
    for name, value in after.items():
        place = name.removesuffix(".weight")
        expected = before[name]
        if f"{place}.lora_A.default.weight" in low:
            seen.add(place.rpartition(".")[2])
            expected = expected + 2.0 * (low[f"{place}.lora_B.default.weight"]
                                         @ low[f"{place}.lora_A.default.weight"])
        torch.testing.assert_close(value, expected)
    assert seen == changed


def test_lora_merged_equals_lora_attached() -> None:
    pytest.importorskip("peft")
    model = tiny_model()
    LoRA(rank=3).attach(model, model.tasks)
    randomize(model.encoder, ".lora_")
    batch = flat_batch(BATCH)
    free = merged(model.encoder)
    torch.testing.assert_close(free(batch), model.encoder(batch), rtol=1e-4, atol=1e-5)
    assert any(".lora_" in name for name, _ in model.encoder.named_parameters())
    assert merged(free) is free
    LoRA().attach(SimpleNamespace(encoder=free), ["sst"])  # a merged model can be adapted again


def test_lora_counts_what_it_adds() -> None:
    pytest.importorskip("peft")
    model = tiny_model()
    said = LoRA(rank=3).describe(model.encoder, model.tasks)
    LoRA(rank=3).attach(model, model.tasks)
    counted = sum(p.numel() for p in model.encoder.parameters() if p.requires_grad)
    assert counted == LoRA(rank=3).num_parameters(model.encoder) == 2 * 2 * 3 * (24 + 24)
    assert said == LoRA(rank=3).describe(model.encoder, model.tasks)
    assert said.startswith("lora: 576 parameters, ")


@pytest.mark.parametrize(("settings", "said"), [
    ({"type": "pal", "size": 200}, 'heads: found 12, expected a divisor of size, 200'),
    ({"type": "pal", "size": 0}, "found 0, expected greater than 0"),
    ({"type": "lora", "rank": 0}, "found 0, expected greater than 0"),
    ({"type": "lora", "dropout": 1.0}, "found 1.0, expected less than 1"),
    ({"type": "lora", "targets": []}, "expected at least 1"),
    ({"type": "lora", "rnak": 4}, 'rnak is not a setting; did you mean "rank"?'),
    ("lorra", '"lorra" is not an adapter; did you mean "lora"?'),
])
def test_wrong_settings_are_reported(settings: Any, said: str) -> None:
    from typing import Annotated

    from polytask.core.settings import from_table
    from polytask.core.settings import settings as settings_class
    from polytask.model.adapters.contract import Adapter, adapter

    class Holder:
        adapter: Annotated[Adapter, adapter]

    Holder.__annotations__["adapter"] = Annotated[Adapter, adapter]
    with pytest.raises(ConfigError) as error:
        from_table(settings_class(Holder), {"adapter": settings}, "a.toml")
    assert said in str(error.value)
    assert str(error.value).startswith("a.toml: adapter")


def test_lora_names_the_nearest_layer() -> None:
    model = tiny_model()
    with pytest.raises(ConfigError, match=r'found "qeury", expected a linear layer of the encoder; '
                                          r'did you mean "query"\?'):
        LoRA(targets=("qeury",)).attach(model, model.tasks)


def test_a_foreign_encoder_cannot_carry_pal() -> None:
    foreign = SimpleNamespace(kind="albert")
    said = PAL().problem(foreign)
    assert said is not None
    assert '"albert"' in said
    assert 'adapter = "lora"' in said
    assert PAL().problem(tiny_bert()) is None


def test_the_listing_tells_source_and_fields() -> None:
    told = describe(PAL)
    assert told["name"] == "pal"
    assert "Stickland & Murray 2019" in told["source"]
    defaults = {field["name"]: field["default"] for field in told["fields"]}
    assert defaults == {"size": 204, "heads": 12}
    assert all(field["doc"] for field in told["fields"] + describe(LoRA)["fields"])


@pytest.mark.technique("P-15")
def test_pal_has_the_papers_size_and_heads_by_default() -> None:
    assert (PAL().size, PAL().heads) == (204, 12)
