"""Encoders outside the flat families against transformers' own model on each sentence alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import foreign
from foreign import FLAT, LENGTHS, PADDED, alone, batch_for, checkpoint
from networks import flat_batch, tiny_model
from polytask.core.errors import CheckpointError, ConfigError
from polytask.data.batch import TokenBatch
from polytask.model.adapters.lora import LoRA, merged
from polytask.model.adapters.pal import PAL
from polytask.model.flat_encoder import BertPooler
from polytask.model.poolings.cls import Cls
from polytask.model.poolings.pooler import Pooler
from polytask.model.trainable import apart_problem, parameter_groups, set_trainable
from polytask.model.transformers_encoder import load_backbone, wrap

transformers = pytest.importorskip("transformers")
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    kind: PADDED[kind] for kind in ("deberta", "bert of an activation", "deberta-v2 of keys apart")
} | {kind: FLAT[kind] for kind in ("roberta", "albert", "modernbert")}  # any family could run so
KINDS = sorted(CONFIGS)


def network(kind: str) -> Any:
    """A random model of transformers."""
    return foreign.network(*CONFIGS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_flat_batch_gives_what_each_sentence_gives_alone(kind: str) -> None:
    model = network(kind)
    backbone = wrap(model)
    batch = batch_for(backbone)
    outputs = alone(model, batch, backbone.has_segments, output_hidden_states=True)
    expected = torch.cat([each.last_hidden_state[0] for each in outputs])
    torch.testing.assert_close(backbone(batch), expected, rtol=1e-4, atol=1e-5)
    states = backbone.hidden_states(batch)
    assert len(states) == backbone.num_layers + 1 == 4
    for k, state in enumerate(states):
        own = torch.cat([each.hidden_states[k][0] for each in outputs])
        torch.testing.assert_close(state, own, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_attention_is_that_of_each_sentence_alone(kind: str) -> None:
    backbone = wrap(network(kind))
    batch = batch_for(backbone)
    maps = backbone.attentions(batch)
    assert len(maps) == 3
    for layer in maps:
        for attention, length in zip(layer, batch.lengths, strict=True):
            assert attention.shape == (3, length, length)
            torch.testing.assert_close(attention.sum(-1), torch.ones(3, length))
    one = TokenBatch(batch.ids[4:15], batch.segments[4:15], batch.lengths[1:2])
    torch.testing.assert_close(maps[2][1], backbone.attentions(one)[2][0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_reaches_embeddings_that_were_replaced(kind: str) -> None:
    backbone = wrap(network(kind))
    batch = batch_for(backbone)
    words = backbone.embed(batch)
    torch.testing.assert_close(backbone(batch, words), backbone(batch))
    moved = words.detach().clone().requires_grad_()
    backbone(batch, moved)[:4].square().sum().backward()
    assert moved.grad is not None
    assert (moved.grad[:4].abs().sum(-1) > 0).all()
    assert (moved.grad[4:] == 0).all()  # the other sequences bear nothing on the first


@pytest.mark.parametrize("kind", KINDS)
def test_the_padded_entry_agrees_with_the_flat_one(kind: str) -> None:
    backbone = wrap(network(kind))
    batch = batch_for(backbone)
    shape = (len(batch.lengths), max(batch.lengths))
    ids = torch.full(shape, backbone.config.pad_token_id or 0)
    mask, segments = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    for s, (start, n) in enumerate(zip(batch.starts, batch.lengths, strict=False)):
        ids[s, :n], mask[s, :n] = batch.ids[start:start + n], 1
        segments[s, :n] = batch.segments[start:start + n]
    padded = backbone.padded(ids, mask, segments)[mask.bool()]
    torch.testing.assert_close(padded, backbone(batch), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_opens_with_automodel_and_again_here(kind: str, tmp_path: Path) -> None:
    model = network(kind)
    expected = {key: value.clone() for key, value in model.state_dict().items()}
    backbone = wrap(model)
    batch = batch_for(backbone)
    backbone.save(checkpoint(model, tmp_path / "from") / "tokenizer.json", tmp_path / "to")
    opened = transformers.AutoModel.from_pretrained(tmp_path / "to").state_dict()
    assert opened.keys() == expected.keys()
    assert all(torch.equal(opened[key], expected[key]) for key in opened)
    again, tokenizer = load_backbone(tmp_path / "to", own=True)
    assert torch.equal(again(batch), backbone(batch))
    assert (again.pooler is None) == (kind not in ("roberta", "albert", "bert of an activation"))
    if again.pooler is not None:
        states = torch.randn(3, 24)
        assert torch.equal(again.pooler(states), backbone.pooler(states))
    assert tokenizer == tmp_path / "to" / "tokenizer.json"
    assert len(transformers.AutoTokenizer.from_pretrained(tmp_path / "to")("a b").input_ids) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_has_its_layer(kind: str) -> None:
    backbone = wrap(network(kind))
    layers: dict[int, list[str]] = {}
    for name, _ in backbone.named_parameters():
        layers.setdefault(backbone.layer_of(name), []).append(name)
    has_pooler: set[int] = {4} if backbone.pooler is not None else set()
    assert set(layers) == ({0, 1} if kind == "albert" else {0, 1, 2, 3}) | has_pooler
    assert all("embed" in name or "encoder.LayerNorm" in name for name in layers[0])
    if kind == "modernbert":
        assert "network.final_norm.weight" in layers[3]
    if kind != "albert":  # its layers are one
        in_layers = {k: {name for name in names if "final" not in name and k in (1, 2, 3)}
                     for k, names in layers.items()}
        assert len(in_layers[2]) == len(in_layers[3]) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_of_tasks_trains_on_it(kind: str) -> None:
    backbone = wrap(network(kind)).train()
    backbone.set_dropout(0.0)
    backbone.pooler = backbone.pooler or BertPooler(24)
    model = tiny_model(encoder=backbone)
    optimizer = torch.optim.AdamW(parameter_groups(model, lr=5e-3))
    batch, losses = flat_batch({"sst": (4, 7, 3), "quora": (5, 5), "sts": (9, 2)}, vocab=60), []
    for _ in range(40):
        optimizer.zero_grad()
        sst, quora, sts = model(batch)
        loss = (torch.nn.functional.cross_entropy(sst.logits, torch.tensor([0, 1, 2]))
                + quora.logits.square().sum() + (sts.score - 0.5).square().sum())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_set_everywhere(kind: str) -> None:
    backbone = wrap(network(kind)).train()
    batch = batch_for(backbone)
    backbone.set_dropout(0.5)
    assert not torch.equal(backbone(batch), backbone(batch))
    backbone.set_dropout(0.0)
    assert torch.equal(backbone(batch), backbone.eval()(batch))


@pytest.mark.parametrize("kind", KINDS)
def test_lora_reaches_every_encoder(kind: str) -> None:
    pytest.importorskip("peft")
    backbone = wrap(network(kind))
    batch = batch_for(backbone)
    before = backbone(batch)
    names = set(backbone.state_dict())
    LoRA(rank=2, targets=("query", "value")).attach(SimpleNamespace(encoder=backbone), ["sst"])
    torch.testing.assert_close(backbone(batch), before, rtol=1e-4, atol=1e-5)
    low = [p for name, p in backbone.named_parameters() if ".lora_" in name]
    assert low
    with torch.no_grad():
        for parameter in low:
            parameter.normal_(std=0.3)
    assert not torch.allclose(backbone(batch), before)
    free = merged(backbone)
    assert set(free.state_dict()) == names
    torch.testing.assert_close(free(batch), backbone(batch), rtol=1e-3, atol=1e-4)


def test_positions_of_roberta_begin_behind_the_padding() -> None:
    backbone = wrap(network("roberta"))
    assert backbone.max_length == 38
    backbone(flat_batch({"sst": (38,)}, vocab=60))
    with pytest.raises(ConfigError, match="found a sequence of 39 tokens, expected at most 38"):
        backbone(flat_batch({"sst": (39,)}, vocab=60))


def test_segments_are_passed_over_where_there_are_none() -> None:
    backbone, batch = wrap(network("roberta")), flat_batch(LENGTHS, vocab=60)
    marked = TokenBatch(batch.ids, torch.ones_like(batch.ids), batch.lengths, batch.spans)
    assert torch.equal(backbone(marked), backbone(batch))


def test_what_cannot_work_is_refused_with_its_remedy() -> None:
    albert = wrap(network("albert"))
    model = SimpleNamespace(encoder=albert, named_parameters=albert.named_parameters)
    assert 'adapter = "lora"' in str(PAL().problem(albert))
    with pytest.raises(ConfigError, match=r'encoder\.adapter: "pal" .*but "albert" runs padded'):
        PAL().attach(model, ["sst"])
    with pytest.raises(ConfigError, match=r'encoder\.trainable: the 3 layers of "albert" share'):
        set_trainable(model, (1,))
    with pytest.raises(ConfigError, match='remove layer_decay, layer_rates and lists of'):
        parameter_groups(model, lr=1e-3, layer_decay=0.9)
    assert parameter_groups(model, lr=1e-3)
    assert apart_problem(wrap(network("roberta"))) is None


def test_a_pooler_that_the_checkpoint_lacks_is_not_made_up(tmp_path: Path) -> None:
    model = network("roberta")
    tokenizer = checkpoint(model, tmp_path / "from") / "tokenizer.json"
    wrap(model, pooler=False).save(tokenizer, tmp_path / "to")
    backbone, _ = load_backbone(tmp_path / "to", dropout=0.25)
    assert backbone.pooler is None
    assert any('pooling = "pooler" cannot be used' in note for note in backbone.notes)
    assert "pooler" in str(Pooler().problem(backbone))
    assert Cls().problem(backbone) is None
    assert {m.p for m in backbone.modules() if isinstance(m, torch.nn.Dropout)} == {0.25}


def test_weights_that_are_not_those_of_the_config_are_refused(tmp_path: Path) -> None:
    model = network("roberta")
    wrap(model).save(checkpoint(model, tmp_path / "from") / "tokenizer.json", tmp_path / "to")
    file = tmp_path / "to" / "model.safetensors"
    weights = load_file(file)
    name = next(key for key in sorted(weights) if key.endswith("LayerNorm.bias"))
    for content, said in (
            (weights | {"zzz": torch.zeros(2)}, "zzz has no place in the network"),
            ({key: weights[key] for key in weights if key != name}, f"the weights lack {name}"),
            (weights | {name: weights[name] + float("inf")}, f"numbers of {name} are NaN or")):
        save_file(content, file, {"format": "pt"})
        with pytest.raises(CheckpointError) as error:
            load_backbone(tmp_path / "to", own=True)
        assert said in str(error.value) and str(file) in str(error.value)


@pytest.mark.parametrize(("count", "said"), [
    (0, None), (1, "its weights lack {}, which start at random"),
    (3, "its weights lack {} and 2 more, which start at random")])
def test_tensors_that_another_s_checkpoint_lacks_are_reported(count: int, said: str | None,
                                                              tmp_path: Path) -> None:
    folder = checkpoint(network("roberta"), tmp_path / "from")
    file = folder / "model.safetensors"
    weights = load_file(file)
    lacking = [key for key in sorted(weights) if "LayerNorm.bias" in key][:count]
    save_file({key: weights[key] for key in weights if key not in lacking}, file, {"format": "pt"})
    notes = [note for note in load_backbone(folder)[0].notes if "lack" in note]
    assert notes == ([] if said is None else [f"{folder}: {said.format(lacking[0])}"])


@pytest.mark.parametrize(("config", "sentence"), [
    ('{"model_type": "robberta"}', 'found model_type "robberta", which transformers'),
    ('{"model_type": "gpt2"}', 'found model_type "gpt2", which generates text; expected an encoder'),
    ('{"model_type": "t5"}', 'found model_type "t5", which generates text; expected an encoder'),
    ('{"model_type": "roberta"}', "transformers cannot read it"),
    ("{", "it is not JSON"),
])
def test_a_folder_that_is_not_an_encoder_is_reported(tmp_path: Path, config: str, sentence: str) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(CheckpointError) as error:
        load_backbone(tmp_path)
    assert sentence in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)
