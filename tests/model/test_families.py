"""Every family of the flat path equals transformers' own model on each sentence alone."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from foreign import FLAT, LENGTHS, PADDED, alone, batch_for, checkpoint, network
from networks import flat_batch, randomize, tiny_model
from polytask.core.errors import CheckpointError, ConfigError
from polytask.data.batch import TokenBatch
from polytask.model.adapters.lora import LoRA, merged
from polytask.model.adapters.pal import PAL
from polytask.model.encoders import load_any, save_any
from polytask.model.families import FAMILIES, build_flat
from polytask.model.flat_config import flat_problem, read_flat
from polytask.model.flat_encoder import BertPooler, FlatEncoder
from polytask.model.trainable import apart_problem, parameter_groups, set_trainable
from polytask.model.transformers_encoder import Backbone

transformers = pytest.importorskip("transformers")
KINDS = sorted(FLAT)
# What transformers' configs call the probabilities of dropout.
DROPOUTS = {"hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout",
            "embedding_dropout", "mlp_dropout"}
Pair = tuple[Any, FlatEncoder]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(5)


def opened(kind: str, folder: Path) -> Pair:
    """Return transformers' model and ours of the same weights, without dropout."""
    model = network(*FLAT[kind])
    encoder, _, _ = load_any(checkpoint(model, folder / "theirs"), dropout=0.0)
    assert isinstance(encoder, FlatEncoder)
    return model, encoder


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_states_and_every_gradient_equal_transformers(kind: str, training: bool, tmp_path: Path) -> None:
    model, encoder = opened(kind, tmp_path)
    encoder.train(training)
    batch = batch_for(encoder)
    outputs = alone(model, batch, encoder.has_segments, output_hidden_states=True)
    states = encoder.hidden_states(batch)
    assert len(states) == encoder.num_layers + 1
    for k, state in enumerate(states):
        torch.testing.assert_close(state, torch.cat([each.hidden_states[k][0] for each in outputs]),
                                   rtol=1e-5, atol=1e-5)
    ours, theirs = encoder(batch), torch.cat([each.last_hidden_state[0] for each in outputs])
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    weight = torch.randn_like(ours)
    loss, peer_loss = (ours * weight).sum() / len(ours), (theirs * weight).sum() / len(ours)
    if encoder.pooler is not None:
        pooled, peer = encoder.pooler(ours[batch.first]), torch.cat([o.pooler_output for o in outputs])
        torch.testing.assert_close(pooled, peer, rtol=1e-5, atol=1e-5)
        loss, peer_loss = loss + pooled.sin().mean(), peer_loss + peer.sin().mean()
    loss.backward()
    peer_loss.backward()
    family, others = FAMILIES[encoder.kind], dict(model.named_parameters())
    for name, parameter in encoder.named_parameters():
        other = others.pop(family.weight(name))
        if other.grad is None:  # a projection of positions that a layer has but does not use
            assert parameter.grad is None or not parameter.grad.any(), name
            continue
        assert parameter.grad is not None, name
        largest = max(1.0, float(other.grad.abs().max()))
        torch.testing.assert_close(parameter.grad, other.grad, rtol=0, atol=1e-5 * largest,
                                   msg=lambda text, name=name: f"{name}: {text}")
    assert not others


