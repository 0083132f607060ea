"""Pairings: which vectors of a row meet, and in which order the head sees them."""

from __future__ import annotations

import pytest
import torch

from polytask.core.errors import ConfigError
from polytask.data.batch import Span, TokenBatch
from polytask.model.bert import Bert, BertConfig
from polytask.model.pairings.bi_encoder import BiEncoder
from polytask.model.pairings.contract import pairing
from polytask.model.pairings.cross_bi_encoder import CrossBiEncoder
from polytask.model.pairings.cross_encoder import CrossEncoder
from polytask.model.pairings.single import Single
from polytask.model.pairings.twin import Twin
from polytask.model.poolings.mean import Mean


@pytest.mark.technique("M-8", "M-12", "T-15", "P-2", "S-4")
def test_separate_puts_the_features_side_by_side_in_the_order_given() -> None:
    u, v = torch.randn(5, 8), torch.randn(5, 8)
    pooled = torch.stack([u, v], 1).flatten(0, 1)  # u₀, v₀, u₁, v₁, …
    chosen = BiEncoder(features=("product", "u", "cosine", "abs_diff", "v"))
    output = chosen.build(8)(pooled)
    cosine = torch.tensor([float(a @ b / (a.norm() * b.norm())) for a, b in zip(u, v, strict=True)])
    expected = torch.cat([u * v, u, cosine[:, None], abs(u - v), v], 1)
    assert torch.equal(output.u, u) and torch.equal(output.v, v)
    torch.testing.assert_close(output.vector, expected)
    assert chosen.width(8) == expected.shape[1] == 33


def test_together_and_apart_shows_the_sequence_of_both_and_features_of_each() -> None:
    u, v, both = (torch.randn(5, 8) for _ in range(3))
    pooled = torch.stack([u, v, both], 1).flatten(0, 1)  # u₀, v₀, both₀, u₁, …
    chosen = CrossBiEncoder(features=("abs_diff", "cosine"))
    output = chosen.build(8)(pooled)
    cosine = torch.nn.functional.cosine_similarity(u, v)
    assert torch.equal(output.u, u) and torch.equal(output.v, v)
    torch.testing.assert_close(output.vector, torch.cat([both, abs(u - v), cosine[:, None]], 1))
    assert chosen.width(8) == 17


@pytest.mark.parametrize(
    "chosen", [Single(), CrossEncoder(), CrossEncoder(separator=False, segments=False)])
def test_one_sequence_a_row_is_what_the_head_sees(chosen: Single | CrossEncoder) -> None:
    pooled = torch.randn(4, 8)
    output = chosen.build(8)(pooled)
    assert output.vector is pooled and output.u is pooled and output.v is None
    assert chosen.sequences == 1 and chosen.width(8) == 8


def test_twins_differ_in_training_and_are_equal_in_an_evaluation() -> None:
    torch.manual_seed(3)
    encoder = Bert(BertConfig(vocab_size=30, hidden_size=16, num_hidden_layers=1,
                              num_attention_heads=2, intermediate_size=16))
    one = torch.randint(30, (5,))
    batch = TokenBatch(one.repeat(2), torch.zeros(10, dtype=torch.long), (5, 5),
                       (Span("t", 1, slice(0, 2), slice(0, 10)),))
    module = Twin().build(16)
    trained = module(Mean().pool(encoder.train()(batch), batch, encoder))
    settled = module(Mean().pool(encoder.eval()(batch), batch, encoder))
    assert not torch.allclose(trained.u, trained.v)
    torch.testing.assert_close(settled.u, settled.v)
    assert Twin.texts == 1 and Twin.sequences == 2


@pytest.mark.parametrize("features", [[], ["u", "u"]])
def test_no_feature_or_one_twice_is_refused(features: list[str]) -> None:
    with pytest.raises(ConfigError, match="expected one or more of u, v, abs_diff"):
        BiEncoder(features=tuple(features))


def test_a_feature_that_does_not_exist_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"features\.1 found 'abs_dif', .*mean \"abs_diff\""):
        BiEncoder(features=("u", "abs_dif"))


def test_toml_says_a_pairing_by_name_or_table() -> None:
    assert pairing.read("cross_encoder") == CrossEncoder()
    read = pairing.read({"type": "bi_encoder", "features": ["u", "v"]})
    assert read == BiEncoder(features=("u", "v"))
