"""Every other encoder against transformers' own model on each sentence alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from networks import flat_batch, tiny_bert, tiny_model
from polytask.core.errors import CheckpointError, ConfigError
from polytask.data.batch import TokenBatch
from polytask.model.adapters.lora import LoRA, merged
from polytask.model.adapters.pal import PAL
from polytask.model.poolings.cls import Cls
from polytask.model.poolings.pooler import Pooler
from polytask.model.trainable import apart_problem, parameter_groups, set_trainable
from polytask.model.transformers_encoder import Backbone, Traits, load_backbone, segments_problem, wrap

transformers = pytest.importorskip("transformers")

SIZES = {"vocab_size": 60, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3,
         "intermediate_size": 48, "max_position_embeddings": 40, "initializer_range": 0.2}
DISTIL = {"vocab_size": 60, "dim": 24, "n_layers": 3, "n_heads": 3, "hidden_dim": 48,
          "max_position_embeddings": 40, "initializer_range": 0.2}
RELATIVE = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "type_vocab_size": 0,
            "position_biased_input": False}
CONFIGS: dict[str, dict[str, Any]] = {
    "roberta": {**SIZES, "type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5},
    "distilbert": DISTIL,
    "electra": {**SIZES, "embedding_size": 12},
    "deberta": {**SIZES, **RELATIVE},
    "deberta-v2": {**SIZES, **RELATIVE, "position_buckets": 8, "share_att_key": True,
                   "norm_rel_ebd": "layer_norm"},
    "modernbert": {**SIZES, "pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2,
                   "bos_token_id": 1, "eos_token_id": 2, "local_attention": 8,
                   "global_attn_every_n_layers": 2},
    "albert": {**SIZES, "embedding_size": 12},
}
KINDS = sorted(CONFIGS)
LENGTHS = {"sst": (4, 11, 1, 7), "quora": (9, 3)}


def network(kind: str, dropout: float | None = None) -> Any:
    """A random model of transformers."""
    config = transformers.AutoConfig.for_model(kind, **CONFIGS[kind])
    made = transformers.AutoModel.from_config(config)
    for parameter in made.parameters():
        if parameter.dim() == 1:  # norms and biases, which start at 1 and 0
            torch.nn.init.normal_(parameter, 0.5, 0.2)
    return made.eval()


def batch_for(kind: str) -> TokenBatch:
    """A flat batch; the second half of every sequence is in segment 1, where there is one."""
    batch = flat_batch(LENGTHS, vocab=60)
    if not Traits.of({"model_type": kind, **CONFIGS[kind]}).has_segments:
        return batch
    segments = torch.cat([(torch.arange(n) >= n // 2).long() for n in batch.lengths])
    return TokenBatch(batch.ids, segments, batch.lengths, batch.spans)


def alone(model: Any, batch: TokenBatch, segments: bool, **wanted: bool) -> list[Any]:
    """The model's own outputs for each sequence of the batch by itself."""
    made = []
    for start, length in zip(batch.starts, batch.lengths, strict=False):
        own = slice(start, start + length)
        given = {"token_type_ids": batch.segments[own][None]} if segments else {}
        made.append(model(input_ids=batch.ids[own][None], **given, **wanted,
                          attention_mask=torch.ones(1, length, dtype=torch.long)))
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_a_flat_batch_gives_what_each_sentence_gives_alone(kind: str) -> None:
    model = network(kind)
    backbone, batch = wrap(model), batch_for(kind)
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
    backbone, batch = wrap(network(kind)), batch_for(kind)
    maps = backbone.attentions(batch)
    assert len(maps) == 3
    for layer in maps:
        for attention, length in zip(layer, batch.lengths, strict=True):
            assert attention.shape == (3, length, length)
            torch.testing.assert_close(attention.sum(-1), torch.ones(3, length))
    one = TokenBatch(batch.ids[4:15], batch.segments[4:15], (11,))
    torch.testing.assert_close(maps[2][1], backbone.attentions(one)[2][0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_reaches_embeddings_that_were_replaced(kind: str) -> None:
    backbone, batch = wrap(network(kind)), batch_for(kind)
    words = backbone.embed(batch)
    torch.testing.assert_close(backbone(batch, words), backbone(batch))
    moved = words.detach().clone().requires_grad_()
    backbone(batch, moved)[:4].square().sum().backward()
    assert moved.grad is not None
    assert (moved.grad[:4].abs().sum(-1) > 0).all()
    assert (moved.grad[4:] == 0).all()  # the other sequences bear nothing on the first


@pytest.mark.parametrize("kind", KINDS)
def test_the_padded_entry_agrees_with_the_flat_one(kind: str) -> None:
    backbone, batch = wrap(network(kind)), batch_for(kind)
    pad = backbone.config.pad_token_id or 0
    ids, mask, segments = (torch.full((6, 11), pad), torch.zeros(6, 11, dtype=torch.long),
                           torch.zeros(6, 11, dtype=torch.long))
    for s, (start, n) in enumerate(zip(batch.starts, batch.lengths, strict=False)):
        ids[s, :n], mask[s, :n] = batch.ids[start:start + n], 1
        segments[s, :n] = batch.segments[start:start + n]
    padded = backbone.padded(ids, mask, segments)[mask.bool()]
    torch.testing.assert_close(padded, backbone(batch), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_opens_with_automodel_and_again_here(kind: str, tmp_path: Path) -> None:
    model = network(kind)
    expected = {key: value.clone() for key, value in model.state_dict().items()}
    backbone, batch = wrap(model), batch_for(kind)
    tokenizer = written_tokenizer(tmp_path / "from")
    backbone.save(tokenizer, tmp_path / "to")
    opened = transformers.AutoModel.from_pretrained(tmp_path / "to").state_dict()
    assert opened.keys() == expected.keys()
    assert all(torch.equal(opened[key], expected[key]) for key in opened)
    again, found = load_backbone(tmp_path / "to")
    assert torch.equal(again(batch), backbone(batch))
    assert (again.pooler is None) == (kind not in ("roberta", "albert"))
    if again.pooler is not None:
        states = torch.randn(3, 24)
        assert torch.equal(again.pooler(states), backbone.pooler(states))
    assert found == tmp_path / "to" / "tokenizer.json"
    assert len(transformers.AutoTokenizer.from_pretrained(tmp_path / "to")("a b").input_ids) == 2


def written_tokenizer(folder: Path) -> Path:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    folder.mkdir()
    made = Tokenizer(WordLevel({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()
    made.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_has_its_layer(kind: str) -> None:
    backbone = wrap(network(kind))
    layers: dict[int, list[str]] = {}
    for name, _ in backbone.named_parameters():
        layers.setdefault(backbone.layer_of(name), []).append(name)
    has_pooler = {4} if backbone.pooler is not None else set()
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
    model = tiny_model(encoder=with_pooler(backbone))
    optimizer = torch.optim.AdamW(parameter_groups(model, lr=2e-3))
    batch, losses = flat_batch({"sst": (4, 7, 3), "quora": (5, 5), "sts": (9, 2)}, vocab=60), []
    for _ in range(40):
        optimizer.zero_grad()
        sst, quora, sts = model(batch)
        loss = (torch.nn.functional.cross_entropy(sst.logits, torch.tensor([0, 1, 2]))
                + quora.logits.square().sum() + (sts.score - 0.5).square().sum())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def with_pooler(backbone: Backbone) -> Backbone:
    """Give a backbone a pooler, so that the same heads can be used with all of them."""
    if backbone.pooler is None:
        from polytask.model.bert import Pooler as Layer

        backbone.pooler = Layer(24)
    return backbone


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_set_everywhere(kind: str) -> None:
    backbone, batch = wrap(network(kind)).train(), batch_for(kind)
    backbone.set_dropout(0.5)
    assert not torch.equal(backbone(batch), backbone(batch))
    backbone.set_dropout(0.0)
    assert torch.equal(backbone(batch), backbone.eval()(batch))


@pytest.mark.parametrize("kind", KINDS)
def test_lora_reaches_every_encoder(kind: str) -> None:
    pytest.importorskip("peft")
    backbone, batch = wrap(network(kind)), batch_for(kind)
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
    assert 'segments = false' in str(segments_problem(backbone))
    assert segments_problem(wrap(network("electra"))) is None
    assert segments_problem(tiny_bert()) is None


def test_what_cannot_work_is_refused_with_its_remedy() -> None:
    albert = wrap(network("albert"))
    model = SimpleNamespace(encoder=albert, named_parameters=albert.named_parameters)
    assert 'adapter = "lora"' in str(PAL().problem(albert))
    with pytest.raises(ConfigError, match=r'encoder\.adapter: "pal" .*but the encoder is "albert"'):
        PAL().attach(model, ["sst"])
    with pytest.raises(ConfigError, match=r'encoder\.trainable: the 3 layers of "albert" share'):
        set_trainable(model, (1,))
    with pytest.raises(ConfigError, match='leave layer_decay, layer_rates and lists of'):
        parameter_groups(model, lr=1e-3, layer_decay=0.9)
    assert parameter_groups(model, lr=1e-3)
    assert apart_problem(wrap(network("roberta"))) is None


def test_a_config_tells_the_same_before_any_weight_is_read() -> None:
    for kind in KINDS:
        backbone = wrap(network(kind))
        told = Traits.of(backbone.config.to_dict())
        assert (told.kind, told.num_layers, told.has_segments, told.shared_layers) == (
            kind, 3, backbone.has_segments, kind == "albert")
        assert (PAL().problem(told) is None, apart_problem(told) is None) == (
            False, kind != "albert")
    assert PAL().problem(Traits.of({"model_type": "bert"})) is None


def test_a_pooler_that_the_checkpoint_lacks_is_not_made_up(tmp_path: Path) -> None:
    model = network("roberta")
    written_tokenizer(tmp_path / "from")
    plain = wrap(model, pooler=False)
    plain.save(tmp_path / "from" / "tokenizer.json", tmp_path / "to")
    found, _ = load_backbone(tmp_path / "to", dropout=0.25)
    assert found.pooler is None
    assert any('pooling = "pooler" cannot be used' in note for note in found.notes)
    assert "pooler" in str(Pooler().problem(found))
    assert Cls().problem(found) is None
    assert {m.p for m in found.modules() if isinstance(m, torch.nn.Dropout)} == {0.25}


@pytest.mark.parametrize(("config", "said"), [
    ('{"model_type": "robberta"}', 'found model_type "robberta", which transformers'),
    ('{"model_type": "gpt2"}', 'found model_type "gpt2", which writes text; expected an encoder'),
    ('{"model_type": "t5"}', 'found model_type "t5", which writes text; expected an encoder'),
    ('{"model_type": "roberta"}', "transformers cannot read it"),
    ("{", "is not readable JSON"),
])
def test_a_folder_that_is_no_encoder_is_told(tmp_path: Path, config: str, said: str) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(CheckpointError) as error:
        load_backbone(tmp_path)
    assert said in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)