@pytest.mark.parametrize("kind", KINDS)
def test_attention_equals_transformers(kind: str, tmp_path: Path) -> None:
    model, encoder = opened(kind, tmp_path)
    model.set_attn_implementation("eager")
    batch = batch_for(encoder)
    outputs = alone(model, batch, encoder.has_segments, output_attentions=True)
    for k, layer in enumerate(encoder.attentions(batch)):
        for s, own in enumerate(layer):
            torch.testing.assert_close(own, outputs[s].attentions[k][0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_replaced_embeddings_get_their_gradient_and_reach_their_own_sequence_alone(
    kind: str, tmp_path: Path,
) -> None:
    _, encoder = opened(kind, tmp_path)
    batch = batch_for(encoder)
    words = encoder.embed(batch)
    assert torch.equal(encoder(batch, words), encoder(batch))
    moved = words.detach().clone().requires_grad_()
    encoder(batch, moved)[:4].square().sum().backward()
    assert moved.grad is not None
    assert (moved.grad[:4].abs().sum(-1) > 0).all()
    assert (moved.grad[4:] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_padded_entry_agrees_with_the_flat_one(kind: str, tmp_path: Path) -> None:
    _, encoder = opened(kind, tmp_path)
    batch = batch_for(encoder)
    shape = (len(batch.lengths), max(batch.lengths))
    ids, mask, segments = (torch.zeros(shape, dtype=torch.long) for _ in range(3))
    for s, (start, n) in enumerate(zip(batch.starts, batch.lengths, strict=False)):
        ids[s, :n], mask[s, :n] = batch.ids[start:start + n], 1
        segments[s, :n] = batch.segments[start:start + n]
    padded = encoder.padded(ids, mask, segments)
    assert padded.isfinite().all()
    torch.testing.assert_close(padded[mask.bool()], encoder(batch), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_opens_with_automodel_and_again_here(kind: str, tmp_path: Path) -> None:
    model, encoder = opened(kind, tmp_path)
    save_any(encoder, tmp_path / "theirs" / "tokenizer.json", tmp_path / "ours")
    again = transformers.AutoModel.from_pretrained(tmp_path / "ours")
    assert type(again) is type(model)
    weights = model.state_dict()
    assert again.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in again.state_dict().items())
    config, peer = again.config.to_dict(), model.config.to_dict()
    assert {key for key in peer if config.get(key) != peer[key]} <= {
        "dtype", "architectures", "_name_or_path", "hidden_dropout_prob", "transformers_version",
        "attention_probs_dropout_prob", "dropout", "attention_dropout", "position_embedding_type"}
    ours, tokenizer, _ = load_any(tmp_path / "ours", own=True)
    batch = batch_for(encoder)
    assert torch.equal(ours(batch), encoder(batch))
    assert tokenizer == tmp_path / "ours" / "tokenizer.json"
    assert len(transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")("a b").input_ids) >= 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_has_its_layer(kind: str, tmp_path: Path) -> None:
    _, encoder = opened(kind, tmp_path)
    layers: dict[int, list[str]] = {}
    for name, _ in encoder.named_parameters():
        layers.setdefault(encoder.layer_of(name), []).append(name)
    own = set(range(1, len(encoder.layers) + 1)) | {0}
    assert set(layers) == own | ({encoder.num_layers + 1} if encoder.pooler is not None else set())
    assert all(name.startswith("embeddings.") for name in layers[0])
    assert encoder.shared_layers == kind.startswith("albert")


def test_a_norm_after_the_last_layer_belongs_to_it(tmp_path: Path) -> None:
    assert opened("modernbert", tmp_path)[1].layer_of("final_norm.weight") == 3


@pytest.mark.parametrize("kind", KINDS)
def test_tasks_train_on_it_with_adapters_layers_and_rates_of_their_own(kind: str, tmp_path: Path) -> None:
    _, encoder = opened(kind, tmp_path)
    encoder.pooler = encoder.pooler or BertPooler(24)
    model = tiny_model(encoder=encoder.train())
    assert PAL().problem(encoder) is None
    before = model(flat_batch(LENGTHS | {"sts": (9, 2)}, vocab=60))
    PAL(size=6, heads=2).attach(model, model.tasks)
    for was, now in zip(before, model(flat_batch(LENGTHS | {"sts": (9, 2)}, vocab=60)), strict=True):
        torch.testing.assert_close(was.u, now.u)
    rates = {} if encoder.shared_layers else {"layer_decay": 0.9, "rates": {"0": 0.5}}
    optimizer = torch.optim.AdamW(parameter_groups(model, lr=5e-3, **rates))
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
    assert all(p.grad is not None and p.grad.any() for p in encoder.adapter.tasks["sst"].parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_layers_freeze(kind: str, tmp_path: Path) -> None:
    _, encoder = opened(kind, tmp_path)
    model = SimpleNamespace(encoder=encoder)
    if encoder.shared_layers:
        with pytest.raises(ConfigError, match=r'encoder\.trainable: the . layers of "albert" share'):
            set_trainable(model, (1,))
        return
    set_trainable(model, (1,))
    encoder.train()(batch_for(encoder)).square().mean().backward()
    trained = {name for name, p in encoder.named_parameters() if p.grad is not None}
    assert trained == {name for name, _ in encoder.named_parameters() if encoder.layer_of(name) == 2}


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_set_everywhere_and_saved(kind: str, tmp_path: Path) -> None:
    _, encoder = opened(kind, tmp_path)
    batch = batch_for(encoder)
    encoder.train().set_dropout(0.5)
    assert not torch.equal(encoder(batch), encoder(batch))
    save_any(encoder, tmp_path / "theirs" / "tokenizer.json", tmp_path / "ours")
    assert load_any(tmp_path / "ours")[0].config.hidden_dropout_prob == 0.5
    encoder.set_dropout(0.0)
    assert torch.equal(encoder(batch), encoder(batch))


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_acts_where_transformers_has_it(kind: str, tmp_path: Path) -> None:
    # A probability of 1 leaves no chance: what dropout does not reach is all that the states are made of.
    model, encoder = opened(kind, tmp_path)
    for name in vars(model.config).keys() & DROPOUTS:
        setattr(model.config, name, 1.0)
    weights, model = model.state_dict(), type(model)(model.config).train()
    model.load_state_dict(weights)
    encoder.train().set_dropout(1.0)
    batch = batch_for(encoder)
    outputs = alone(model, batch, encoder.has_segments, output_hidden_states=True)
    for k, state in enumerate(encoder.hidden_states(batch)):
        torch.testing.assert_close(state, torch.cat([each.hidden_states[k][0] for each in outputs]),
                                   rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_lora_reaches_every_encoder(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    _, encoder = opened(kind, tmp_path)
    batch = batch_for(encoder)
    before, names = encoder(batch), set(encoder.state_dict())
    LoRA(rank=2, targets=("query", "value")).attach(SimpleNamespace(encoder=encoder), ["sst"])
    torch.testing.assert_close(encoder(batch), before, rtol=1e-5, atol=1e-5)
    randomize(encoder, ".lora_")
    assert not torch.allclose(encoder(batch), before)
    free = merged(encoder)
    assert set(free.state_dict()) == names
    torch.testing.assert_close(free(batch), encoder(batch), rtol=1e-4, atol=1e-4)


def test_positions_of_roberta_begin_behind_the_padding(tmp_path: Path) -> None:
    _, encoder = opened("roberta", tmp_path)
    assert encoder.max_length == 38
    encoder(flat_batch({"sst": (38,)}, vocab=60))
    with pytest.raises(ConfigError, match="found a sequence of 39 tokens, expected at most 38"):
        encoder(flat_batch({"sst": (39,)}, vocab=60))


def test_segments_are_passed_over_where_there_are_none(tmp_path: Path) -> None:
    for kind in ("roberta", "mpnet", "modernbert"):
        _, encoder = opened(kind, tmp_path / kind)
        batch = flat_batch(LENGTHS, vocab=60)
        marked = TokenBatch(batch.ids, torch.ones_like(batch.ids), batch.lengths, batch.spans)
        assert torch.equal(encoder(marked), encoder(batch))


def test_chunks_of_the_perceptron_change_no_number(tmp_path: Path) -> None:
    model = network("bert", {**FLAT["bert"][1], "chunk_size_feed_forward": 2})
    encoder, _, notes = load_any(checkpoint(model, tmp_path), dropout=0.0)
    batch = flat_batch({"sst": (4, 2, 8)}, vocab=60)
    theirs = torch.cat([each.last_hidden_state[0] for each in alone(model, batch, False)])
    torch.testing.assert_close(encoder(batch), theirs, rtol=1e-5, atol=1e-5)
    assert notes == []


@pytest.mark.parametrize("kind", sorted(PADDED))
def test_what_the_flat_path_does_not_know_runs_padded_and_says_why(kind: str, tmp_path: Path) -> None:
    model = network(*PADDED[kind])
    encoder, _, notes = load_any(checkpoint(model, tmp_path))
    assert isinstance(encoder, Backbone)
    assert any("on padded batches" in note for note in notes)
    assert notes[-1] == f"{tmp_path}: {flat_problem(json.loads((tmp_path / 'config.json').read_text()))}"
    batch = batch_for(encoder)
    theirs = torch.cat([each.last_hidden_state[0] for each in alone(model, batch, encoder.has_segments)])
    torch.testing.assert_close(encoder(batch), theirs, rtol=1e-5, atol=1e-5)
    with pytest.raises(CheckpointError, match=r"config\.json: found "):
        read_flat(json.loads((tmp_path / "config.json").read_text()))


@pytest.mark.parametrize(("change", "sentence"), [
    ({"position_embedding_type": "relative_key"},
     'found position_embedding_type "relative_key", expected "absolute": neither polytask nor'),
    ({"is_decoder": True}, "found is_decoder = true, which makes it a decoder; expected an encoder"),
    ({"add_cross_attention": True}, "found add_cross_attention = true, which makes it a decoder"),
    ({"auto_map": {"AutoModel": "theirs.Model"}}, "found auto_map, the checkpoint's own code"),
    ({"quantization_config": {"load_in_8bit": True}}, "found quantization_config, expected weights"),
])
def test_what_would_give_other_numbers_is_refused(
    change: dict[str, Any], sentence: str, tmp_path: Path,
) -> None:
    checkpoint(network(*FLAT["bert"]), tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | change))
    with pytest.raises(CheckpointError) as caught:
        load_any(tmp_path)
    assert sentence in str(caught.value) and str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_layer_that_the_config_leaves_out_is_reported(tmp_path: Path) -> None:
    checkpoint(network(*FLAT["bert"]), tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | {"num_hidden_layers": 2}))
    _, _, notes = load_any(tmp_path)
    assert [note for note in notes if "16 tensors have no place in the network" in note
            and "encoder.layer.2.attention" in note]


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_with_a_head_is_read(kind: str, tmp_path: Path) -> None:
    model_type, values = FLAT[kind]
    config = transformers.AutoConfig.for_model(model_type, **values)
    model = transformers.AutoModelForSequenceClassification.from_config(config).eval()
    encoder, _, notes = load_any(checkpoint(model, tmp_path))
    batch = batch_for(encoder)
    outputs = alone(model.base_model, batch, encoder.has_segments)
    torch.testing.assert_close(encoder(batch), torch.cat([o.last_hidden_state[0] for o in outputs]),
                               rtol=1e-5, atol=1e-5)
    assert not [note for note in notes if "no place" in note]


def test_defaults_are_those_of_transformers() -> None:
    for kind in FAMILIES:
        theirs = transformers.AutoConfig.for_model(kind).to_dict()
        if kind == "deberta-v2":
            theirs |= {"relative_attention": True, "share_att_key": True}
        bare = {"model_type": kind, **{key: theirs[key] for key in
                                       ("relative_attention", "share_att_key") if key in theirs}}
        assert read_flat(bare) == read_flat(theirs), kind


def test_a_random_encoder_of_every_family_can_be_built() -> None:
    for kind, values in FLAT.values():
        config = read_flat(transformers.AutoConfig.for_model(kind, **values).to_dict())
        encoder = build_flat(config)
        assert encoder(flat_batch({"sst": (3, 9)}, vocab=60)).shape == (12, 24)


def test_unshared_layers_may_differ_in_rates(tmp_path: Path) -> None:
    assert apart_problem(opened("roberta", tmp_path / "a")[1]) is None
    assert "remove layer_decay" in str(apart_problem(opened("albert", tmp_path / "b")[1]))
